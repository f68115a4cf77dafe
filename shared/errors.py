"""Expected failures, answered as problem details (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.db import is_transient

logger = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5


class FieldProblem(BaseModel):
    """What is wrong with one part of the request."""

    pointer: str = Field(description="JSON pointer into the request: `/body/status`, `/query/limit`.")
    detail: str = Field(description="What is wrong with it, in a sentence.")


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="`urn:quality-compass:problem:<code>`")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The answer's status once more.")
    detail: str = Field(description="What is wrong, in a sentence that can be shown.")
    code: str = Field(description="A stable word to act on.")
    request_id: str | None = Field(None, description="Finds the request in the logs.")
    errors: list[FieldProblem] | None = Field(None, description="Each part of the request that is wrong.")


class ProblemError(Exception):
    """A failure that the caller is told of. Subclasses fix the status; the code says which of its kinds."""

    status: ClassVar[HTTPStatus]
    default_code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        code: str | None = None,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = list(errors)
        self.headers = dict(headers or {})


class UnauthenticatedError(ProblemError):
    """No token, or one that is not accepted."""

    status = HTTPStatus.UNAUTHORIZED
    default_code = "unauthenticated"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail, code, headers={"www-authenticate": "Bearer"})


class ForbiddenError(ProblemError):
    """The user is known and may not do this."""

    status = HTTPStatus.FORBIDDEN
    default_code = "forbidden"


class NotFoundError(ProblemError):
    """There is no such thing, or not yet here."""

    status = HTTPStatus.NOT_FOUND
    default_code = "not_found"


class ConflictError(ProblemError):
    """The present state does not allow it."""

    status = HTTPStatus.CONFLICT
    default_code = "conflict"


def conflicts(*codes: str) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes an operation's 409: by the codes that it may have."""
    *most, last = (f"`{code}`" for code in codes)
    return {409: {"model": Problem, "description": f"{', '.join(most)} or {last}" if most else last}}


class PreconditionFailedError(ProblemError):
    """``If-Match`` names a version that is not the present one."""

    status = HTTPStatus.PRECONDITION_FAILED
    default_code = "stale_version"


class InvalidError(ProblemError):
    """The request is well-formed and still cannot be carried out."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "invalid"


class TooManyRequestsError(ProblemError):
    """The caller has to wait."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "too_many_requests"


class UnavailableError(ProblemError):
    """Something that this needs is away; the same request may succeed later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "unavailable"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail, code, headers={"retry-after": str(RETRY_AFTER_SECONDS)})


def problem_response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer with problem details."""
    body: dict[str, Any] = {
        "type": f"urn:quality-compass:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": getattr(request.state, "request_id", None),
    }
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return JSONResponse(body, status, headers, media_type=CONTENT_TYPE)


def install(app: FastAPI) -> None:
    """Answer every failure of this application with problem details."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(UnexpectedFailures)


async def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise TypeError("registered for ProblemError only") from error
    return problem_response(request, error.status, error.code, error.detail, error.errors, error.headers)


async def _validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for RequestValidationError only") from error
    problems = [
        FieldProblem(pointer="/" + "/".join(_escape(part) for part in item["loc"]), detail=item["msg"])
        for item in error.errors()
    ]
    return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "The request is not valid.", problems)


def _escape(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTPException only") from error
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:
        # FastAPI's word for a body that it cannot read at all, invalid UTF-8 for one; here bad input is always 422.
        detail = "The body cannot be read."
        problem = FieldProblem(pointer="/body", detail=detail)
        return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, [problem])
    code = status.name.lower()
    headers = error.headers
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_allowed(request))}
    return problem_response(request, status, code, str(error.detail), headers=headers)


def _allowed(request: Request) -> list[str]:
    """The methods that a path takes: all of them, where Starlette names only those of the first route that fits."""
    routes = request.app.router.routes
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    return [
        method
        for method in methods
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


class UnexpectedFailures:
    """ASGI middleware that answers what no handler expected: 503 where the cause may pass, else 500.

    It stands inside the request context, so that the answer and the log line have the request's ids; an exception
    handler for `Exception` would run outside of every middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A failure after the answer has begun can only break the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if started:
                raise
            response = _unavailable_or_internal(Request(scope), error)
            await response(scope, receive, send)


def _unavailable_or_internal(request: Request, error: Exception) -> Response:
    if is_transient(error):
        logger.warning("dependency away", path=request.url.path, error=repr(error))
        headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
        detail = "The service cannot reach something that it needs. Try again shortly."
        return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers=headers)
    logger.error("unexpected failure", path=request.url.path, exc_info=error)
    detail = "The service failed unexpectedly. The request id helps to find out why."
    return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
