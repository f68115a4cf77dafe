"""What the engine should not send, among what it should: each bad message is told of once, and keeps nobody waiting."""

import json
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_SIGNALS
from tests.e2e.api import count, query
from tests.support.eventually import eventually
from tests.support.factories import engine_signal


def raw(node: str, text: str = "", **changes: Any) -> bytes:
    """A signal as JSON, with a replacement for the text `"?"` where JSON has no way to say it."""
    return json.dumps(engine_signal(canonical_node_id=node, **changes)).replace('"?"', text).encode()


def bad_messages(node: str) -> dict[str, tuple[bytes | None, str]]:
    """By what is wrong: the message, and the code that a person finds it by."""
    whole = engine_signal(canonical_node_id=node)
    without_value = json.dumps({name: value for name, value in whole.items() if name != "metric_value"}).encode()
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    return {
        "not JSON": (b"signal: high", "invalid_json"),
        "invalid UTF-8": (raw(node).replace(b"Northfield", b"North\xff"), "invalid_utf8"),
        "null value": (None, "empty_message"),
        "missing required field": (without_value, "invalid_field"),
        "NaN": (raw(node, "NaN", metric_value="?"), "invalid_json"),
        "1e999": (raw(node, "1e999", metric_value="?"), "number_out_of_range"),
        "too large for its column": (raw(node, metric_value=1234567.5), "number_too_large"),
        "NUL character": (raw(node, description="a\0b"), "nul_character"),
        "lone surrogate": (raw(node, '"\\ud800"', description="?"), "invalid_unicode"),
        "timestamp without offset": (raw(node, detected_at="2026-07-01T00:00:00"), "invalid_field"),
        "detected two days ahead": (raw(node, detected_at=tomorrow), "detected_in_future"),
        "unknown domain": (raw(node, domain="Kindness"), "invalid_field"),
        "unknown type": (raw(node, simplified_signal_type="odd", simplified_severity=50), "invalid_field"),
        "severity out of its range": (
            raw(node, simplified_signal_type="baseline", simplified_severity=99),
            "invalid_classification",
        ),
        "a 2 MB body": (raw(node, description="x" * 2_000_000), "too_large"),
        "nested 10,000 deep": (raw(node, "[" * 10_000 + "]" * 10_000, extra_field="?"), "invalid_json"),
        "duplicate key": (raw(node).replace(b'"domain"', b'"facility": "Twice", "domain"'), "duplicate_key"),
    }


async def test_each_bad_message_lands_once_among_the_dead_letters(stack: LocalStack) -> None:
    node = f"node:bad-{uuid4().hex[:8]}"
    key = node.encode()  # one partition for all, so that a bad message stands in the way of the next good one
    bad = bad_messages(node)
    headers: list[list[tuple[str, bytes | None]]] = [[("h", None)], [("h", b"\xff\xfe")], []]
    good = 0
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, max_request_size=4 * 1024 * 1024)
    async with producer:
        places = {}
        for name, (value, _) in bad.items():
            place = await producer.send_and_wait(ENGINE_SIGNALS.name, value, key)
            places[place.partition, place.offset] = name
            # Good ones around it, with the headers that a parser may stumble over.
            await producer.send_and_wait(
                ENGINE_SIGNALS.name,
                raw(node, facility_id=f"G{good}", facility=f"Good {good}"),
                key,
                headers=headers[good % 3],
            )
            good += 1
        sent = monotonic()

    async def stored() -> int:
        return await count(stack, "SELECT count(*) FROM signals.signals WHERE canonical_node_id = $1", node)

    await eventually(stored, lambda seen: seen == good, seconds=10)
    waited = monotonic() - sent
    partition = next(iter(places))[0]

    async def letters() -> list[Any]:
        return await query(
            stack,
            'SELECT "offset", code, detail FROM signals.dead_letters WHERE topic = $1 AND partition = $2 '
            'AND "offset" = ANY($3)',
            ENGINE_SIGNALS.name,
            partition,
            [offset for _, offset in places],
        )

    found = await letters()
    by_name = {places[partition, row["offset"]]: (row["code"], row["detail"]) for row in found}
    assert len(found) == len(by_name) == len(bad)
    assert {name: code for name, (code, _) in by_name.items()} == {name: code for name, (_, code) in bad.items()}
    assert all(detail.endswith(".") and len(detail) > 20 for _, detail in by_name.values())
    if waited > 1:
        pytest.fail(f"the good messages were stored only after {waited:.1f} s")

    await _on_the_dead_letter_topic(stack, bad, places)
    shown = (
        "SELECT count(*) FROM activity.activity_events WHERE event_type = 'technical_error' AND payload::text LIKE $1"
    )
    await eventually(
        lambda: count(stack, shown, f'%"partition": {partition}%'), lambda seen: seen >= len(bad), seconds=15
    )


async def _on_the_dead_letter_topic(
    stack: LocalStack, bad: dict[str, tuple[bytes | None, str]], places: dict[tuple[int, int], str]
) -> None:
    """The topic has every bad message's own bytes, once, with the reason in the headers."""
    consumer = AIOKafkaConsumer(
        ENGINE_SIGNALS.dead_letter, bootstrap_servers=stack.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    seen: dict[str, int] = {}
    async with consumer:

        async def read() -> dict[str, int]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    notes = dict(record.headers)
                    place = (int(notes["dead-letter-partition"]), int(notes["dead-letter-offset"]))
                    if name := places.get(place):
                        seen[name] = seen.get(name, 0) + 1
                        assert record.value == bad[name][0]
                        assert notes["dead-letter-code"].decode() == bad[name][1]
            return seen

        await eventually(read, lambda seen: len(seen) == len(bad))
    assert set(seen.values()) == {1}
