"""Bad messages among good ones: each lands once in the dead letters, with a reason that a person understands."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import ActivityEventType
from shared.inbox import Message
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

GROUP = "signals.ingest"


def replaced(old: str, new: bytes) -> bytes:
    """A good signal's bytes with one part replaced."""
    raw = json.dumps(engine_signal(), ensure_ascii=False).encode()
    assert old.encode() in raw
    return raw.replace(old.encode(), new)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in engine_signal().items() if key != name}


CALCULATION = {"base_severity": 42, "refinements": [], "final_severity": 43}
ASCENDING = [{"period": "2026-02", "value": 1.0}, {"period": "2026-01", "value": 1.0}]

BAD: list[tuple[str, bytes | dict[str, Any] | None, str, str]] = [
    ("not JSON", b"{nope", "invalid_json", "not JSON"),
    ("empty", b"", "invalid_json", "not JSON"),
    ("no object", b"[1]", "not_an_object", "array"),
    ("invalid UTF-8", replaced("Northfield", b"North\xfffield"), "invalid_utf8", "0xff"),
    ("null value", None, "empty_message", "no value"),
    ("required field missing", without("metric_value"), "invalid_field", "metric_value"),
    ("required field null", engine_signal(facility=None), "invalid_field", "facility"),
    ("required field empty", engine_signal(metric_id=""), "invalid_field", "metric_id"),
    ("NaN", replaced("0.21", b"NaN"), "invalid_json", "not JSON"),
    ("Infinity", replaced("0.21", b"-Infinity"), "invalid_json", "not JSON"),
    ("1e999", replaced("0.21", b"1e999"), "number_out_of_range", "too large"),
    ("too large for its column", engine_signal(metric_value=1_000_000), "number_too_large", "NUMERIC(10,4)"),
    ("too large after rounding", engine_signal(peer_mean=999_999.99995), "number_too_large", "peer_mean"),
    ("far too large", engine_signal(annual_excess_cost=-1e300), "number_too_large", "annual_excess_cost"),
    ("encounters too large", engine_signal(encounters=2**31), "invalid_field", "encounters"),
    ("encounters of 2^70", engine_signal(encounters=2**70), "invalid_field", "encounters"),
    ("percentile out of range", engine_signal(percentile_rank=100.1), "invalid_field", "percentile_rank"),
    ("NUL character", engine_signal(description="a\0b"), "nul_character", "NUL"),
    ("NUL in an unknown field", engine_signal(other={"a": ["\0"]}), "nul_character", "NUL"),
    ("NUL in a name", engine_signal(entity_dimensions={"a\0": "1"}), "nul_character", "NUL"),
    ("lone surrogate", replaced("Northfield", b"\\ud800"), "invalid_unicode", "surrogate"),
    ("timestamp without offset", engine_signal(detected_at="2026-07-01T00:00:00"), "invalid_field", "detected_at"),
    ("no timestamp", engine_signal(detected_at="yesterday"), "invalid_field", "detected_at"),
    ("before the year 1", engine_signal(detected_at="0001-01-01T00:00:00+01:00"), "invalid_field", "detected_at"),
    ("in the year 9999", engine_signal(detected_at="9999-12-31T23:59:59-12:00"), "detected_in_future", "ahead"),
    ("unknown domain", engine_signal(domain="Costs"), "invalid_field", "domain"),
    ("unknown type", engine_signal(simplified_signal_type="odd"), "invalid_field", "simplified_signal_type"),
    ("severity above 100", engine_signal(simplified_severity=101), "invalid_field", "simplified_severity"),
    (
        "severity out of its type's range",
        engine_signal(simplified_signal_type="baseline", simplified_severity=60),
        "invalid_classification",
        "26-59",
    ),
    (
        "severity out of its own range",
        engine_signal(simplified_severity=60, simplified_severity_range=[61, 70]),
        "invalid_classification",
        "61-70",
    ),
    (
        "severity that does not add up",
        engine_signal(
            simplified_signal_type="baseline", simplified_severity=43, simplified_severity_calculation=CALCULATION
        ),
        "invalid_classification",
        "add up",
    ),
    ("2 MB", engine_signal(description="x" * 2_000_000), "too_large", "2,000,"),
    ("nested 200 deep", engine_signal(extra_depth=json.loads("[" * 200 + "]" * 200)), "invalid_json", "nested"),
    ("nested 10,000 deep", replaced("0.21", b"[" * 10_000 + b"]" * 10_000), "invalid_json", "nested"),
    ("duplicate key", replaced('"facility"', b'"metric_id"'), "duplicate_key", "metric_id"),
    ("a true for a number", engine_signal(metric_value=True), "invalid_field", "metric_value"),
    ("a text for a number", engine_signal(metric_value="1.5"), "invalid_field", "metric_value"),
    ("a text too long", engine_signal(facility_id="x" * 51), "invalid_field", "facility_id"),
    ("a hash that is none", engine_signal(entity_dimensions_hash="x" * 32), "invalid_field", "hash"),
    ("a dimension that is no text", engine_signal(entity_dimensions={"ward": 1}), "invalid_field", "dimensions"),
    ("timeline newest first", engine_signal(metric_trend_timeline=ASCENDING), "periods_out_of_order", "2026-01"),
    (
        "a month twice",
        engine_signal(peer_percentile_trends=[{"period": "2026-01"}, {"period": "2026-01"}]),
        "periods_out_of_order",
        "peer_percentile_trends",
    ),
    (
        "no month",
        engine_signal(metric_trend_timeline=[{"period": "2026-13", "value": 1}]),
        "invalid_field",
        "metric_trend_timeline",
    ),
]


def good(number: int) -> Message:
    return message(ENGINE_SIGNALS, engine_signal(facility_id=f"good {number}"))


@pytest.mark.parametrize(("value", "code", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_message_between_good_ones(
    service: ServiceUnderTest, value: bytes | dict[str, Any] | None, code: str, words: str
) -> None:
    first = good(1)
    bad = message(ENGINE_SIGNALS, value, key=None, headers=[("trace", b"\xff\x00"), ("empty", None)])
    await service.consume(GROUP, first, bad, good(2))
    await service.consume(GROUP, bad, good(3))

    [letter] = await service.dead_letters()
    assert letter["code"] == code
    assert words in letter["detail"]
    assert "Traceback" not in letter["detail"]
    assert letter["value"] == bad.value
    rejected = await service.events("message.rejected")
    assert [event.feedtype for event in rejected] == [ActivityEventType.TECHNICAL_ERROR]
    stored = await service.rows("SELECT facility_id FROM signals ORDER BY facility_id")
    assert [row["facility_id"] for row in stored] == ["good 1", "good 2", "good 3"]


async def test_all_bad_messages_in_one_batch(service: ServiceUnderTest) -> None:
    messages = [good(0)]
    for number, (_, value, _, _) in enumerate(BAD, start=1):
        messages += [message(ENGINE_SIGNALS, value), good(number)]
    await service.consume(GROUP, *messages)

    assert [letter["code"] for letter in await service.dead_letters()] == [code for _, _, code, _ in BAD]
    assert (await service.rows("SELECT count(*) AS n FROM signals"))[0]["n"] == len(BAD) + 1


def _unlike(seed: int, length: int) -> str:
    """So many characters of four bytes each that no index can store in less."""
    of = Random(seed)  # noqa: S311 - to be the same again
    return "".join(chr(of.randrange(0x20000, 0x2A6DF)) for _ in range(length))


LONGEST = {
    "canonical_node_id": _unlike(1, 255),
    "metric_id": _unlike(2, 100),
    "facility": _unlike(3, 255),
    "facility_id": _unlike(4, 50),
    "system_name": _unlike(5, 255),
    "service_line": _unlike(6, 255),
    "sub_service_line": _unlike(7, 255),
}


@pytest.mark.parametrize(
    "value",
    [
        engine_signal(detected_at=(datetime.now(UTC) + timedelta(hours=23)).isoformat()),
        engine_signal(metric_value=-999_999.9999),
        engine_signal(extra_depth=json.loads("[" * 150 + "]" * 150)),
        engine_signal(facility="Ä" * 255, group_value="😀" * 500),
        engine_signal(**LONGEST),
        engine_signal(entity_dimensions_hash="ABCDEF0123456789abcdef0123456789"),
        engine_signal(metadata_per_period=[], metric_trend_timeline=[], peer_percentile_trends=[]),
        engine_signal(entity_dimensions={"": ""}),
        engine_signal(description="\u0001 \u2028 \\u0000"),
        engine_signal(simplified_severity=101 - 1, simplified_severity_range=[0, 100]),
        engine_signal(unknown=1e308, other=2**200),
    ],
)
async def test_unusual_messages_are_accepted(service: ServiceUnderTest, value: dict[str, Any]) -> None:
    bad_headers = [("null", None), ("binary", b"\xff\xfe"), ("correlationid", b"\xff\x00")]
    await service.consume(GROUP, message(ENGINE_SIGNALS, value, key=None, headers=bad_headers))

    assert await service.dead_letters() == []
    [row] = await service.rows("SELECT * FROM signals")
    assert row["facility"] == value["facility"]
    assert row["description"] == value["description"]
    if "entity_dimensions_hash" in value:
        assert row["entity_dimensions_hash"] == value["entity_dimensions_hash"]
