"""Everybody's accounts, for administrators."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import service_users
from services.auth.repository import Filters
from services.auth.schemas_users import ChangedUser, NewUser, UserItem, UserPage, UserPatch
from services.auth.service_tools import CurrentTools
from services.auth.service_users import Change, Changed
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.errors import Problem, conflicts
from shared.events.vocabulary import UserRole
from shared.idempotency import Attempt, OnceOnly, once
from shared.pagination import Cursor, Limit
from shared.preconditions import IfMatch
from shared.text import StorableText

router: Final = APIRouter(prefix="/api/users", tags=["Users"])

Administrator = Annotated[User, require(Permission.MANAGE_USERS)]

_CONFLICT: Final = conflicts("email_taken", "last_administrator", "own_password")
_STALE: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem},
    412: {"model": Problem, "description": "`If-Match` names another version."},
}


@router.get("")
async def list_users(
    _: Administrator,
    session: DbSession,
    role: Annotated[list[UserRole], Query(description="Any of these.")] = [],  # noqa: B006 - never changed
    active: Annotated[
        bool | None, Query(description="Only accounts that may be used, or only those that may not.")
    ] = None,
    q: Annotated[
        StorableText | None, Query(max_length=255, description="A part of the name or the address, in any letter case.")
    ] = None,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> UserPage:
    """Accounts, the newest first."""
    filters = Filters(roles=role, is_active=active, text=q)
    return UserPage.of(await service_users.page(session, filters, cursor, limit), limit)


@router.post(
    "", status_code=HTTPStatus.CREATED, responses={201: {"model": ChangedUser, "description": "Made."}, **_CONFLICT}
)
async def add_user(
    user: Administrator, body: NewUser, attempt: OnceOnly, session: DbSession, tools: CurrentTools
) -> Response:
    """Make an account. Its initial password is in this answer only; the first login replaces it."""

    async def add() -> Changed:
        return await service_users.add(session, tools, user.id, body.email, body.name, body.role)

    return await _answer(session, user, attempt, add, HTTPStatus.CREATED)


@router.get("/{user_id}", responses={404: {"model": Problem}})
async def get_user(user_id: UUID, _: Administrator, session: DbSession, response: Response) -> UserItem:
    """One account, whether active or not."""
    item = UserItem.of(await service_users.show(session, user_id))
    response.headers["etag"] = item.etag
    return item


@router.patch(
    "/{user_id}", responses={200: {"model": ChangedUser, "description": "As it is now."}, **_STALE, **_CONFLICT}
)
async def change_user(
    user_id: UUID,
    user: Administrator,
    body: UserPatch,
    if_match: IfMatch,
    attempt: OnceOnly,
    session: DbSession,
    tools: CurrentTools,
) -> Response:
    """Change an account: its name, address or role; deactivate it or let it log in again; reset its password.

    The last active administrator keeps role and access (409 `last_administrator`).
    """

    async def change() -> Changed:
        return await service_users.change(session, tools, user.id, user_id, body.change(), if_match)

    return await _answer(session, user, attempt, change, HTTPStatus.OK)


@router.delete("/{user_id}", status_code=HTTPStatus.NO_CONTENT, responses={**_STALE, **_CONFLICT})
async def deactivate_user(
    user_id: UUID, user: Administrator, if_match: IfMatch, attempt: OnceOnly, session: DbSession, tools: CurrentTools
) -> Response:
    """Deactivate an account: all its sessions end, and nothing of what it did is lost. PATCH takes it back."""

    async def deactivate() -> None:
        await service_users.change(session, tools, user.id, user_id, Change(is_active=False), if_match)

    return await once(session, user, attempt, deactivate)


async def _answer(
    session: AsyncSession, user: User, attempt: Attempt, act: Callable[[], Awaitable[Changed]], status: int
) -> Response:
    """Act once; the initial password is answered, and not remembered for a repeated request."""
    done: list[Changed] = []

    async def remembered() -> ChangedUser:
        done.append(await act())
        return ChangedUser.after(done[0])

    response = await once(session, user, attempt, remembered, status)
    if done and done[0].initial_password is not None:
        shown = ChangedUser.after(done[0]).model_copy(update={"initial_password": done[0].initial_password})
        headers = {"etag": shown.etag, "cache-control": "no-store"}
        return Response(shown.model_dump_json(), status, headers, media_type="application/json")
    return response
