"""What is seen of the gateway: metrics on a port of their own, a span of each request where they are collected."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.gateway.envoy import render_containers
from deploy.gateway.observation import TracingSettings
from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.ports import free_port
from shared.settings import load
from tests.deploy.echo import echo
from tests.deploy.front import told
from tests.support.collector import Collected, Collector, collecting
from tests.support.eventually import eventually
from tests.support.metrics import gateway_series
from tests.support.stack import free_settings, temporary_state_dir

PUBLIC = "/.well-known/jwks.json"


@dataclass(frozen=True)
class Observed:
    """A gateway before echoes, whom nobody has to log in to."""

    url: str
    metrics: str


@contextmanager
def observed(**environment: str) -> Iterator[Observed]:
    """It runs, with these variables."""
    with ExitStack() as stack:
        settings = free_settings(stack.enter_context(temporary_state_dir()))
        port = free_port()
        for name in ("auth", "signals"):
            stack.enter_context(echo(name, settings.service_port(name)))
        gateway = EmbeddedEnvoy(settings)
        stack.callback(gateway.stop)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"COMPASS_GATEWAY_METRICS_PORT": str(port), **environment}.items():
                patch.setenv(name, value)
            gateway.start()
        yield Observed(gateway.url, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Who takes the spans."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def gateway(collector: Collector) -> Iterator[Observed]:
    """A gateway that tells both."""
    with observed(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as gateway:
        yield gateway


def samples(gateway: Observed) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """All that is told, by name and labels."""
    answer = httpx.get(f"{gateway.metrics}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            # The parser gives a counter the name that it should have.
            name = sample.name.removesuffix("_total") if family.type == "counter" else sample.name
            found.setdefault(name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def ask(gateway: Observed, path: str = PUBLIC, method: str = "GET", **headers: str) -> httpx.Response:
    """One request."""
    return httpx.request(method, gateway.url + path, headers=headers)


async def test_the_documented_metrics_are_told_and_no_others(gateway: Observed) -> None:
    async def seen() -> dict[str, set[str]]:
        # Some begin with the first request that a service answers.
        told(ask(gateway))
        return {
            name: {label for labels in values for label, _ in labels} - {"le"}
            for name, values in samples(gateway).items()
        }

    expected = {name: set(labels) for name, labels in gateway_series().items()}
    assert await eventually(seen, lambda names: names.keys() == expected.keys()) == expected


async def test_requests_and_the_services_health_are_counted(gateway: Observed) -> None:
    here = (("envoy_http_conn_manager_prefix", "gateway"), ("envoy_response_code_class", "4"))
    before = samples(gateway)["envoy_http_downstream_rq_xx"][here]
    assert ask(gateway, "/nowhere").status_code == 404

    async def look() -> tuple[float, dict[str, float]]:
        now = samples(gateway)
        healthy = {labels[0][1]: value for labels, value in now["envoy_cluster_membership_healthy"].items()}
        return now["envoy_http_downstream_rq_xx"][here], healthy

    count, healthy = await eventually(look, lambda seen: seen[0] == before + 1)
    assert healthy == {"auth": 1, "signals": 1, "workflow": 0, "activity": 0}
    assert count == before + 1


@pytest.mark.parametrize(
    "path", ["/", "/stats", "/stats/prometheus", "/metrics/", "/metrics?usedonly", "/quitquitquit"]
)
def test_the_port_of_metrics_answers_nothing_else(gateway: Observed, path: str) -> None:
    assert httpx.get(gateway.metrics + path).status_code == 404
    assert httpx.post(gateway.metrics + path).status_code == 404
    assert httpx.post(f"{gateway.metrics}/metrics").status_code == 404


def test_metrics_are_not_to_be_had_at_the_gateways_own_port(gateway: Observed) -> None:
    for path in ("/metrics", "/stats/prometheus"):
        assert httpx.get(gateway.url + path).status_code == 404


async def span_of(collector: Collector, trace_id: str) -> Collected:
    """The one span of a trace."""

    async def look() -> list[Collected]:
        return collector.trace(trace_id)

    [span] = await eventually(look, lambda spans: len(spans) == 1, seconds=20)
    return span


async def test_a_request_has_a_span_in_the_callers_trace_and_the_service_is_below_it(
    gateway: Observed, collector: Collector
) -> None:
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    answer = ask(gateway, traceparent=f"00-{trace}-{caller}-01")
    span = await span_of(collector, trace)
    assert (span.name, span.kind, span.parent_id, span.failed) == (f"GET {PUBLIC}", "SERVER", caller, False)
    assert told(answer)["traceparent"] == [f"00-{trace}-{span.span_id}-01"]
    assert (span.service, span.resource["service.namespace"]) == ("gateway", "quality-compass")
    assert (span.attributes["http.status_code"], span.attributes["upstream_cluster"]) == ("200", "auth")
    assert span.attributes["guid:x-request-id"] == answer.headers["x-request-id"]


async def test_a_span_is_named_after_its_route_and_holds_neither_path_nor_query(
    gateway: Observed, collector: Collector
) -> None:
    hidden = secrets.token_hex(8)
    for method, path in (("GET", f"/api/signals/{hidden}"), ("PATCH", f"/api/signals/{hidden}/status")):
        trace = secrets.token_hex(16)
        ask(
            gateway,
            f"{path}?facility={hidden}",
            method,
            traceparent=f"00-{trace}-{hidden}-01",
            authorization=f"Bearer {hidden}",
        )
        span = await span_of(collector, trace)
        assert span.name == f"{method} {path.replace(hidden, '{id}') if method == 'PATCH' else '/api/signals/**'}"
        assert hidden not in json.dumps(span.attributes)
        assert span.attributes["http.status_code"] == "401"


async def test_what_the_caller_does_not_sample_is_not_sampled(gateway: Observed, collector: Collector) -> None:
    unsampled, sampled = secrets.token_hex(16), secrets.token_hex(16)
    told_to = {}
    for trace, flag in ((unsampled, "00"), (sampled, "01")):
        answer = ask(gateway, traceparent=f"00-{trace}-{secrets.token_hex(8)}-{flag}")
        told_to[trace] = told(answer)["traceparent"][0]
    await span_of(collector, sampled)
    assert collector.trace(unsampled) == []
    assert told_to[unsampled].startswith(f"00-{unsampled}-")
    assert told_to[unsampled].endswith("-00")


def test_a_collector_that_is_away_hurts_nobody() -> None:
    with observed(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}") as gateway:
        for _ in range(50):
            told(ask(gateway))


def rendered(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """The configuration with these variables."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return render_containers()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_the_configuration_says_nothing_of_tracing(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    configuration = rendered(monkeypatch, **environment)
    text = json.dumps(configuration)
    assert "tracing" not in text
    assert "opentelemetry" not in text
    assert [listener["name"] for listener in configuration["static_resources"]["listeners"]] == ["gateway"]
    assert {cluster["name"] for cluster in configuration["static_resources"]["clusters"]} == {
        *("signals", "workflow", "activity", "auth")
    }


@pytest.mark.parametrize(
    ("variable", "value", "posted"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/", "http://collector:4318/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/elsewhere", "http://collector/elsewhere"),
    ],
)
def test_spans_go_where_those_of_the_services_go(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, posted: str
) -> None:
    configuration = rendered(monkeypatch, **{variable: value})
    assert json.dumps(configuration).count(f'"{posted}"') == 1
    [cluster] = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "collector"]
    [[endpoint]] = [each["lb_endpoints"] for each in cluster["load_assignment"]["endpoints"]]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert (address["address"], address["port_value"]) == ("collector", 4318 if "4318" in value else 80)


@pytest.mark.parametrize(
    ("sampler", "argument", "kinds", "share"),
    [
        ("always_on", "", ["trace_id_ratio_based"], 1_000_000),
        ("traceidratio", "0.25", ["trace_id_ratio_based"], 250_000),
        ("parentbased_traceidratio", "0.000001", ["parent_based", "trace_id_ratio_based"], 1),
        ("parentbased_always_off", "0.5", ["parent_based", "trace_id_ratio_based"], 0),
        ("", "", ["parent_based", "trace_id_ratio_based"], 1_000_000),
    ],
)
def test_traces_are_chosen_as_the_standards_variables_say(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, kinds: list[str], share: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    found, names = TracingSettings().sampler, []
    while True:
        names.append(found["name"].rpartition(".")[2])
        if "wrapped_sampler" not in found["typed_config"]:
            break
        found = found["typed_config"]["wrapped_sampler"]
    assert names == kinds
    assert found["typed_config"]["sampling_percentage"] == {"numerator": share, "denominator": "MILLION"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ],
)
def test_what_cannot_be_done_is_said_at_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        load(TracingSettings)
    [line] = capsys.readouterr().err.splitlines()
    assert variable in line
