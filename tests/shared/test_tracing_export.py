"""What the standard's environment variables turn on, and what a collector that does not answer costs."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from shared import tracing, tracing_export
from tests.support.collector import collecting


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names no collector."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    tracing.use(None)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_a_collector_is_named(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert tracing_export.start("signals") is None
    assert tracing.tracer() is None


@pytest.mark.parametrize(
    ("variables", "service"),
    [({}, "signals"), ({"OTEL_SERVICE_NAME": "other"}, "other"), ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "signals")],
)
async def test_the_last_spans_are_sent_when_the_service_stops(
    environment: pytest.MonkeyPatch, variables: dict[str, str], service: str
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with collecting() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        export = tracing_export.start("signals")
        tracer = tracing.tracer()
        assert export is not None
        assert tracer is not None
        tracer.start_span("last").end()
        await export.stop()
        assert tracing.tracer() is None
        [span] = collector.spans
    assert (span.name, span.service, span.resource["service.namespace"]) == ("last", service, "quality-compass")
    assert span.resource["service.instance.id"]


async def test_a_collector_that_never_answers_holds_up_nothing(environment: pytest.MonkeyPatch) -> None:
    """More spans than the queue takes, and a stop, while the first export waits: the loop goes on meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        export = tracing_export.start("signals")
        tracer = tracing.tracer()
        assert export is not None
        assert tracer is not None
        for number in range(5000):
            tracer.start_span(str(number)).end()
        async with asyncio.timeout(60):
            await export.stop()
