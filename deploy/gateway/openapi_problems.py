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
    HTTPStatus.CONFLICT: "The present state does not allow it.",
    HTTPStatus.PRECONDITION_FAILED: "It has changed since the version that `If-Match` names.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request is not valid; `errors` says where.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests of this caller or this address.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something that this needs is away; the same request may succeed later.",
}
_REFUSED: Final = (
    "What the gateway refuses by itself: 400 malformed, 408 too slow, 413 too large, 431 headers too large."
)

_RETRIED: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_GIVEN_TO_ALL: Final = frozenset[Permission].intersection(*PERMISSIONS.values())


def _name(status: HTTPStatus) -> str:
    return re.sub(r"\W", "", status.phrase.title())


def _response(status: HTTPStatus, description: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description, "content": _PROBLEM}
    if status in _RETRIED:
        response["headers"] = _RETRY_AFTER
    return response


RESPONSES: Final[dict[str, Any]] = {
    **{_name(status): _response(status, text) for status, text in _DESCRIPTIONS.items()},
    "Refused": {"description": _REFUSED, "content": _PROBLEM},
}
"""For `components/responses`."""


def add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    """Complete the responses of an operation; a failure that it describes itself keeps its own words."""
    responses: dict[str, Any] = operation["responses"]
    own = {code: response for code, response in responses.items() if code[0] in "45"}
    for code in own:
        responses[code] = _response(HTTPStatus(int(code)), own[code]["description"])
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
        HTTPStatus.NOT_FOUND: "{" in path,
        # What has versions has states, and another's change may have come between.
        HTTPStatus.CONFLICT: is_write and "if-match" in headers,
        HTTPStatus.PRECONDITION_FAILED: is_write and "if-match" in headers,
        HTTPStatus.UNPROCESSABLE_ENTITY: "parameters" in operation or "requestBody" in operation,
        HTTPStatus.TOO_MANY_REQUESTS: True,
        HTTPStatus.SERVICE_UNAVAILABLE: True,
    }
    return [status for status, possible in conditions.items() if possible]
