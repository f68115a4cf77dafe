"""What Envoy answers by itself: problem details (RFC 9457), like the services' own."""

from http import HTTPStatus
from typing import Any, Final

from deploy.gateway.settings import GatewaySettings
from shared.errors import CONTENT_TYPE, RETRY_AFTER_SECONDS

_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

UNLESS_GIVEN: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def security_headers(limits: GatewaySettings) -> dict[str, str]:
    """What is on every answer. Without https a browser must not be told to insist on it."""
    secure = {"strict-transport-security": "max-age=31536000; includeSubDomains"} if limits.https else {}
    return _ALWAYS | secure


def add_header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    """A header to add, in Envoy's words."""
    return {"header": {"key": name, "value": value}, "append_action": action}


def local_replies(limits: GatewaySettings) -> dict[str, Any]:
    """The `local_reply_config` of the gateway. The first mapper that matches wins."""
    always = [add_header(name, value) for name, value in (security_headers(limits) | UNLESS_GIVEN).items()]
    mappers = _mappers()
    for mapper in mappers:
        mapper["headers_to_add"] += always
    return {"mappers": mappers}


def _mappers() -> list[dict[str, Any]]:
    retry = str(RETRY_AFTER_SECONDS)
    jwks_away = _details("Jwks_remote_fetch_is_failed")
    unauthorized = HTTPStatus.UNAUTHORIZED
    return [
        # Envoy says 401 while it has no keys; the caller's token may be as good as ever.
        _mapper(jwks_away, HTTPStatus.SERVICE_UNAVAILABLE, "keys_unknown", "Tokens cannot be verified yet.", retry),
        _mapper(_details("Jwt_is_expired"), unauthorized, "expired_token", "The access token has expired."),
        _mapper(_details("Jwt_is_missing"), unauthorized, "missing_token", "An access token is needed."),
        # Envoy says 403 for a token that was made for somebody else.
        _mapper(_details("Audiences"), unauthorized, "invalid_token", "The access token is not valid."),
        _mapper(_status(401), unauthorized, "invalid_token", "The access token is not valid."),
        _mapper(_status(403), HTTPStatus.FORBIDDEN, "forbidden", "The gateway does not let this through."),
        _mapper(_status(404), HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this path."),
        _mapper(_status(408), HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive."),
        _mapper(_status(413), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", "The request is too large."),
        _mapper(_status(429), HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", "Too many requests. Slow down.", "1"),
        _mapper(
            _status(431),
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "The headers are too large.",
        ),
        *(
            _mapper(
                _status(status),
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "The service that answers this is away. Try again shortly.",
                retry,
            )
            for status in (502, 503, 504)
        ),
        _mapper(_status(400, "GE"), HTTPStatus.BAD_REQUEST, "bad_request", "The request is malformed."),
    ]


def _status(status: int, comparison: str = "EQ") -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "unused"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _details(part: str) -> dict[str, Any]:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": f'response.code_details.contains("{part}")',
            },
        }
    }


def _mapper(
    matches: dict[str, Any], status: HTTPStatus, code: str, detail: str, retry_after: str | None = None
) -> dict[str, Any]:
    headers = {}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return {
        "filter": matches,
        "status_code": int(status),
        "headers_to_add": [add_header(name, value) for name, value in headers.items()],
        "body_format_override": {
            "json_format": {
                "type": f"urn:quality-compass:problem:{code}",
                "title": status.phrase,
                "status": int(status),
                "detail": detail,
                "code": code,
                "request_id": "%REQ(X-REQUEST-ID)%",
            },
            "content_type": CONTENT_TYPE,
        },
    }
