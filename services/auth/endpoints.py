"""Login, refresh, logout and the caller's own account."""

from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from services.auth import schemas, service, service_passwords, service_sessions, service_users
from services.auth.service_tools import CurrentTools, Readers
from shared.auth import Permission, User, require
from shared.db import DbSession
from shared.errors import Problem, UnauthenticatedError, conflicts, problem_response

router: Final = APIRouter(prefix="/api/auth", tags=["Auth"])

CLIENT_ADDRESS_HEADER: Final = "x-client-address"
"""Set by the gateway on every request, whatever the client sent under this name."""

_LONGEST_USER_AGENT: Final = 255

Caller = Annotated[User, require(Permission.OWN_ACCOUNT)]


def _client_address(request: Request) -> str | None:
    given = request.headers.get(CLIENT_ADDRESS_HEADER) or (request.client.host if request.client else "")
    try:
        # Without the zone of a link-local address, which is a name for this machine only.
        address = ip_address(given.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


ClientAddress = Annotated[str | None, Depends(_client_address)]


@router.post(
    "/login",
    response_model=schemas.Tokens,
    responses={
        401: {"model": Problem, "description": "`invalid_credentials`"},
        403: {"model": Problem, "description": "`password_change_required`"},
        429: {"model": Problem, "description": "`login_throttled` or `too_many_requests`"},
    },
)
async def login(
    body: schemas.Login,
    request: Request,
    session: DbSession,
    readers: Readers,
    tools: CurrentTools,
    address: ClientAddress,
) -> Response:
    """Begin a session with address and password.

    An unknown address, a wrong password and an inactive account are answered alike. After five failures with one
    account from one place each attempt has to wait longer: 429 with `Retry-After`.

    A new account, or one whose password was reset, has an initial password. It is good for one login, which names
    the `new_password` as well; without it the answer is 403 `password_change_required`.
    """
    agent = request.headers.get("user-agent", "")[:_LONGEST_USER_AGENT] or None
    attempt = service.Attempt(body.email, body.password, address, agent, body.new_password)
    return _answer(request, await service.login(session, readers, tools, attempt))


@router.post(
    "/refresh",
    response_model=schemas.Tokens,
    responses={401: {"model": Problem, "description": "`invalid_refresh_token`"}},
)
async def refresh(
    body: schemas.Refresh, request: Request, session: DbSession, tools: CurrentTools, address: ClientAddress
) -> Response:
    """Turn in the refresh token for the next one and a new access token.

    A refresh token is good once. The same token again within 10 seconds, for an answer that got lost, gives the same
    next token; later, or once the next token has been used, it ends the session, since somebody else holds a copy.
    """
    return _answer(request, await service.refresh(session, tools, body.refresh_token, address))


@router.post("/logout", status_code=HTTPStatus.NO_CONTENT)
async def logout(user: Caller, session: DbSession, tools: CurrentTools) -> None:
    """End the session. Its tokens are refused everywhere within two seconds."""
    await service_sessions.logout(session, tools, user.id, user.session_id)


@router.get("/me")
async def me(user: Caller, session: DbSession, response: Response) -> schemas.Me:
    """The caller's account and what its role may do."""
    shown = schemas.Me.of(await service_users.show(session, user.id))
    response.headers["etag"] = shown.etag
    return shown


@router.post(
    "/password",
    status_code=HTTPStatus.NO_CONTENT,
    responses={
        **conflicts("conflict"),
        422: {"model": Problem, "description": "`wrong_password` or `refused_password`"},
        429: {"model": Problem, "description": "`login_throttled` or `too_many_requests`"},
    },
)
async def change_password(
    user: Caller,
    body: schemas.PasswordChange,
    request: Request,
    session: DbSession,
    readers: Readers,
    tools: CurrentTools,
    address: ClientAddress,
) -> Response:
    """Change the caller's own password. All other sessions end; the present one goes on.

    A wrong current password counts like a failed login, and makes the next attempt wait.
    """
    wanted = service_passwords.Change(user.id, user.session_id, address, body.current_password, body.new_password)
    refusal = await service_passwords.change(session, readers, tools, wanted)
    if refusal is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return problem_response(request, refusal.status, refusal.code, refusal.detail, refusal.errors)


def _answer(request: Request, outcome: service.Granted | UnauthenticatedError) -> Response:
    if isinstance(outcome, UnauthenticatedError):
        return problem_response(request, outcome.status, outcome.code, outcome.detail, headers=outcome.headers)
    return Response(
        schemas.Tokens.of(outcome).model_dump_json(),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
