"""The HTTP filters of the gateway, in the order in which a request meets them, and its access log.

All settings are those of `deploy.gateway.settings`; a route changes the ones of its own (`route_filters`).
"""

from typing import Any, Final

from deploy.gateway.routes import Limit, Route
from deploy.gateway.settings import GatewaySettings, TokenSettings
from shared.auth import LEEWAY_SECONDS

TYPES: Final = "type.googleapis.com/envoy"
_HTTP: Final = f"{TYPES}.extensions.filters.http"

_IDENTITY_PREFIXES: Final = (
    *("x-user", "x-auth", "x-session", "x-role", "x-jwt", "x-client", "x-remote-user", "x-forwarded-user"),
    # What Envoy itself would take as an instruction: another path, another host, other timeouts and retries.
    *("x-envoy", "x-original", "x-rewrite"),
)

_CORS_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
_CORS_REQUEST_HEADERS: Final = (
    "authorization, content-type, if-match, if-none-match, idempotency-key, last-event-id, traceparent"
)
_CORS_ANSWER_HEADERS: Final = "ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id, Content-Disposition"


def typed(kind: str, **content: Any) -> dict[str, Any]:
    """A configuration that names its type."""
    return {"@type": kind, **content}


def http_filters(limits: GatewaySettings, tokens: TokenSettings) -> list[dict[str, Any]]:
    """All of them. Those of a preflight come first: it carries no token."""
    return [
        {"name": "envoy.filters.http.cors", "typed_config": typed(f"{_HTTP}.cors.v3.Cors")},
        {"name": "envoy.filters.http.header_mutation", "typed_config": _stripped_headers()},
        {"name": "envoy.filters.http.local_ratelimit", "typed_config": _rate_limits(limits)},
        # Before the token is looked at: while Envoy fetches keys for it, a body would pile up past the limit, where
        # this filter no longer sees it, or stop at the connection's own limit and wait for ever.
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": typed(f"{_HTTP}.buffer.v3.Buffer", max_request_bytes=limits.largest_request_bytes),
        },
        {"name": "envoy.filters.http.jwt_authn", "typed_config": _tokens(tokens)},
        {
            "name": "envoy.filters.http.router",
            "typed_config": typed(f"{_HTTP}.router.v3.Router", suppress_envoy_headers=True),
        },
    ]


def no_token() -> dict[str, Any]:
    """What lets a route do without an access token."""
    return {"envoy.filters.http.jwt_authn": typed(f"{_HTTP}.jwt_authn.v3.PerRouteConfig", disabled=True)}


def route_filters(route: Route, limits: GatewaySettings) -> dict[str, Any]:
    """What is different for one route."""
    filters = no_token() if route.public else {}
    if route.limit is Limit.LOGIN:
        filters["envoy.filters.http.local_ratelimit"] = _rate_limits(limits, login=True)
    return filters


def cors(limits: GatewaySettings) -> dict[str, Any]:
    """Which other origins' pages may call the API; no credentials but the token that the page itself sends."""
    if not limits.cors_origins:
        return {}
    policy = typed(
        f"{_HTTP}.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in limits.cors_origins],
        allow_methods=_CORS_METHODS,
        allow_headers=_CORS_REQUEST_HEADERS,
        expose_headers=_CORS_ANSWER_HEADERS,
        max_age="600",
        allow_credentials=False,
        # A preflight of another origin is answered, too, without the headers that would let it go on.
        forward_not_matching_preflights=False,
    )
    return {"envoy.filters.http.cors": policy}


def _stripped_headers() -> dict[str, Any]:
    """Nobody outside can claim to be somebody by a header, whatever a service may come to believe."""
    return typed(
        f"{_HTTP}.header_mutation.v3.HeaderMutation",
        mutations={
            "request_mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}
                for prefix in _IDENTITY_PREFIXES
            ]
        },
    )


def _rate_limits(limits: GatewaySettings, *, login: bool = False) -> dict[str, Any]:
    """Limits of the whole gateway, per client address and per token; a login's are per address, and tighter.

    A descriptor's entry without a value has a bucket for each value that turns up.
    """
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    by_address: dict[str, Any] = {"remote_address": {}}
    by_token = {"request_headers": {"header_name": "authorization", "descriptor_key": "token"}}
    if login:
        per_address = _bucket(limits.logins_per_minute_and_address, "60s")
    else:
        per_address = _bucket(limits.requests_per_second_and_address)
    return typed(
        f"{_HTTP}.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="login" if login else "gateway",
        filter_enabled=always,
        filter_enforced=always,
        token_bucket=_bucket(limits.requests_per_second),
        rate_limits=[{"actions": [by_address]}, {"actions": [by_token]}],
        descriptors=[
            {"entries": [{"key": "remote_address"}], "token_bucket": per_address},
            {"entries": [{"key": "token"}], "token_bucket": _bucket(limits.requests_per_second_and_token)},
        ],
        max_dynamic_descriptors=20_000,
    )


def _bucket(rate: int, interval: str = "1s") -> dict[str, Any]:
    return {"max_tokens": 2 * rate, "tokens_per_fill": rate, "fill_interval": interval}


def _tokens(tokens: TokenSettings) -> dict[str, Any]:
    provider = {
        "issuer": tokens.token_issuer,
        "audiences": [tokens.token_audience],
        # Named, since by default a query parameter would do as well, and end up in logs.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "require_expiration": True,
        "clock_skew_seconds": LEEWAY_SECONDS,
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "remote_jwks": {
            "http_uri": {"uri": "http://auth/.well-known/jwks.json", "cluster": "auth", "timeout": "2s"},
            "cache_duration": f"{tokens.jwks_cache_seconds}s",
            "async_fetch": {"failed_refetch_duration": "1s"},
        },
    }
    return typed(
        f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
        providers={"compass": provider},
        # Every path; the exempt routes say so themselves, by exact path.
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "compass"}}],
    )


def access_log() -> dict[str, Any]:
    """One JSON line per request. No header that could hold a token, and no query, which could hold a name."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": typed(
            f"{TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={
                "json_format": {
                    "timestamp": "%START_TIME%",
                    "service": "gateway",
                    "event": "request",
                    "method": "%REQ(:METHOD)%",
                    "path": "%PATH(NQ)%",
                    "status": "%RESPONSE_CODE%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "flags": "%RESPONSE_FLAGS%",
                    "milliseconds": "%DURATION%",
                    "bytes_received": "%BYTES_RECEIVED%",
                    "bytes_sent": "%BYTES_SENT%",
                    "upstream": "%UPSTREAM_CLUSTER%",
                    "client_address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                    "user_agent": "%REQ(USER-AGENT):200%",
                }
            },
        ),
    }
