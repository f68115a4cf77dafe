"""What operators see of the gateway: Envoy's own metrics on a port of their own, and a span of each request.

The port answers `GET /metrics` and nothing else: the rest of Envoy's administration, which can stop it, stays where it
is. Spans are made only where the environment names a collector, by the same variables as the services'
(`shared.tracing_export`); without them the configuration says nothing of tracing, and it costs nothing.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.gateway.filters import TYPES, typed
from deploy.gateway.routes import SERVICES

METRICS_PATH: Final = "/metrics"
ADMIN: Final = "admin"
COLLECTOR: Final = "collector"
NAMESPACE: Final = "quality-compass"

# What rules and dashboards ask for; all of it is twenty times as much. By Envoy's own names.
_TOLD: Final = "|".join(
    (
        rf"cluster\.({'|'.join(SERVICES)})\.(membership_(healthy|total)|upstream_(cx_connect_fail|rq_(\dxx|time|retry|timeout)))",
        r"http\.gateway\.(downstream_(cx_active|rq_(\dxx|time|active))|jwt_authn\.(denied|jwks_fetch_failed))",
        r"(gateway|login)\.http_local_rate_limit\.rate_limited",
        r"overload\..*\.(active|pressure)",
        r"server\.(memory_physical_size|uptime)",
    )
)
_STATISTICS: Final = f"/stats/prometheus?filter={quote(f'^({_TOLD})$')}"
_OPENTELEMETRY: Final = f"{TYPES}.extensions.tracers.opentelemetry"
_MILLION: Final = 1_000_000

_RATIO: Final = "traceidratio"
_SAMPLERS: Final[dict[str, float | None]] = {"always_on": 1.0, "always_off": 0.0, _RATIO: None}
_BY_PARENT: Final = "parentbased_"


class TracingSettings(BaseSettings):
    """OpenTelemetry's own variables, as far as they concern the gateway."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", env_ignore_empty=True, frozen=True, extra="ignore")

    exporter_otlp_traces_endpoint: str | None = None
    exporter_otlp_endpoint: str | None = None
    traces_exporter: str = "otlp"
    sdk_disabled: str = "false"
    traces_sampler: str = f"{_BY_PARENT}always_on"
    traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 1.0

    @property
    def endpoint(self) -> str | None:
        """Where spans are posted; None where nobody collects them."""
        if self.sdk_disabled.strip().lower() == "true" or self.traces_exporter == "none":
            return None
        if self.exporter_otlp_traces_endpoint or not self.exporter_otlp_endpoint:
            return self.exporter_otlp_traces_endpoint
        return f"{self.exporter_otlp_endpoint.rstrip('/')}/v1/traces"

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if parts.scheme != "http" or not parts.hostname:
                raise ValueError(
                    f"OTEL_EXPORTER_OTLP_ENDPOINT is {self.endpoint}; the gateway sends spans to http://host:port, "
                    "a collector beside it"
                )
            if self.traces_sampler.removeprefix(_BY_PARENT) not in _SAMPLERS:
                raise ValueError(f"OTEL_TRACES_SAMPLER is {self.traces_sampler}, which the gateway does not know")
        return self

    @property
    def sampler(self) -> dict[str, Any]:
        """Which traces are kept, in Envoy's words."""
        share = _SAMPLERS[self.traces_sampler.removeprefix(_BY_PARENT)]
        parts = round((self.traces_sampler_arg if share is None else share) * _MILLION)
        own = _sampler(
            "trace_id_ratio_based",
            "TraceIdRatioBased",
            sampling_percentage={"numerator": parts, "denominator": "MILLION"},
        )
        if not self.traces_sampler.startswith(_BY_PARENT):
            return own
        return _sampler("parent_based", "ParentBased", wrapped_sampler=own)


def _sampler(name: str, kind: str, **content: Any) -> dict[str, Any]:
    return {
        "name": f"envoy.tracers.opentelemetry.samplers.{name}",
        "typed_config": typed(f"{_OPENTELEMETRY}.samplers.v3.{kind}SamplerConfig", **content),
    }


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go."""

    host: str
    port: int
    url: str

    @classmethod
    def of(cls, settings: TracingSettings) -> Self | None:
        """The collector that the environment names, if it does."""
        if settings.endpoint is None:
            return None
        parts = urlsplit(settings.endpoint)
        return cls(parts.hostname or "", parts.port or 80, settings.endpoint)


def tracing(settings: TracingSettings) -> dict[str, Any]:
    """What the gateway's connections say of tracing: nothing without a collector.

    A span is named after the route, and has no path and no query: in them are ids of people, and what they search for.
    """
    if settings.endpoint is None:
        return {}
    service = {"service.namespace": NAMESPACE}
    detector = {
        "name": "envoy.tracers.opentelemetry.resource_detectors.static_config",
        "typed_config": typed(
            f"{_OPENTELEMETRY}.resource_detectors.v3.StaticConfigResourceDetectorConfig", attributes=service
        ),
    }
    provider = typed(
        f"{TYPES}.config.trace.v3.OpenTelemetryConfig",
        http_service={"http_uri": {"uri": settings.endpoint, "cluster": COLLECTOR, "timeout": "1s"}},
        service_name="gateway",
        resource_detectors=[detector],
        sampler=settings.sampler,
    )
    return {
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
            "operation": "%REQ(:METHOD)% %ROUTE_NAME%",
            "max_path_tag_length": 0,
        }
    }


def collector_cluster(collector: Collector) -> dict[str, Any]:
    """The collector; where it is away, spans are dropped and requests notice nothing."""
    return {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(collector.host, collector.port)}}]}],
        },
        "circuit_breakers": {"thresholds": [{"max_connections": 4, "max_pending_requests": 64, "max_requests": 64}]},
    }


def metrics_listener(host: str, port: int) -> dict[str, Any]:
    """The port that metrics are read from; open also when the gateway takes no more connections."""
    connections = typed(
        f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="metrics",
        route_config={
            "name": "metrics",
            "virtual_hosts": [
                {
                    "name": "metrics",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {
                                "path": METRICS_PATH,
                                # No query: Envoy would be asked for something else by it.
                                "headers": [_exactly(":method", "GET"), _exactly(":path", METRICS_PATH)],
                            },
                            "route": {"cluster": ADMIN, "prefix_rewrite": _STATISTICS, "timeout": "10s"},
                        }
                    ],
                }
            ],
        },
        http_filters=[
            {
                "name": "envoy.filters.http.router",
                "typed_config": typed(f"{TYPES}.extensions.filters.http.router.v3.Router"),
            }
        ],
    )
    return {
        "name": "metrics",
        "address": _socket(host, port),
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}
        ],
    }


def _exactly(header: str, value: str) -> dict[str, Any]:
    return {"name": header, "string_match": {"exact": value}}


def admin_cluster(address: dict[str, Any]) -> dict[str, Any]:
    """Envoy's own administration, for the one path that is let through."""
    return {
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": ADMIN,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
