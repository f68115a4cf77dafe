"""Who calls, and whether they may: access tokens, roles, and the one declaration that each endpoint makes.

    Assigner = Annotated[User, require(Permission.ASSIGN)]

    @router.post("/signals/{signal_id}/assign")
    async def assign(signal_id: UUID, user: Assigner, ...) -> ...

The declaration is in the OpenAPI document too: the permission stands beside the bearer scheme in `security`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, auto
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import structlog
from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from starlette.exceptions import HTTPException

from shared.errors import ForbiddenError, ProblemError, UnauthenticatedError, problem_response
from shared.events.vocabulary import UserRole

ALGORITHM: Final = "ES256"
LEEWAY_SECONDS: Final = 5
"""How far the clocks of the issuer and a service may differ."""

_LONGEST_TOKEN: Final = 4096
_LAST_MOMENT: Final = 253_402_300_799
"""The end of the year 9999, the last that a `datetime` can hold."""


class Permission(StrEnum):
    """What an endpoint may ask for. Rules about the person (the assignee, the assigner) are the service's."""

    OWN_ACCOUNT = auto()
    """Everyone's own profile, password and sessions."""
    READ = auto()
    """Signals, assignments, feed, metrics, and what belongs to them."""
    EDIT = auto()
    """Description and narrative of a signal."""
    COMMENT = auto()
    ASSIGN = auto()
    """Assign, reassign, unassign, and see who can be assigned."""
    SNOOZE = auto()
    MOVE_STATUS = auto()
    CLOSE = auto()
    MANAGE_USERS = auto()
    MANAGE_METRICS = auto()
    MANAGE_RULES = auto()
    MANAGE_DEAD_LETTERS = auto()
    READ_AUDIT = auto()
    """Read and export the audit log."""


_VIEWER: Final = frozenset({Permission.OWN_ACCOUNT, Permission.READ})
_LEADERSHIP: Final = _VIEWER | {
    Permission.EDIT,
    Permission.COMMENT,
    Permission.ASSIGN,
    Permission.SNOOZE,
    Permission.MOVE_STATUS,
    Permission.CLOSE,
}

PERMISSIONS: Final[Mapping[UserRole, frozenset[Permission]]] = {
    UserRole.ADMIN: frozenset(Permission),
    UserRole.CLINICAL_LEADERSHIP: _LEADERSHIP,
    UserRole.NURSING_LEADERSHIP: _LEADERSHIP,
    UserRole.ADMINISTRATION: _LEADERSHIP,
    UserRole.VIEWER: _VIEWER,
}


@dataclass(frozen=True, slots=True)
class User:
    """The caller, as the access token names them."""

    id: UUID
    name: str
    role: UserRole
    session_id: UUID
    token_expires_at: datetime
    """When an answer that goes on and on (a stream) has to end."""

    def may(self, permission: Permission) -> bool:
        """Whether the role has the permission."""
        return permission in PERMISSIONS[self.role]


_Moment = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MOMENT)]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token says, validated."""

    sub: UUID
    role: UserRole
    name: str
    sid: UUID
    jti: str
    iss: str
    aud: str
    iat: _Moment
    nbf: _Moment
    exp: _Moment

    @property
    def user(self) -> User:
        """The caller."""
        return User(self.sub, self.name, self.role, self.sid, datetime.fromtimestamp(self.exp, UTC))


_registry: Final = JWSRegistry(algorithms=[ALGORITHM])


def decode_token(token: str, keys: Mapping[str, ECKey], issuer: str, audience: str) -> Claims:
    """Verify the signature and every claim. ``keys`` by key id; no other key and no other algorithm is considered.

    Raises:
        UnauthenticatedError: ``expired_token`` for one that was good, ``invalid_token`` for anything else.
    """
    if len(token) > _LONGEST_TOKEN or not token.isascii():
        raise _invalid_token()

    def by_id(signature: Any) -> ECKey:
        key = keys.get(str(signature.headers().get("kid")))
        if key is None:
            raise _invalid_token()
        return key

    rules = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        nbf={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        raw = jwt.decode(token, by_id, registry=_registry).claims
        rules.validate(raw)
        return msgspec.convert(raw, Claims)
    except ExpiredTokenError:
        raise UnauthenticatedError("The access token has expired.", "expired_token") from None
    # A header's `crit` that is no list is a TypeError of the library's; what is nested too deeply, one of Python's.
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _invalid_token() from None


def _invalid_token() -> UnauthenticatedError:
    return UnauthenticatedError("The access token is not valid.", "invalid_token")


class RequiredPermission(HTTPBearer):
    """The dependency behind `require`; a test that walks the routes finds its ``permission``."""

    def __init__(self, permission: Permission) -> None:
        super().__init__(bearerFormat="JWT", scheme_name="bearer", description="The access token of a login.")
        self.permission = permission

    async def __call__(self, request: Request) -> User:  # type: ignore[override]  # answers the user, not the header
        """The caller.

        Raises:
            UnauthenticatedError: without an access token that is accepted.
            ForbiddenError: for a role without the permission.
        """
        user: User = request.app.state.access.verify(bearer_token(request))
        # So that the log says who asked, also where the answer is 403.
        structlog.contextvars.bind_contextvars(user_id=str(user.id))
        if not user.may(self.permission):
            raise ForbiddenError(f"The role {user.role} does not have the permission {self.permission}.")
        return user


def require(permission: Permission) -> Any:
    """Let an endpoint ask for the caller, who has this permission: ``Annotated[User, require(Permission.READ)]``."""
    return Security(RequiredPermission(permission), scopes=[permission.value])


def bearer_token(request: Request) -> str | None:
    """The token of the one ``Authorization`` header; None without one.

    Raises:
        UnauthenticatedError: for two headers, or one that holds no bearer token.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        return None
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token:
        raise _invalid_token()
    return token


def required_permission(route: object) -> RequiredPermission | None:
    """What a route declared with `require`, None for an open one."""
    if isinstance(route, APIRoute):
        for dependant in route.dependant.dependencies:
            if isinstance(dependant.call, RequiredPermission):
                return dependant.call
    return None


def install(app: FastAPI) -> None:
    """Answer 401 and 403 before anything that is wrong with the request itself.

    FastAPI solves dependencies before it validates parameters and body, but decodes the body before either. So the
    declared permission is checked before a complaint about the body leaves the service. Called after
    `shared.errors.install`, whose handlers it goes before.
    """
    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _permission_first(app.exception_handlers[kind]))


def _permission_first(complain: Any) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        required = required_permission(request.scope.get("route"))
        if required is not None:
            try:
                await required(request)
            except ProblemError as refusal:
                return problem_response(request, refusal.status, refusal.code, refusal.detail, headers=refusal.headers)
        response: Response = await complain(request, error)
        return response

    return handle
