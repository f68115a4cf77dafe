"""The Envoy configuration of the gateway, made from the route table.

``render(gateway)`` is the whole configuration for given addresses, as a dictionary that is written as JSON.
``render_local(addresses)`` is that of the local stack; ``addresses`` has a ``gateway_port`` and a
``service_port(name)`` on 127.0.0.1, and the limits come from the environment (`deploy.gateway.settings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from deploy.gateway.replies import SECURITY_HEADERS, UNLESS_GIVEN, add_header, local_replies
from deploy.gateway.routes import ROUTES, SERVICES, Limit, Route
from deploy.gateway.settings import GatewaySettings, TokenSettings
from shared.auth import LEEWAY_SECONDS
from shared.settings import load

JWKS_CACHE_SECONDS: Final = 60
"""A key has to be published for twice this time before it signs."""

_LOOPBACK: Final = "127.0.0.1"
_HEADERS_KILOBYTES: Final = 16
_TYPES: Final = "type.googleapis.com/envoy"
_FILTERS: Final = f"{_TYPES}.extensions.filters"


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """All that differs between the ways of running. With ``dns`` the services' hosts are names, not addresses."""

    listen: Address
    services: Mapping[str, Address]
    dns: bool = False
    limits: GatewaySettings = field(default_factory=GatewaySettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)


class LocalAddresses(Protocol):
    """Where the local stack listens."""

    @property
    def gateway_port(self) -> int:
        """The gateway's own port."""

    def service_port(self, service: str) -> int:
        """The port of one service."""


def render_local(addresses: LocalAddresses) -> dict[str, Any]:
    """The configuration of a stack that is wholly on 127.0.0.1."""
    return render(
        Gateway(
            listen=Address(_LOOPBACK, addresses.gateway_port),
            services={name: Address(_LOOPBACK, addresses.service_port(name)) for name in SERVICES},
            limits=load(GatewaySettings),
            tokens=load(TokenSettings),
        )
    )


def render(gateway: Gateway) -> dict[str, Any]:
    """The whole configuration."""
    configuration: dict[str, Any] = {
        "node": {"id": "gateway", "cluster": "quality-compass"},
        "static_resources": {
            "listeners": [_listener(gateway)],
            "clusters": [_cluster(name, gateway.services[name], dns=gateway.dns) for name in SERVICES],
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": gateway.limits.connections,
                    },
                }
            ]
        },
    }
    if gateway.limits.admin_port is not None:
        configuration["admin"] = {"address": _socket(Address(_LOOPBACK, gateway.limits.admin_port))}
    return configuration


def _socket(address: Address) -> dict[str, Any]:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _typed(kind: str, **content: Any) -> dict[str, Any]:
    return {"@type": kind, **content}


def _listener(gateway: Gateway) -> dict[str, Any]:
    return {
        "name": "gateway",
        "address": _socket(gateway.listen),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": _connections(gateway)}
                ]
            }
        ],
    }


def _connections(gateway: Gateway) -> dict[str, Any]:
    return _typed(
        f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        # The path that is matched here is the path that the service sees.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        use_remote_address=True,
        xff_num_trusted_hops=gateway.limits.trusted_hops,
        generate_request_id=True,
        always_set_request_id_in_response=True,
        server_header_transformation="PASS_THROUGH",
        max_request_headers_kb=_HEADERS_KILOBYTES,
        # Slow clients: a request has to arrive, and a connection has to be used.
        request_headers_timeout="10s",
        request_timeout="30s",
        stream_idle_timeout="60s",
        drain_timeout="5s",
        common_http_protocol_options={
            "idle_timeout": "300s",
            "max_headers_count": 100,
            # Otherwise x_client_address could pass for x-client-address in a service.
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        local_reply_config=local_replies(),
        access_log=[_access_log()],
        http_filters=[
            {"name": "envoy.filters.http.header_mutation", "typed_config": _stripped_headers()},
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": _rate_limits(gateway.limits)},
            # Before the token is looked at: while Envoy fetches keys for it, a body would pile up past the limit, where
            # this filter no longer sees it, or stop at the connection's own limit and wait for ever.
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": _typed(
                    f"{_FILTERS}.http.buffer.v3.Buffer", max_request_bytes=gateway.limits.largest_request_bytes
                ),
            },
            {"name": "envoy.filters.http.jwt_authn", "typed_config": _tokens(gateway.tokens)},
            {
                "name": "envoy.filters.http.router",
                "typed_config": _typed(f"{_FILTERS}.http.router.v3.Router", suppress_envoy_headers=True),
            },
        ],
        route_config={
            "name": "routes",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [*(_route(route, gateway.limits) for route in ROUTES), _unknown_path()],
                }
            ],
            "request_headers_to_add": [add_header("x-client-address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
            "response_headers_to_remove": ["server"],
            "response_headers_to_add": [
                *(add_header(name, value) for name, value in SECURITY_HEADERS.items()),
                # The few answers that are pages say themselves what they may load and how long they may be kept.
                *(add_header(name, value, "ADD_IF_ABSENT") for name, value in UNLESS_GIVEN.items()),
            ],
        },
    )


def _stripped_headers() -> dict[str, Any]:
    """Nobody outside can claim to be somebody by a header, whatever a service may come to believe."""
    prefixes = ("x-user", "x-auth", "x-session", "x-role", "x-jwt", "x-client", "x-remote-user", "x-forwarded-user")
    return _typed(
        f"{_FILTERS}.http.header_mutation.v3.HeaderMutation",
        mutations={
            "request_mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}} for prefix in prefixes
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
    return _typed(
        f"{_FILTERS}.http.local_ratelimit.v3.LocalRateLimit",
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
        "issuer": tokens.issuer,
        "audiences": [tokens.audience],
        # Named, since by default a query parameter would do as well, and end up in logs.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "require_expiration": True,
        "clock_skew_seconds": LEEWAY_SECONDS,
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "remote_jwks": {
            "http_uri": {"uri": "http://auth/.well-known/jwks.json", "cluster": "auth", "timeout": "2s"},
            "cache_duration": f"{JWKS_CACHE_SECONDS}s",
            "async_fetch": {"failed_refetch_duration": "1s"},
        },
    }
    return _typed(
        f"{_FILTERS}.http.jwt_authn.v3.JwtAuthentication",
        providers={"compass": provider},
        # Every path; the exempt routes say so themselves, by exact path.
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "compass"}}],
    )


def _no_token() -> dict[str, Any]:
    return {"envoy.filters.http.jwt_authn": _typed(f"{_FILTERS}.http.jwt_authn.v3.PerRouteConfig", disabled=True)}


def _route(route: Route, limits: GatewaySettings) -> dict[str, Any]:
    action: dict[str, Any] = {
        "cluster": route.service,
        "timeout": "0s" if route.streaming else f"{route.timeout_seconds}s",
        # Only where the service cannot have begun: it closed the connection, or never took it.
        "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2},
    }
    if route.streaming:
        action["idle_timeout"] = "0s"
    filters = _no_token() if route.public else {}
    if route.limit is Limit.LOGIN:
        filters["envoy.filters.http.local_ratelimit"] = _rate_limits(limits, login=True)
    return {"match": _match(route), "route": action, "typed_per_filter_config": filters}


def _match(route: Route) -> dict[str, Any]:
    if route.has_parameters:
        return {"safe_regex": {"regex": route.regex}}
    return {"path_separated_prefix": route.base} if route.is_subtree else {"path": route.base}


def _unknown_path() -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404},
        "typed_per_filter_config": _no_token(),
    }


def _cluster(name: str, address: Address, *, dns: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STRICT_DNS" if dns else "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(address)}}]}],
        },
        # A service that is down is answered for at once, instead of being tried all the same.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "http_health_check": {"path": "/healthz"},
                "timeout": "3s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
            }
        ],
        "circuit_breakers": {
            "thresholds": [{"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 4096}]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Below uvicorn's keep-alive, so that no request meets a connection that is just being closed.
                common_http_protocol_options={"idle_timeout": "4s"},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }


def _access_log() -> dict[str, Any]:
    """One JSON line per request. No header that could hold a token, and no query, which could hold a name."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": _typed(
            f"{_TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
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
