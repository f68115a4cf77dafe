"""Which failures an operation can answer, as far as its description tells: added to what the operation says itself."""

import re
from http import HTTPStatus
from typing import Any, Final

from shared.auth import PERMISSIONS, Permission
from shared.errors import CONTENT_TYPE

_PROBLEM: Final = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

_DESCRIPTIONS: Final = {
    HTTPStatus.UNAUTHORIZED: "No access token, or one that is not accepted: `missing_token`, `expired_token`, "
    "`invalid_token`, `revoked_token`.",
    HTTPStatus.FORBIDDEN: "The caller may not do this.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or not yet.",
    HTTPStatus.PRECONDITION_FAILED: "It has changed since the version that `If-Match` names.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request is not valid; `errors` says where.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests of this caller or this address.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something that this needs is away; the same request may succeed later.",
}
_REFUSED: Final = (
    "What the gateway refuses by itself: 400 malformed, 408 too slow, 413 too large, 431 headers too large."
)

_EXAMPLES: Final = {
    HTTPStatus.UNAUTHORIZED: ("expired_token", "The access token has expired."),
    HTTPStatus.FORBIDDEN: ("forbidden", "The role viewer does not have the permission edit."),
    HTTPStatus.NOT_FOUND: ("not_found", "There is no signal with this id."),
    HTTPStatus.PRECONDITION_FAILED: (
        "stale_version",
        "It has changed since the version that If-Match names. Read it again.",
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: ("invalid", "The request is not valid."),
    HTTPStatus.TOO_MANY_REQUESTS: ("too_many_requests", "Too many requests. Slow down."),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "unavailable",
        "The service cannot reach something that it needs. Try again shortly.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("request_too_large", "The request is too large."),
}
"""Code and detail of one such failure."""
_WRONG_PART: Final = {"pointer": "/query/limit", "detail": "Input should be less than or equal to 100"}

_MAKE_WHAT_IS_NOT_THERE: Final = frozenset({("put", "/api/metrics/{metric_id}")})
_RETRIED: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_GIVEN_TO_ALL: Final = frozenset[Permission].intersection(*PERMISSIONS.values())


def _name(status: HTTPStatus) -> str:
    return re.sub(r"\W", "", status.phrase.title())


def _example(status: HTTPStatus) -> dict[str, Any]:
    code, detail = _EXAMPLES[status]
    return {
        "type": f"urn:quality-compass:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": "0af7651916cd43dd8448eb211c80319c",
        "errors": [_WRONG_PART] if status is HTTPStatus.UNPROCESSABLE_ENTITY else None,
    }


def _content(status: HTTPStatus) -> dict[str, Any]:
    return {CONTENT_TYPE: {**_PROBLEM[CONTENT_TYPE], "example": _example(status)}}


def _response(status: HTTPStatus, description: str, content: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description, "content": content}
    if status in _RETRIED:
        response["headers"] = _RETRY_AFTER
    return response


RESPONSES: Final[dict[str, Any]] = {
    **{_name(status): _response(status, text, _content(status)) for status, text in _DESCRIPTIONS.items()},
    "Refused": {"description": _REFUSED, "content": _content(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)},
}
"""For `components/responses`."""


def add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    """Complete the responses of an operation; a failure that it describes itself keeps its own words."""
    responses: dict[str, Any] = operation["responses"]
    own = {code: response for code, response in responses.items() if code[0] in "45"}
    for code in own:
        # An example would name another reason than these words.
        responses[code] = _response(HTTPStatus(int(code)), own[code]["description"], _PROBLEM)
    for status in _possible(path, method, operation):
        if str(int(status)) not in own:
            responses[str(int(status))] = {"$ref": f"#/components/responses/{_name(status)}"}
    responses["default"] = {"$ref": "#/components/responses/Refused"}
    operation["responses"] = dict(sorted(responses.items()))


def _possible(path: str, method: str, operation: dict[str, Any]) -> list[HTTPStatus]:
    headers = {item["name"] for item in operation.get("parameters", ()) if item["in"] == "header"}
    permissions = {name for scheme in operation.get("security", ()) for name in scheme["bearer"]}
    is_write = method != "get"
    conditions = {
        HTTPStatus.UNAUTHORIZED: bool(permissions),
        HTTPStatus.FORBIDDEN: bool(permissions - _GIVEN_TO_ALL),
        HTTPStatus.NOT_FOUND: "{" in path and (method, path) not in _MAKE_WHAT_IS_NOT_THERE,
        HTTPStatus.PRECONDITION_FAILED: is_write and "if-match" in headers,
        HTTPStatus.UNPROCESSABLE_ENTITY: "parameters" in operation or "requestBody" in operation,
        HTTPStatus.TOO_MANY_REQUESTS: True,
        HTTPStatus.SERVICE_UNAVAILABLE: True,
    }
    return [status for status, possible in conditions.items() if possible]
