"""The Envoy configuration of the gateway, made from the route table.

``render(gateway)`` is the whole configuration for given addresses, as a dictionary that is written as JSON.
``render_local(addresses)`` is that of the local stack; ``addresses`` has a ``gateway_port`` and a
``service_port(name)`` on 127.0.0.1. ``render_containers()`` is that of a gateway which finds the services by their
names. The limits come from the environment (`deploy.gateway.settings`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from deploy.container import PORTS as SERVICE_PORTS
from deploy.gateway.filters import TYPES, access_log, cors, http_filters, no_token, route_filters, typed
from deploy.gateway.observation import (
    Collector,
    TracingSettings,
    admin_cluster,
    collector_cluster,
    metrics_listener,
    tracing,
)
from deploy.gateway.replies import UNLESS_GIVEN, add_header, local_replies, security_headers
from deploy.gateway.routes import ROUTES, SERVICES, Limit, Route
from deploy.gateway.settings import GatewaySettings, TokenSettings
from shared.settings import load

_LOOPBACK: Final = "127.0.0.1"
_ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - what reaches a container is decided around it
_CONTAINER_PORT: Final = 8080
_HEADERS_KILOBYTES: Final = 16
_READING: Final = {"name": ":method", "string_match": {"exact": "GET"}}
_NEVER_BEGUN: Final = "connect-failure,refused-stream,reset-before-request"
"""The service closed the connection, or never took it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """All that differs between the ways of running.

    With ``dns`` the services' hosts are names, not addresses. ``admin`` is a Unix socket for Envoy's administration,
    through which it is drained; whoever can open it can stop the gateway.
    """

    listen: Address
    services: Mapping[str, Address]
    dns: bool = False
    admin: Path | None = None
    limits: GatewaySettings = field(default_factory=GatewaySettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    traces: TracingSettings = field(default_factory=TracingSettings)


class LocalAddresses(Protocol):
    """Where the local stack listens."""

    @property
    def gateway_port(self) -> int:
        """The gateway's own port."""

    def service_port(self, service: str) -> int:
        """The port of one service."""


def render_local(addresses: LocalAddresses, admin: Path | None = None) -> dict[str, Any]:
    """The configuration of a stack that is wholly on 127.0.0.1."""
    return render(
        Gateway(
            listen=Address(_LOOPBACK, addresses.gateway_port),
            services={name: Address(_LOOPBACK, addresses.service_port(name)) for name in SERVICES},
            admin=admin,
            limits=load(GatewaySettings),
            tokens=load(TokenSettings),
            traces=load(TracingSettings),
        )
    )


def render_containers() -> dict[str, Any]:
    """The configuration of a gateway in a container: the services' names are those of their hosts."""
    return render(
        Gateway(
            listen=Address(_ANYWHERE, _CONTAINER_PORT),
            services={name: Address(name, SERVICE_PORTS[name]) for name in SERVICES},
            dns=True,
            limits=load(GatewaySettings),
            tokens=load(TokenSettings),
            traces=load(TracingSettings),
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
        "overload_manager": _overload(gateway.limits),
    }
    resources = configuration["static_resources"]
    if (collector := Collector.of(gateway.traces)) is not None:
        resources["clusters"].append(collector_cluster(collector))
    if (admin := _administration(gateway)) is not None:
        configuration["admin"] = {"address": admin}
        if (port := gateway.limits.metrics_port) is not None:
            resources["listeners"].append(metrics_listener(gateway.listen.host, port))
            resources["clusters"].append(admin_cluster(admin))
    return configuration


def _administration(gateway: Gateway) -> dict[str, Any] | None:
    if gateway.admin is not None:
        return {"pipe": {"path": str(gateway.admin), "mode": 0o600}}
    port = gateway.limits.admin_port
    return None if port is None else _socket(Address(_LOOPBACK, port))


def _overload(limits: GatewaySettings) -> dict[str, Any]:
    """Connections beyond the limit are closed; with the memory nearly used up, fewer are kept, then none served."""
    monitors = f"{TYPES}.extensions.resource_monitors"
    heap = "envoy.resource_monitors.fixed_heap"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": typed(
                    f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=limits.connections,
                ),
            },
            {
                "name": heap,
                "typed_config": typed(
                    f"{monitors}.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=limits.heap_bytes
                ),
            },
        ],
        "actions": [
            {"name": f"envoy.overload_actions.{action}", "triggers": [{"name": heap, "threshold": {"value": share}}]}
            for action, share in (
                ("shrink_heap", 0.8),
                ("disable_http_keepalive", 0.9),
                ("stop_accepting_requests", 0.95),
            )
        ],
    }


def _socket(address: Address) -> dict[str, Any]:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


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
    return typed(
        f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
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
        # Slow clients: a request has to arrive, an answer has to be taken, and a connection has to be used.
        request_headers_timeout=f"{gateway.limits.headers_seconds}s",
        request_timeout=f"{gateway.limits.request_seconds}s",
        stream_idle_timeout=f"{gateway.limits.idle_seconds}s",
        drain_timeout="5s",
        common_http_protocol_options={
            "idle_timeout": f"{gateway.limits.idle_seconds}s",
            "max_headers_count": 100,
            # Otherwise x_client_address could pass for x-client-address in a service.
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        local_reply_config=local_replies(gateway.limits),
        access_log=[access_log()],
        http_filters=http_filters(gateway.limits, gateway.tokens),
        **tracing(gateway.traces),
        route_config={
            "name": "routes",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [*_routes(gateway.limits), _unknown_path()],
                    "typed_per_filter_config": cors(gateway.limits),
                }
            ],
            "request_headers_to_add": [add_header("x-client-address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
            "response_headers_to_remove": ["server"],
            "response_headers_to_add": [
                *(add_header(name, value) for name, value in security_headers(gateway.limits).items()),
                # The few answers that are pages say themselves what they may load and how long they may be kept.
                *(add_header(name, value, "ADD_IF_ABSENT") for name, value in UNLESS_GIVEN.items()),
            ],
        },
    )


def _routes(limits: GatewaySettings) -> Iterator[dict[str, Any]]:
    """Of each path first what only reads: it may be done again whatever became of it."""
    for route in ROUTES:
        if route.limit is Limit.NONE:
            yield _route(route, limits, f"{_NEVER_BEGUN},reset", headers=[_READING])
        yield _route(route, limits, _NEVER_BEGUN)


def _route(route: Route, limits: GatewaySettings, retry_on: str, **match: Any) -> dict[str, Any]:
    action: dict[str, Any] = {
        "cluster": route.service,
        "timeout": "0s" if route.streaming else f"{route.timeout_seconds}s",
        # At another instance where there is one: that which is gone stays in the list until it is looked at again.
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": 2,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed(f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }
    return {
        "name": route.path,
        "match": _match(route) | match,
        "route": action,
        "typed_per_filter_config": route_filters(route, limits),
    }


def _match(route: Route) -> dict[str, Any]:
    if route.has_parameters:
        return {"safe_regex": {"regex": route.regex}}
    return {"path_separated_prefix": route.base} if route.is_subtree else {"path": route.base}


def _unknown_path() -> dict[str, Any]:
    return {
        "name": "unmatched",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404},
        "typed_per_filter_config": no_token(),
    }


def _cluster(name: str, address: Address, *, dns: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STRICT_DNS" if dns else "STATIC",
        "connect_timeout": "1s",
        # An instance that is about to end leaves the names first, and answers until nobody asks it any more.
        "ignore_health_on_host_removal": dns,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(address)}}]}],
        },
        # A service that is down is answered for at once, instead of being tried all the same.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Of several instances one that breaks connections is left out for a while, never the last half of them; what
        # a service answers, 503 while its database is away too, is no reason: the others would say the same.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 5,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 50,
            "always_eject_one_host": False,
        },
        # Whether the process answers. By /readyz a database that is away would take away the service's own answers.
        # With patience: one that is gone refuses connections and is answered for at once anyway, and one that is only
        # busy, with an attack on its logins for one, must not be taken for dead.
        "health_checks": [
            {
                "http_health_check": {"path": "/healthz"},
                "timeout": "5s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 6,
                "healthy_threshold": 1,
            }
        ],
        "circuit_breakers": {
            "thresholds": [
                # As many retries at a time as one instance may have had in hand when it went.
                {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 4096, "max_retries": 256}
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Below uvicorn's keep-alive, so that no request meets a connection that is just being closed.
                common_http_protocol_options={"idle_timeout": "4s"},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }
