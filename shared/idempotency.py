"""A write that is sent again with the same Idempotency-Key is answered again, without a second effect.

    @router.post("/things", status_code=201)
    async def add(user: Editor, request: NewThing, attempt: OnceOnly, session: DbSession) -> Response:
        return await once(session, user, attempt, lambda: service.add(session, user, request), 201)

The key is claimed in the write's own transaction: it is remembered exactly when the effect is. A request that fails
has no effect and leaves its key free. A second request that arrives while the first is at work waits for it. The
service's declarative base takes `shared.tables.IDEMPOTENCY_TABLES`, and `forget_answers` is one of its workers.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import User
from shared.db import SessionMaker
from shared.errors import FieldProblem, InvalidError
from shared.supervision import look_again
from shared.tables import idempotency_keys

logger = structlog.get_logger(__name__)

KEPT_FOR: Final = timedelta(hours=24)
"""How long a key is remembered; later it is a new one."""

_KEY: Final = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
_TABLE: Final = idempotency_keys.c

_FORGET_EVERY_SECONDS: Final = 600.0
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Attempt:
    """A write, and the key under which the client sends it again; None where it does not want to."""

    key: str | None
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What a write answers, where that is more than a model: JSON made elsewhere, a status that depends."""

    status: int
    body: bytes = b""
    """JSON; nothing for an answer without a body."""
    etag: str | None = None


async def _attempt(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Chosen by the client for one write, for example a UUID. Sent again within 24 hours, the same "
            "request gets the same answer without a second effect; another request with the same key is 422."
        ),
    ] = None,
) -> Attempt:
    if idempotency_key is None:
        return Attempt(None, request)
    match = _KEY.fullmatch(idempotency_key)
    if match is None:
        detail = "Idempotency-Key takes 1 to 255 visible ASCII characters, in quotes or without."
        raise InvalidError(detail, errors=[FieldProblem(pointer="/header/idempotency-key", detail=detail)])
    return Attempt(match[1] or match[2], request)


OnceOnly = Annotated[Attempt, Depends(_attempt)]
"""How a write declares that it takes an Idempotency-Key. Declared after the user, so that 401 and 403 come first."""


async def once(
    session: AsyncSession,
    user: User,
    attempt: Attempt,
    act: Callable[[], Awaitable[BaseModel | Answer | None]],
    status: int = HTTPStatus.OK,
) -> Response:
    """Act and answer, or answer as the first time.

    ``act`` gives a model, which is answered with ``status`` (a field ``etag`` of it is the answer's ETag too); an
    `Answer`, as it is; or None, answered as 204.

    Raises:
        InvalidError: ``idempotency_key_reused`` for another request with the same key.
    """
    if attempt.key is None:
        return _respond(_answer(await act(), status))
    fingerprint = await _fingerprint(attempt.request)
    if await _claim(session, user.id, attempt.key, fingerprint):
        answer = _answer(await act(), status)
        await _remember(session, user.id, attempt.key, answer)
        return _respond(answer)
    first, answer = await _remembered(session, user.id, attempt.key)
    if first != fingerprint:
        raise InvalidError("This Idempotency-Key was used for another request.", "idempotency_key_reused")
    return _respond(answer)


async def _fingerprint(request: Request) -> bytes:
    """What tells one write from another; called for a request that has been validated."""
    url = request.url
    target = f"{url.path}?{url.query}" if url.query else url.path
    digest = hashlib.sha256(f"{request.method} {target}\n".encode())
    if body := await request.body():
        digest.update(_without_form(body))
    return digest.digest()


def _without_form(body: bytes) -> bytes:
    """The same members in another order, or with other blanks between them, are the same request."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        # A body that nobody reads, of a DELETE for one, need not be JSON.
        return body


def _answer(outcome: BaseModel | Answer | None, status: int) -> Answer:
    if outcome is None:
        return Answer(HTTPStatus.NO_CONTENT)
    if isinstance(outcome, Answer):
        return outcome
    return Answer(status, outcome.model_dump_json().encode(), getattr(outcome, "etag", None))


def _respond(answer: Answer) -> Response:
    headers = {"etag": answer.etag} if answer.etag else None
    return Response(answer.body, int(answer.status), headers, media_type="application/json" if answer.body else None)


async def _claim(session: AsyncSession, user_id: UUID, key: str, fingerprint: bytes) -> bool:
    """Take the key for this transaction; False where it was used before. Waits for one that uses it just now."""
    await session.execute(
        delete(idempotency_keys).where(_TABLE.user_id == user_id, _TABLE.created_at < func.now() - KEPT_FOR)
    )
    statement = (
        insert(idempotency_keys)
        .values(user_id=user_id, key=key, fingerprint=fingerprint)
        .on_conflict_do_nothing()
        .returning(_TABLE.key)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def _remember(session: AsyncSession, user_id: UUID, key: str, answer: Answer) -> None:
    await session.execute(
        update(idempotency_keys)
        .where(_TABLE.user_id == user_id, _TABLE.key == key)
        .values(status=answer.status, etag=answer.etag, body=answer.body)
    )


async def _remembered(session: AsyncSession, user_id: UUID, key: str) -> tuple[bytes, Answer]:
    """The fingerprint of the first request with a key that is taken, and how it was answered."""
    query = select(_TABLE.fingerprint, _TABLE.status, _TABLE.etag, _TABLE.body).where(
        _TABLE.user_id == user_id, _TABLE.key == key
    )
    row = (await session.execute(query)).one()
    return row.fingerprint, Answer(row.status, row.body, row.etag)


async def forget_answers(app: FastAPI) -> None:
    """Delete what was remembered for long enough, also of those who never come back, until cancelled.

    A database that is away is waited for.
    """

    async def look() -> bool:
        if forgotten := await forget_before(app.state.session_maker, datetime.now(UTC) - KEPT_FOR):
            logger.info("forgot remembered answers", count=forgotten)
        return False

    await look_again("forgetting answers", look, _FORGET_EVERY_SECONDS)


async def forget_before(maker: SessionMaker, moment: datetime, batch: int = _BATCH) -> int:
    """Delete what was remembered before a moment, so many at a time, without waiting for anybody; how many it were."""
    old = select(_TABLE.user_id, _TABLE.key).where(_TABLE.created_at < moment).limit(batch)
    statement = delete(idempotency_keys).where(
        tuple_(_TABLE.user_id, _TABLE.key).in_(old.with_for_update(skip_locked=True))
    )
    forgotten = 0
    while True:
        async with maker() as session, session.begin():
            found = len((await session.execute(statement.returning(_TABLE.key))).all())
        forgotten += found
        if found < batch:
            return forgotten
