"""Stored signals follow thresholds and the registry: those that the engine did not classify, and all tiers."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from services.signals import recompute as command
from services.signals import repository_recompute, repository_states, service_recompute
from services.signals.classification import ClassificationSettings
from services.signals.classification_settings import MagnitudeThresholds, SeverityRanges, TypeThresholds
from services.signals.consumers import engine_signals
from services.signals.main import create
from services.signals.recompute import recompute
from services.signals.repository_states import StoredSignal
from services.signals.service_content import MetricEntry, differences
from services.signals.service_reclassification import reclassified
from services.signals.service_recompute import follow_once
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.events import envelope
from shared.events.envelope import Envelope
from shared.events.signals import SignalChanged
from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import MetricPolarity
from shared.kafka import BatchProcessor
from tests.support.eventually import eventually
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

DEFAULTS = ClassificationSettings()
STRICTER = ClassificationSettings(magnitude=MagnitudeThresholds(critical=97.0, severe=96.0))
INPUTS = {"aggregate_zscore": 1.5, "slope_percentile": 75.0, "acceleration": None, "note": "kept"}
TIMELINE = [{"period": f"2026-{month:02}", "value": 0.1 + month / 50} for month in range(1, 7)]
PEERS = [{"period": f"2026-{month:02}", "mean": 0.12, "std": 0.02, "n": 9} for month in range(1, 7)]
CLASSIFIED = {"simplified_signal_type": "recovering", "simplified_severity": 61, "simplified_reasoning": "So."}
VARIETY: list[dict[str, Any]] = [
    {},
    {"simplified_inputs": INPUTS},
    {"simplified_inputs": INPUTS | {"slope_percentile": None}, "polarity": "higher_is_better"},
    {"metric_trend_timeline": TIMELINE, "peer_percentile_trends": PEERS},
    {"metric_trend_timeline": TIMELINE, "peer_percentile_trends": PEERS, **CLASSIFIED},
    {**CLASSIFIED, "simplified_inputs": INPUTS, "simplified_indicators": {"magnitude_level": "odd"}},
    {"simplified_signal_type": "recovering"},
    {"suppressed": True, "period_count": 2},
    {"peer_mean": None, "peer_std": None, "percentile_rank": None},
    {"simplified_inputs": {"own": 1}},
    {"metric_value": -0.0001, "peer_std": 0},
]


class Stored:
    """Signals in a database of their own."""

    def __init__(self, maker: SessionMaker, settings: SignalsSettings) -> None:
        self.maker = maker
        self._process = BatchProcessor("signals", engine_signals(settings), maker)
        self._offset = 0

    async def detect(self, *values: dict[str, Any]) -> None:
        batch = [message(ENGINE_SIGNALS, value, offset=self._offset + place) for place, value in enumerate(values)]
        self._offset += len(values)
        await self._process(batch)

    async def rows(self, sql: str) -> list[Any]:
        async with self.maker() as session:
            return list((await session.execute(text(sql))).all())

    async def signals(self) -> list[StoredSignal]:
        async with self.maker() as session:
            found = [
                await repository_states.page(session, current=which, after=None, rows=999) for which in (True, False)
            ]
        return found[0] + found[1]

    async def events(self, event_type: str = "signal.corrected") -> list[Envelope]:
        events = [envelope.decode(bytes(row.value)) for row in await self.rows("SELECT value FROM outbox ORDER BY id")]
        return [event for event in events if event.type == f"compass.{event_type}.v1"]


@pytest.fixture
def stored(committing: SessionMaker, settings: SignalsSettings) -> Stored:
    return Stored(committing, settings)


async def run(stored: Stored, settings: ClassificationSettings, metric: str | None = None, rows: int = 3) -> list[str]:
    lines: list[str] = []
    async with asyncio.timeout(60):
        await recompute(stored.maker, settings, metric, lines.append, rows)
    return lines


async def test_without_a_change_nothing_changes(stored: Stored) -> None:
    """What ingest stored is what recomputation would store, whatever the engine sent."""
    await stored.detect(*(engine_signal(facility_id=f"F{n}") | change for n, change in enumerate(VARIETY)))
    before = await stored.rows("SELECT * FROM signals ORDER BY id")
    assert len(before) == len(VARIETY)
    lines = await run(stored, DEFAULTS)
    assert lines[-1] == f"history: {len(VARIETY)} of {len(VARIETY)} looked at, 0 changed"
    assert await stored.rows("SELECT * FROM signals ORDER BY id") == before
    assert await stored.events() == []


async def test_recomputing_is_the_same_as_ingesting_by_the_new_rules(stored: Stored) -> None:
    """By other thresholds and another direction, each kind of message comes out as if it came anew."""
    metric = MetricEntry("m", MetricPolarity.TARGET_RANGE, (0.1, 0.15))
    other = ClassificationSettings(
        types=TypeThresholds(chronic_zscore_above=0.2),
        magnitude=MagnitudeThresholds(critical_zscore=1.0),
        ranges=SeverityRanges(baseline=(20, 59)),
    )
    values = [engine_signal(facility_id=f"F{n}") | change for n, change in enumerate(VARIETY)]
    await stored.detect(*values)
    old = {signal.signal_id: signal.content for signal in await stored.signals()}
    async with stored.maker() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO metrics (metric_id, display_name, polarity, target_low, target_high, event_sequence) "
                "VALUES ('breachRate', 'm', 'target_range', 0.1, 0.15, 1)"
            )
        )
        await session.execute(text("DELETE FROM signals"))
    fresh = BatchProcessor(
        "signals", engine_signals(SignalsSettings.model_construct(classification=other)), stored.maker
    )
    await fresh([message(ENGINE_SIGNALS, value, offset=1000 + n) for n, value in enumerate(values)])
    differing = 0
    for signal in await stored.signals():
        again = reclassified(old[signal.signal_id], metric, other)
        expected = signal.content
        if expected.engine_classified:
            # The indicators belong to what the engine classified, and stay with it.
            expected = msgspec.structs.replace(
                expected,
                simplified_indicators=again.simplified_indicators,
                simplified_reasoning=again.simplified_reasoning,
            )
        assert differences(expected, again) == []
        differing += bool(differences(old[signal.signal_id], again))
    assert differing >= 8


async def test_those_that_changed_are_told_under_their_next_sequence(stored: Stored) -> None:
    await stored.detect(
        engine_signal(facility_id="A", percentile_rank=96.5),
        engine_signal(facility_id="B", percentile_rank=50.0),
        engine_signal(facility_id="C", percentile_rank=97.0, **CLASSIFIED),
    )
    lines = await run(stored, STRICTER)
    assert lines[0] == "current: 3 of 3 looked at, 1 changed"
    assert lines[-1] == "history: 3 of 3 looked at, 1 changed"
    rows = await stored.rows("SELECT facility_id, magnitude_tier, event_sequence FROM signals ORDER BY facility_id")
    assert rows == [("A", "severe", 1), ("B", "expected", 1), ("C", "critical", 2)]
    [event] = await stored.events()
    data = event.data_as(SignalChanged)
    assert (event.sequence, event.feedtype, event.actorid) == (2, None, None)
    assert data.changed == ["magnitude_tier"]
    # Type and severity are the engine's, the tier is ours.
    assert (data.signal.simplified_signal_type, data.signal.simplified_severity) == ("recovering", 61)


async def test_current_signals_first_then_history(stored: Stored) -> None:
    months = [f"2026-0{month}-01T00:00:00Z" for month in range(1, 5)]
    await stored.detect(
        *(engine_signal(facility_id=f, detected_at=at, percentile_rank=97.0) for f in "ABC" for at in months)
    )
    await run(stored, STRICTER)
    events = await stored.events()
    assert [event.data_as(SignalChanged).signal.is_current for event in events] == [True] * 3 + [False] * 9
    assert len(await stored.rows("SELECT 1 FROM signals WHERE magnitude_tier = 'critical'")) == 12


async def test_an_interrupted_one_goes_on(stored: Stored) -> None:
    await stored.detect(*(engine_signal(facility_id=f"F{n}", percentile_rank=97.0) for n in range(10)))

    class StoppedError(Exception):
        pass

    def interrupt(line: str) -> None:
        if line.startswith("current: 6"):
            raise StoppedError

    with pytest.raises(StoppedError):
        await recompute(stored.maker, STRICTER, None, interrupt, 3)
    assert len(await stored.events()) == 6
    lines = await run(stored, STRICTER)
    assert lines[0] == "going on after 6 signals"
    assert len(await stored.events()) == 10

    # Other thresholds begin anew, and so does the same command once it was done.
    lines = await run(stored, DEFAULTS)
    assert lines[-1] == "history: 10 of 10 looked at, 10 changed"
    assert (await run(stored, DEFAULTS))[-1] == "history: 10 of 10 looked at, 0 changed"
    assert {event.sequence for event in await stored.events()} == {2, 3}


async def test_two_at_once_share_the_work(stored: Stored) -> None:
    await stored.detect(*(engine_signal(facility_id=f"F{n}", percentile_rank=97.0) for n in range(30)))
    await asyncio.gather(run(stored, STRICTER), run(stored, STRICTER))
    events = await stored.events()
    assert len(events) == 30
    assert {event.sequence for event in events} == {2}


async def test_beside_ingest_no_sequence_is_given_twice(stored: Stored, settings: SignalsSettings) -> None:
    facilities = [f"F{number}" for number in range(10)]
    await stored.detect(*(engine_signal(facility_id=facility, percentile_rank=97.0) for facility in facilities))

    async def ingest() -> None:
        for round_ in range(1, 15):
            await stored.detect(
                *(engine_signal(facility_id=f, percentile_rank=97.0, encounters=round_) for f in facilities)
            )

    task = asyncio.create_task(ingest())
    while not task.done():
        await run(stored, STRICTER)
        await run(stored, DEFAULTS)
    await task
    await run(stored, STRICTER)
    sequences: dict[Any, list[int]] = {}
    for row in await stored.rows("SELECT value FROM outbox ORDER BY id"):
        event = envelope.decode(bytes(row.value))
        sequences.setdefault(event.subject, []).append(event.sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())
    tiers = await stored.rows("SELECT DISTINCT magnitude_tier, encounters FROM signals")
    assert tiers == [("critical", 14)]
    assert await stored.rows("SELECT 1 FROM dead_letters") == []


BODY = {"display_name": "Breaches", "polarity": "lower_is_better"}


async def put(service: ServiceUnderTest, **change: Any) -> None:
    async with service.client("admin") as client:
        answer = await client.put("/api/metrics/breachRate", json=BODY | change)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("first", "then", "asked"),
    [
        ({}, None, False),
        ({"polarity": "higher_is_better"}, None, True),
        ({"polarity": "target_range", "target_range": {"low": 1, "high": 2}}, None, True),
        ({}, {"display_name": "Other", "unit": "%"}, False),
        ({}, {"polarity": "target_range"}, True),
        ({"polarity": "target_range"}, {"polarity": "target_range", "target_range": {"low": 1, "high": 2}}, True),
    ],
)
async def test_a_change_of_direction_asks_for_it(
    service: ServiceUnderTest, first: dict[str, Any], then: dict[str, Any] | None, asked: bool
) -> None:
    await put(service, **first)
    if then is not None:
        async with service.session_maker() as session, session.begin():
            await session.execute(text("DELETE FROM recomputations"))
        await put(service, **then)
    rows = await service.rows("SELECT scope, metric_id, version FROM recomputations")
    assert rows == (
        [{"scope": "metric:breachRate", "metric_id": "breachRate", "version": "2" if then else "1"}] if asked else []
    )
    async with service.client("viewer") as client:
        answer = await client.get("/api/metrics/breachRate/recomputation")
        assert answer.status_code == (200 if asked else 404)
        if asked:
            assert (answer.json()["state"], answer.json()["examined"]) == ("waiting", 0)


async def follow(stored: Stored, settings: ClassificationSettings = DEFAULTS) -> None:
    """What the service's worker does, until nothing is left."""
    async with asyncio.timeout(30):
        while await stored.rows("SELECT 1 FROM recomputations WHERE finished_at IS NULL"):
            await follow_once(stored.maker, settings)


async def turn_over(stored: Stored, polarity: str = "higher_is_better", metric: str = "breachRate") -> None:
    async with stored.maker() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO metrics AS m (metric_id, display_name, polarity, event_sequence) "
                "VALUES (:metric, 'Breaches', CAST(:polarity AS metric_polarity), 1) "
                "ON CONFLICT (metric_id) "
                "DO UPDATE SET polarity = excluded.polarity, event_sequence = m.event_sequence + 1"
            ),
            {"polarity": polarity, "metric": metric},
        )
        await repository_recompute.request(session, service_recompute.scope_of(metric), metric, "1")


async def test_stored_signals_follow_the_registry(stored: Stored) -> None:
    await stored.detect(
        engine_signal(facility_id="A"),
        engine_signal(facility_id="B", polarity="lower_is_better"),
        engine_signal(facility_id="C", metric_id="other"),
        engine_signal(facility_id="D", detected_at="2026-06-01T00:00:00Z"),
        engine_signal(facility_id="D"),
    )
    await turn_over(stored)
    await follow(stored)
    rows = await stored.rows(
        "SELECT facility_id, polarity, magnitude_tier, "
        "round(CAST(simplified_inputs ->> 'aggregate_zscore' AS numeric), 4) "
        "FROM signals ORDER BY facility_id, detected_at"
    )
    assert rows == [
        ("A", "higher_is_better", "excellent", Decimal("-1.8")),
        ("B", "lower_is_better", "severe", Decimal("1.8")),
        ("C", "lower_is_better", "severe", Decimal("1.8")),
        ("D", "higher_is_better", "excellent", Decimal("-1.8")),
        ("D", "higher_is_better", "excellent", Decimal("-1.8")),
    ]
    assert len(await stored.events()) == 3
    [job] = await stored.rows("SELECT examined, changed, finished_at FROM recomputations")
    assert (job.examined, job.changed) == (4, 3)
    # What the lists are filtered by follows as well: the triggers on the table see every change.
    counted = await stored.rows(
        "SELECT value, sum(delta) FROM option_deltas WHERE facet = 'magnitude_tier' GROUP BY value ORDER BY value"
    )
    assert [(value, int(total)) for value, total in counted] == [("excellent", 2), ("severe", 2)]


async def test_changed_again_meanwhile_it_begins_anew(stored: Stored) -> None:
    await stored.detect(*(engine_signal(facility_id=f"F{n}") for n in range(3)))
    await turn_over(stored)
    await turn_over(stored, "target_range")
    await follow(stored)
    assert await stored.rows("SELECT DISTINCT polarity FROM signals") == [("target_range",)]
    await turn_over(stored, "lower_is_better")
    await follow(stored)
    assert await stored.rows("SELECT DISTINCT polarity FROM signals") == [("lower_is_better",)]


async def test_a_batch_that_read_the_registry_before_the_change_is_waited_for(
    stored: Stored, settings: SignalsSettings
) -> None:
    """It stores by what was before, after the change is committed: the work begins only when it has ended."""
    async with stored.maker() as session, session.begin():
        # As the consumer's framework does: the inbox's row first.
        await session.execute(
            text(
                "INSERT INTO inbox (consumer_group, topic, partition, next_offset, last_timestamp) "
                "VALUES ('g', 't', 0, 0, 0)"
            )
        )
        await engine_signals(settings).handle(session, [message(ENGINE_SIGNALS, engine_signal(), offset=5000)])
        await turn_over(stored)
        for _ in range(3):
            assert not await follow_once(stored.maker, DEFAULTS)
        assert await stored.rows("SELECT 1 FROM recomputations WHERE finished_at IS NOT NULL") == []
    await follow(stored)
    assert await stored.rows("SELECT polarity FROM signals") == [("higher_is_better",)]


async def test_several_metrics_one_after_the_other(stored: Stored) -> None:
    await stored.detect(*(engine_signal(metric_id=f"m{n}") for n in range(3)))
    for number in range(3):
        await turn_over(stored, metric=f"m{number}")
    await follow(stored)
    assert await stored.rows("SELECT DISTINCT polarity FROM signals") == [("higher_is_better",)]
    assert not await follow_once(stored.maker, DEFAULTS)


async def test_the_service_works_it_off(stored: Stored, settings: SignalsSettings) -> None:
    app = create(settings)
    app.state.session_maker = stored.maker
    await stored.detect(engine_signal())
    await turn_over(stored)
    worker = asyncio.create_task(service_recompute.follow_registry(app))
    await eventually(lambda: stored.rows("SELECT 1 FROM recomputations WHERE finished_at IS NOT NULL"))
    worker.cancel()
    assert await stored.rows("SELECT polarity FROM signals") == [("higher_is_better",)]


async def test_the_command(stored: Stored, settings: SignalsSettings, monkeypatch: Any, capsys: Any) -> None:
    await stored.detect(engine_signal(percentile_rank=97.0))
    chosen = settings.model_copy(update={"classification": STRICTER})
    monkeypatch.setattr(command, "load", lambda _: chosen)
    assert await asyncio.to_thread(command.main, ["--metric", "other"]) == 0
    assert await stored.events() == []
    assert await asyncio.to_thread(command.main, ["--metric", "breachRate"]) == 0
    assert await asyncio.to_thread(command.main, []) == 0
    assert len(await stored.events()) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "done"
