"""Messages of the engine that nobody would send: read or refused; what is read fits the data model and stays."""

import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Enum, Integer, Numeric, String
from sqlalchemy.dialects.postgresql import JSONB

from services.signals import service_insights
from services.signals.classification_settings import ClassificationSettings
from services.signals.models import Insight, Signal
from services.signals.repository_insights import NewInsight
from services.signals.schemas import SignalDetail
from services.signals.service_content import Content, content_of, differences
from services.signals.service_validation import Detection, identify, read
from shared.events.decoding import DEEPEST
from shared.events.signals import SignalChanged
from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from shared.telemetry import Cause
from tests.support.factories import message
from tests.support.fuzzing import changed, damaged, json_values, taken, written
from tests.support.service import ServiceUnderTest

NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)
RULES: Final = ClassificationSettings()
EXAMPLES: Final = Path(__file__).parents[1] / "contracts" / "examples"

_SENT: Final[dict[str, Any]] = {
    "simplified_signal_type": "chronic_underperformer",
    "simplified_severity": 70,
    "simplified_severity_range": [56, 80],
    "simplified_indicators": {"magnitude_level": "severe"},
    "simplified_reasoning": "High for long.",
    "simplified_severity_calculation": {
        "base_severity": 68,
        "refinements": [{"factor": "slope", "adjustment": 2, "reason": "It rises."}],
        "final_severity": 70,
    },
}
SIGNAL: Final[dict[str, Any]] = json.loads((EXAMPLES / "engine.signal.json").read_bytes()) | {
    "sub_service_line": "Minor Injuries",
    "temporal_node_id": "node:time",
    "metadata_per_period": [{"period": "2026-05", "cases": 7}, {"period": "2026-06", "cases": {"of": [9]}}],
    "annual_excess_cost": 12000.5,
    "excess_los_days": 3.25,
    "capacity_impact_bed_days": 0.0625,
    "expected_metric_value": 0.15,
    "why_matters_narrative": "Each tenth patient waits.",
    "entity_dimensions_hash": "0123456789abcdef0123456789ABCDEF",
    "unknown": {"kept": [1, None, "x"]},
}
INSIGHT: Final[dict[str, Any]] = json.loads((EXAMPLES / "engine.insight.json").read_bytes())

bases: Final = st.sampled_from([SIGNAL, SIGNAL | _SENT, {**SIGNAL, "entity_dimensions_hash": None}])
signals: Final = bases.flatmap(changed).map(written) | bases.flatmap(lambda good: damaged(written(good)))
insights: Final = changed(INSIGHT).map(written) | damaged(written(INSIGHT))
anything: Final = st.none() | st.binary(max_size=200) | json_values.map(written)


def stored(raw: bytes | None) -> tuple[Detection, Content] | None:
    """What a message becomes; None for one that is refused."""
    detection = taken(lambda: read(raw, identify(raw, NOW), Cause("fuzzing"), RULES))
    return None if detection is None else (detection, content_of(detection, None, RULES))


def misfits(table: Any, row: dict[str, Any]) -> list[str]:
    """The columns that cannot hold their value, or would hold another."""
    return [name for name, value in row.items() if not _fits(table.c[name], value)]


def _fits(column: Any, value: Any) -> bool:
    if isinstance(column.type, JSONB):
        value = None if value is None else json.loads(value, parse_constant=lambda _: {"\0": "no number"})
    if value is None:
        return bool(column.nullable)
    match column.type:
        case JSONB():
            return _is_storable(json.dumps(value, ensure_ascii=False))
        case Enum():
            return value in column.type.enums
        case String():
            return _is_storable(value) and len(value) <= (column.type.length or len(value))
        case Numeric():
            digits = Decimal(repr(value))
            precision, scale = column.type.precision or 0, column.type.scale or 0
            fits = digits.is_finite() and abs(digits) < Decimal(10) ** (precision - scale)
            return bool(fits and digits == digits.quantize(Decimal(1).scaleb(-scale)))
        case Integer():
            return type(value) is int and -(2**31) <= value < 2**31
    return True


def _is_storable(text: str) -> bool:
    return "\0" not in text and "\\u0000" not in text and text == text.encode(errors="replace").decode()


@given(anything | signals)
@example(written(SIGNAL | _SENT))
def test_what_is_stored_of_a_signal_fits_its_columns_and_rules(raw: bytes | None) -> None:
    if (found := stored(raw)) is None:
        return
    detection, content = found
    row = msgspec.structs.asdict(content)
    columns = {name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in row.items()}
    columns["entity_dimensions"] = json.dumps(content.entity_dimensions)
    assert misfits(Signal.__table__, columns) == []
    lowest, highest = json.loads(bytes(content.simplified_severity_range))
    assert 0 <= lowest <= content.simplified_severity <= highest <= 100
    assert content.percentile_rank is None or 0 <= content.percentile_rank <= 100
    assert detection.identity.detected_at.tzinfo is UTC
    for name in ("metric_trend_timeline", "peer_percentile_trends"):
        months = [point["period"] for point in json.loads(bytes(row[name])) or ()]
        assert all(earlier < later for earlier, later in pairwise(months)), name
    sent = json.loads(raw or b"")
    for name, places in (("metric_value", 4), ("peer_mean", 4), ("percentile_rank", 2), ("annual_excess_cost", 2)):
        if sent.get(name) is not None:
            exact = Decimal(repr(float(sent[name]))).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
            assert Decimal(repr(row[name])) == exact, name


@given(signals)
@example(written(SIGNAL | _SENT))
def test_a_signal_that_is_read_says_the_same_when_it_is_written_again(raw: bytes) -> None:
    if (found := stored(raw)) is None:
        return
    detection, content = found
    again = stored(json.dumps(detection.document).encode())
    assert again is not None
    for name in ("signal_id", "entity_id", "detected_at", "dimensions_hash"):
        assert getattr(again[0].identity, name) == getattr(detection.identity, name)
    assert differences(content, again[1]) == []


@given(signals, signals)
@example(written(SIGNAL), written(SIGNAL | {"unknown": {"kept": [True, None, "x"]}}))
@example(written(SIGNAL), written(SIGNAL | {"unknown": {"kept": [1.0, None, "x"]}}))
@example(written(SIGNAL), written(SIGNAL).replace(b"[9]", b"[9.00000000000000000001]"))
@example(written(SIGNAL | _SENT), written(SIGNAL))
async def test_postgresql_finds_the_same_differences_as_we_do(
    service: ServiceUnderTest, before: bytes, after: bytes
) -> None:
    """It compares what one message of a batch corrects, we what several do: batches must not show."""
    old, new = stored(before), stored(after)
    if old is None or new is None or old[0].identity.signal_id != new[0].identity.signal_id:
        return
    await service.consume("signals.ingest", message(ENGINE_SIGNALS, before))
    seen = len(await service.events())
    await service.consume("signals.ingest", message(ENGINE_SIGNALS, after))
    expected = differences(old[1], new[1])
    told = [event.data_as(SignalChanged).changed for event in (await service.events())[seen:]]
    assert told == ([expected] if expected else [])


def insight(raw: bytes | None) -> NewInsight | None:
    return taken(lambda: service_insights.read(raw))


@given(anything | insights)
@example(written(INSIGHT))
def test_an_insight_is_stored_as_it_is_or_refused(raw: bytes | None) -> None:
    if (found := insight(raw)) is None:
        return
    row = {"title": found.title, "text": found.text, "confidence": found.confidence}
    assert misfits(Insight.__table__, row | {"extra": found.extra and json.dumps(found.extra)}) == []
    assert 0 <= found.confidence <= 1
    assert insight(json.dumps(json.loads(raw or b"")).encode()) == found


def with_figure(text: str) -> list[bytes]:
    """A signal that has this, JSON or not, among its figures that nobody looks into."""
    return [
        written(SIGNAL | {"metadata_per_period": [{"period": "2026-06", "cases": "@"}]}).replace(b'"@"', text.encode())
    ]


@given(st.lists(signals | anything, min_size=1, max_size=4), st.lists(insights, max_size=2))
@example(with_figure("1e-20000"), [])
@example(with_figure("0." + "0" * 17_000 + "1"), [])
@example(with_figure("[" * 300 + "]" * 300), [])
# As deep as can be: the message, the list of months and the month are around it.
@example(with_figure("[" * (DEEPEST - 3) + "]" * (DEEPEST - 3)), [])
async def test_what_is_read_can_be_stored_and_shown(
    service: ServiceUnderTest, values: list[bytes | None], texts: list[bytes]
) -> None:
    """PostgreSQL is the judge of what its columns hold: nothing is refused only when it is written."""
    sent = [message(ENGINE_SIGNALS, value) for value in values]
    await service.consume("signals.ingest", *sent)
    await service.consume("signals.insights", *(message(ENGINE_INSIGHTS, text) for text in texts))
    assert await service.rows("SELECT detail FROM dead_letters WHERE code = 'processing_failed'") == []
    wanted = {found[0].identity.signal_id for value in values if (found := stored(value)) is not None}
    async with service.client("viewer") as client:
        for signal in wanted:
            for part in ("", "/temporal", "/technical-details"):
                answer = await client.get(f"/api/signals/{signal}{part}")
                assert answer.status_code == 200, answer.text
                if not part:
                    SignalDetail.model_validate_json(answer.content)
