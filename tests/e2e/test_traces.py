"""One trace across all processes: of a signal from the engine's message on, and of a request through the gateway."""

import secrets
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.ports import free_port
from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_SIGNALS
from tests.e2e.api import PASSWORD, Api, api, id_of, send
from tests.e2e.reconfigured import reconfigured
from tests.e2e.stories import new_signal
from tests.support.collector import Collected, Collector, collecting
from tests.support.eventually import eventually

SERVICES = ("signals", "workflow", "activity", "auth")


@pytest.fixture(scope="module")
def collector(stack: LocalStack) -> Iterator[Collector]:
    """What gateway and services send their spans to."""
    with (
        collecting() as collector,
        reconfigured(stack, SERVICES, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100"),
    ):
        yield collector


class Origin:
    """The span of somebody outside, in whose trace all that follows belongs."""

    def __init__(self) -> None:
        self.trace_id = secrets.token_hex(16)
        self.span_id = secrets.token_hex(8)

    @property
    def traceparent(self) -> str:
        """Its text, sampled."""
        return f"00-{self.trace_id}-{self.span_id}-01"


async def publish(stack: LocalStack, signals: dict[str, dict[str, Any]]) -> None:
    """Publish signals as an engine does that traces its own work; by the `traceparent` that each is sent with."""
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, linger_ms=20) as producer:
        sent = [
            await producer.send(
                ENGINE_SIGNALS.name,
                msgspec.json.encode(signal),
                signal["facility_id"].encode(),
                headers=[("traceparent", traceparent.encode())],
            )
            for traceparent, signal in signals.items()
        ]
        for future in sent:
            await future


def only(spans: list[Collected], service: str, name: str, group: str | None = None) -> Collected:
    """The one span of that service and name, of a consumer group if given."""
    found = [
        span
        for span in spans
        if (span.service, span.name) == (service, name)
        and group in (None, span.attributes.get("messaging.consumer.group.name"))
    ]
    assert len(found) == 1, [(span.service, span.name) for span in spans]
    return found[0]


async def spans_of(collector: Collector, origin: Origin, *names: tuple[str, str]) -> list[Collected]:
    """A trace once it has spans of these services and names."""

    async def look() -> list[Collected]:
        return collector.trace(origin.trace_id)

    return await eventually(look, lambda spans: set(names) <= {(span.service, span.name) for span in spans})


FROM_ENGINE_TO_FEED = (
    ("signals", "process engine.signals.v1"),
    ("signals", "send compass.signals.v1"),
    ("workflow", "process compass.signals.v1"),
    ("activity", "process compass.signals.v1"),
)


async def test_of_one_signal_from_the_engines_message_to_workflow_and_feed(
    stack: LocalStack, collector: Collector
) -> None:
    origin, signal = Origin(), new_signal()
    await publish(stack, {origin.traceparent: signal})
    spans = await spans_of(collector, origin, *FROM_ENGINE_TO_FEED)

    ingest = only(spans, "signals", "process engine.signals.v1")
    assert (ingest.parent_id, ingest.kind, ingest.failed) == (origin.span_id, "CONSUMER", False)
    offset = ingest.attributes.pop("messaging.kafka.offset")
    partition = ingest.attributes.pop("messaging.destination.partition.id")
    assert (offset >= 0, partition.isdecimal()) == (True, True)
    assert ingest.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "engine.signals.v1",
        "messaging.consumer.group.name": "signals.ingest",
    }
    relay = only(spans, "signals", "send compass.signals.v1")
    assert (relay.parent_id, relay.kind) == (ingest.span_id, "PRODUCER")
    assert relay.attributes["messaging.operation.type"] == "send"
    for service in ("workflow", "activity"):
        consumed = only(spans, service, "process compass.signals.v1")
        assert (consumed.parent_id, consumed.kind) == (relay.span_id, "CONSUMER")
        assert consumed.attributes["messaging.consumer.group.name"].startswith(f"{service}.")
    for span in spans:
        assert span.resource["service.namespace"] == "quality-compass"
        assert span.resource["telemetry.sdk.language"] == "python"
    assert len({span.resource["service.instance.id"] for span in spans}) == 3


async def test_in_a_batch_of_many_traces_each_goes_on_by_itself(stack: LocalStack, collector: Collector) -> None:
    signals = {Origin(): new_signal() for _ in range(60)}
    await publish(stack, {origin.traceparent: signal for origin, signal in signals.items()})
    for origin in signals:
        spans = await spans_of(collector, origin, *FROM_ENGINE_TO_FEED)
        ingest = only(spans, "signals", "process engine.signals.v1")
        relay = only(spans, "signals", "send compass.signals.v1")
        assert (ingest.parent_id, relay.parent_id) == (origin.span_id, ingest.span_id)
        for service in ("workflow", "activity"):
            assert only(spans, service, "process compass.signals.v1").parent_id == relay.span_id


async def assigned(clinical: Api, signal: dict[str, Any], assignee: str, headers: dict[str, str]) -> None:
    """Assign a signal, as soon as the workflow service has heard of it and of the assignee."""
    path = f"/api/signals/{id_of(signal)}/assign"
    body = {"assignee_id": assignee, "role_type": "clinical_leadership", "notes": "Please look at it."}
    await eventually(
        lambda: clinical.client.post(path, json=body, headers=headers), lambda answer: answer.status_code < 300
    )


async def test_of_a_request_through_the_gateway_to_the_feed(stack: LocalStack, collector: Collector) -> None:
    clinical, signal, before, origin = api(stack, "clinical"), new_signal(), Origin(), Origin()
    await clinical.login()
    me = await clinical.me()
    await send(stack, [signal])
    await assigned(clinical, signal, me["id"], {"traceparent": before.traceparent})
    path = f"/api/signals/{id_of(signal)}/status"
    answer = await clinical.client.patch(
        path, json={"status": "in_progress"}, headers={"traceparent": origin.traceparent}
    )
    assert answer.status_code == 200, answer.text
    spans = await spans_of(
        collector,
        origin,
        ("gateway", "PATCH /api/signals/{id}/status"),
        ("workflow", "PATCH /api/signals/{signal_id}/status"),
        ("workflow", "send compass.workflow.v1"),
        ("activity", "process compass.workflow.v1"),
        ("signals", "process compass.workflow.v1"),
    )
    entered = only(spans, "gateway", "PATCH /api/signals/{id}/status")
    assert (entered.parent_id, entered.kind, entered.failed) == (origin.span_id, "SERVER", False)
    assert entered.attributes["guid:x-request-id"] == answer.headers["x-request-id"]
    served = only(spans, "workflow", "PATCH /api/signals/{signal_id}/status")
    assert (served.parent_id, served.kind, served.failed) == (entered.span_id, "SERVER", False)
    assert served.attributes == {
        "http.request.method": "PATCH",
        "http.response.status_code": 200,
        "http.route": "/api/signals/{signal_id}/status",
        "url.path": "/api/signals/{signal_id}/status",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.request.header.x-request-id": [answer.headers["x-request-id"]],
    }
    relay = only(spans, "workflow", "send compass.workflow.v1")
    assert relay.parent_id == served.span_id
    for service in ("activity", "signals"):
        assert only(spans, service, "process compass.workflow.v1").parent_id == relay.span_id


async def test_spans_hold_no_secret_and_nothing_of_people(stack: LocalStack, collector: Collector) -> None:
    """Whatever is sent in the course of a login, a wrong login, a search and an assignment."""
    clinical, signal, last = api(stack, "clinical"), new_signal(), Origin()
    wrong = f"wrong-{uuid4().hex}"
    await clinical.client.post("/api/auth/login", json={"email": clinical.email, "password": wrong})
    await clinical.login()
    me = await clinical.me()
    await send(stack, [signal])
    await assigned(clinical, signal, me["id"], {})
    await clinical.get("/api/signals", facility=signal["facility_id"])
    await clinical.get(f"/api/signals/{id_of(signal)}")
    await clinical.call("GET", f"/api/users/{me['id']}", 403)
    await clinical.client.get("/api/auth/me", headers={"traceparent": last.traceparent})
    await spans_of(collector, last, ("auth", "GET /api/auth/me"))
    sent = b"\0".join(collector.bodies)
    assert b"/api/auth/login" in sent
    token = clinical.client.headers["authorization"].removeprefix("Bearer ")
    private = {
        "the token": token,
        "its signature": token.rsplit(".", 1)[1],
        "the password": PASSWORD + '"',
        "a wrong password": wrong,
        "an address": clinical.email,
        "a person's id": me["id"],
        "a person's name": me["name"],
        "a search": signal["facility_id"],
        "a signal's id": str(id_of(signal)),
        "a header": "Bearer",
    }
    assert [what for what, text in private.items() if text.encode() in sent] == []


def stopped(stack: LocalStack) -> dict[str, int]:
    """How often each service has come to its own end, not killed for taking too long."""
    logs = {name: stack.service(name).process.log_path.read_text(encoding="utf-8") for name in SERVICES}
    return {name: log.count('"event": "stopped"') for name, log in logs.items()}


async def test_a_collector_that_is_away_hurts_nobody(stack: LocalStack) -> None:
    clinical, signal = api(stack, "clinical"), new_signal()
    with reconfigured(stack, SERVICES, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}"):
        before = stopped(stack)
        await eventually(
            lambda: clinical.client.post("/api/auth/login", json={"email": clinical.email, "password": PASSWORD}),
            lambda answer: answer.status_code == 200,
        )
        await clinical.login()
        await send(stack, [signal])
        await assigned(clinical, signal, (await clinical.me())["id"], {})
        page = await eventually(
            lambda: clinical.get("/api/feed", signal_id=str(id_of(signal))), lambda page: len(page["events"]) == 2
        )
        assert {event["event_type"] for event in page["events"]} == {"new_signal", "assignment"}
    assert stopped(stack) == {name: count + 1 for name, count in before.items()}
