"""Trace contexts and the spans of messages and requests, as an exporter would get them."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka import ConsumerRecord
from fastapi import APIRouter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from shared import tracing
from shared.app import create_app
from shared.dead_letters import message_cause
from shared.inbox import Message
from shared.settings import ServiceSettings
from shared.telemetry import current_cause
from shared.tracing_messages import MOST_SPANS, Processing, Sending, for_effects_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
NOT_SAMPLED = f"00-{TRACE}-{SPAN}-00"

router = APIRouter()


@router.get("/things/{thing}")
async def thing(thing: str) -> dict[str, str | None]:
    """What an event of this request would name as its cause; of one thing, a defect."""
    if thing == "defect":
        raise RuntimeError("no such luck")
    return {"traceparent": current_cause().traceparent}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is exported while the test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider.get_tracer("test"))
    yield exporter
    tracing.use(None)


@pytest.fixture
async def client(settings: ServiceSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose lifespan has not begun: requests only."""
    app = create_app(settings, name="shared_test", description="", routers=[router])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


def message(offset: int, traceparent: str | bytes | None = None) -> Message:
    """A message of one partition."""
    value = traceparent.encode() if isinstance(traceparent, str) else traceparent
    headers = [] if value is None else [("traceparent", value)]
    return ConsumerRecord("engine.signals.v1", 2, offset, 0, 0, b"key", b"value", None, 1, 5, headers)


def traceparent(number: int, flags: str = "01") -> str:
    """One of many contexts."""
    return f"00-{number + 1:032x}-{number + 1:016x}-{flags}"


def event(cause: str | None) -> tuple[str, bytes]:
    """An event as it lies in the outbox."""
    return "compass.signals.v1", msgspec.json.encode({"subject": "s", "traceparent": cause, "data": {"a": [1]}})


def parent_of(span: ReadableSpan) -> str | None:
    """The id of a span's parent."""
    return None if span.parent is None else format_span_id(span.parent.span_id)


def text_of(span: ReadableSpan) -> str:
    """The `traceparent` of a span that has ended."""
    assert span.context is not None
    return tracing.traceparent(span.context)


@pytest.mark.parametrize(
    ("received", "sent_on"),
    [
        (SAMPLED, SAMPLED),
        (SAMPLED.encode(), SAMPLED),
        (NOT_SAMPLED, NOT_SAMPLED),
        (f"00-{TRACE}-{SPAN}-03", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", SAMPLED),
        (f"{SAMPLED}-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (SAMPLED.upper(), None),
        (f" {SAMPLED}", None),
        (f"{SAMPLED}\n", None),
        (f"cc-{TRACE}-{SPAN}-01-" + "x" * 500, None),
        (b"\xff\xfe", None),
        ("", None),
        (None, None),
    ],
)
def test_only_what_the_standard_calls_a_context_is_sent_on(received: str | bytes | None, sent_on: str | None) -> None:
    assert tracing.normal(received) == sent_on


def test_without_a_collector_contexts_go_on_and_no_span_is_made() -> None:
    assert tracing.tracer() is None
    assert Sending.begin([event(SAMPLED)]) is None
    with Processing("group") as processing:
        assert processing.begin([message(1, SAMPLED)]) is None
        assert for_effects_of(message(1, SAMPLED)) == SAMPLED
        assert for_effects_of(message(1, "nonsense")) is None


def test_without_a_collector_the_sdk_is_not_even_loaded() -> None:
    """It takes time and memory that a service without tracing does not pay."""
    code = (
        "import sys, shared.app, shared.tracing_export as e; assert e.start('signals') is None; "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_batch_of_one_trace_is_a_child_of_where_it_came_from(spans: InMemorySpanExporter) -> None:
    batch = [message(7, SAMPLED), message(8, SAMPLED)]
    with Processing("signals.ingest") as processing:
        whole = processing.begin(batch)
        assert message_cause(batch[0]).traceparent == message_cause(batch[1]).traceparent == whole
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind, parent_of(span)) == ("process engine.signals.v1", SpanKind.CONSUMER, SPAN)
    assert text_of(span) == whole
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    assert "messaging.kafka.offset" not in span.attributes
    assert for_effects_of(batch[0]) == SAMPLED, "after the batch nothing of it is left"


def test_a_mixed_batch_links_to_its_traces_and_each_goes_on(spans: InMemorySpanExporter) -> None:
    batch = [message(1, traceparent(1)), message(2, traceparent(2)), message(3), message(4, b"nonsense")]
    with Processing("signals.ingest") as processing:
        whole = processing.begin(batch)
        effects = [for_effects_of(each) for each in batch]
    found = {text_of(span): span for span in spans.get_finished_spans()}
    assert whole is not None
    assert parent_of(found[whole]) is None
    assert {format_trace_id(link.context.trace_id) for link in found[whole].links} == {f"{2:032x}", f"{3:032x}"}
    assert effects[2:] == [whole, whole], "what has no trace belongs to the batch's"
    for number, effect in zip((1, 2), effects, strict=False):
        assert effect is not None
        assert parent_of(found[effect]) == f"{number + 1:016x}"
        [link] = found[effect].links
        assert tracing.traceparent(link.context) == whole
    assert len(found) == 3


def test_a_great_batch_has_a_bounded_number_of_spans_and_breaks_no_trace(spans: InMemorySpanExporter) -> None:
    batch = [message(number, traceparent(number)) for number in range(3 * MOST_SPANS)]
    with Processing("signals.ingest") as processing:
        processing.begin(batch)
        effects = [for_effects_of(each) for each in batch]
    assert len(spans.get_finished_spans()) == MOST_SPANS + 1
    assert [effect and effect[:35] for effect in effects] == [traceparent(number)[:35] for number in range(len(batch))]
    sending = Sending.begin([event(effect) for effect in effects])
    assert sending is not None
    sending.end()
    assert len(spans.get_finished_spans()) == 2 * MOST_SPANS + 1
    assert [value.decode()[:35] for _, value in sending.headers] == [effect and effect[:35] for effect in effects]


def test_what_is_not_sampled_stays_so(spans: InMemorySpanExporter) -> None:
    with Processing("signals.ingest") as processing:
        whole = processing.begin([message(1, NOT_SAMPLED)])
    sending = Sending.begin([event(whole)])
    assert sending is not None
    sending.end()
    [(_, header)] = sending.headers
    assert (header[:35], header[-3:]) == (NOT_SAMPLED[:35].encode(), b"-00")
    assert spans.get_finished_spans() == ()


def test_a_failed_batch_names_the_kind_of_failure_and_not_its_text(spans: InMemorySpanExporter) -> None:
    def fail() -> None:
        with Processing("signals.ingest") as processing:
            processing.begin([message(1, SAMPLED)])
            raise ValueError("somebody@hospital.example")

    with pytest.raises(ValueError, match="somebody"):
        fail()
    [span] = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "somebody" not in span.to_json()
    assert for_effects_of(message(1, SAMPLED)) == SAMPLED


def test_events_of_one_cause_share_a_span_and_broken_ones_begin_their_own(spans: InMemorySpanExporter) -> None:
    sending = Sending.begin([event(SAMPLED), event(SAMPLED), event(None), ("compass.auth.v1", b"\xff")])
    assert sending is not None
    assert spans.get_finished_spans() == (), "it ends when Kafka has acknowledged"
    sending.end("TimeoutError")
    found = {text_of(span): span for span in spans.get_finished_spans()}
    headers = [value.decode() for name, value in sending.headers if name == "traceparent"]
    assert (len(found), len(headers), headers[0]) == (3, 4, headers[1])
    assert [(found[text].name, parent_of(found[text])) for text in headers[1:]] == [
        ("send compass.signals.v1", SPAN),
        ("send compass.signals.v1", None),
        ("send compass.auth.v1", None),
    ]
    assert all(span.status.status_code is StatusCode.ERROR for span in found.values())


async def test_a_request_is_a_span_and_the_cause_of_its_events(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await client.get("/things/ours?secret=a", headers={"traceparent": SAMPLED})
    [span] = spans.get_finished_spans()
    assert answer.json() == {"traceparent": text_of(span)}
    assert (span.name, span.kind, parent_of(span)) == ("GET /things/{thing}", SpanKind.SERVER, SPAN)
    assert span.status.status_code is StatusCode.UNSET
    assert "ours" not in span.to_json()
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(
    ("method", "path", "name", "status", "error"),
    [
        ("GET", "/things/defect", "GET /things/{thing}", 500, StatusCode.ERROR),
        ("GET", "/somewhere/else", "GET", 404, StatusCode.UNSET),
        ("PURGE", "/things/a", "HTTP /things/{thing}", 405, StatusCode.UNSET),
    ],
)
async def test_requests_that_fail(
    client: httpx.AsyncClient, spans: InMemorySpanExporter, method: str, path: str, name: str, status: int, error: Any
) -> None:
    answer = await client.request(method, path, headers={"traceparent": "nonsense"})
    [span] = spans.get_finished_spans()
    assert span.attributes is not None
    assert (answer.status_code, span.attributes["http.response.status_code"]) == (status, status)
    assert (span.name, span.status.status_code, parent_of(span)) == (name, error, None)
    assert "somewhere" not in span.to_json()


async def test_probes_and_scrapes_are_no_spans(client: httpx.AsyncClient, spans: InMemorySpanExporter) -> None:
    await client.get("/healthz")
    await client.get("/metrics")
    assert spans.get_finished_spans() == ()


async def test_without_a_collector_a_request_keeps_the_callers_context(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/a", headers={"traceparent": SAMPLED})
    assert answer.json() == {"traceparent": SAMPLED}
    alone = (await client.get("/things/a", headers={"traceparent": "nonsense"})).json()["traceparent"]
    assert tracing.normal(alone) == alone
    assert TRACE not in alone
