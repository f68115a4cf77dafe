"""Each thing that a detection can be: new, newer, older, corrected, unchanged; what is stored and who is told."""

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text

from shared.events.engine import dimensions_hash, entity_id
from shared.events.envelope import Envelope
from shared.events.signals import SignalChanged, SignalRedetected
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

GROUP = "signals.ingest"


async def publish(service: ServiceUnderTest, *signals: dict[str, Any] | bytes) -> None:
    await service.consume(GROUP, *(message(ENGINE_SIGNALS, signal) for signal in signals))


async def stored(service: ServiceUnderTest) -> list[dict[str, Any]]:
    return await service.rows("SELECT * FROM signals ORDER BY detected_at, facility, metric_id")


def told(events: Sequence[Envelope]) -> list[tuple[str, str | None, int]]:
    return [(event.type.split(".", 1)[1], event.feedtype, event.sequence) for event in events]


async def test_first_detection_is_a_new_current_signal(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal())

    [row] = await stored(service)
    assert row["is_current"]
    assert row["previous_signal_id"] is None
    assert row["entity_id"] == entity_id("node:breach-rate", "breachRate", "NG1", dimensions_hash(None))
    assert row["entity_dimensions"] == {}
    assert row["magnitude_tier"] == "severe"
    assert row["workflow_status"] == "new"
    [event] = await service.events()
    assert told([event]) == [("signal.detected.v1", "new_signal", 1)]
    assert event.subject == row["id"]
    assert event.summary == (
        f"Northfield General: new signal for breachRate, baseline, severity {row['simplified_severity']}."
    )
    state = event.data_as(SignalChanged).signal
    assert (state.signal_id, state.entity_id, state.is_current) == (row["id"], row["entity_id"], True)
    assert state.metric_value == 0.21
    keys = await service.rows("SELECT key FROM outbox")
    assert bytes(keys[0]["key"]).decode() == str(row["entity_id"])


async def test_the_same_message_again_changes_nothing(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal())
    before = await stored(service)

    await publish(service, engine_signal(), engine_signal())
    reordered = dict(reversed(engine_signal().items()))
    await publish(service, reordered, json.dumps(engine_signal(), indent=2).encode())

    assert await stored(service) == before
    assert len(await service.events()) == 1


async def test_none_and_empty_dimensions_are_the_same_entity(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(), engine_signal(entity_dimensions={}), engine_signal(entity_dimensions=None))

    assert len(await stored(service)) == 1
    assert len(await service.events()) == 1


async def test_other_values_correct_the_same_row(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal())
    [before] = await stored(service)

    await publish(service, engine_signal(metric_value=0.3, encounters=17, colour="blue"))

    [row] = await stored(service)
    assert row["id"] == before["id"]
    assert float(row["metric_value"]) == 0.3
    assert row["extra"] == {"colour": "blue"}
    event = (await service.events())[-1]
    assert told([event]) == [("signal.corrected.v1", None, 2)]
    changed = event.data_as(SignalChanged).changed
    assert {"metric_value", "encounters", "extra"} <= set(changed)
    assert "facility" not in changed
    assert "corrected" in (event.summary or "")


async def test_corrections_in_one_batch_are_each_told_and_written_once(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(), engine_signal(encounters=1), engine_signal(encounters=2), engine_signal())

    [row] = await stored(service)
    assert row["encounters"] is None
    assert row["event_sequence"] == 4
    assert [event[2] for event in told(await service.events())] == [1, 2, 3, 4]


async def test_what_is_corrected_there_and_back_in_one_batch_is_told_each_time(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(encounters=5))
    await publish(service, engine_signal(encounters=6), engine_signal(encounters=6, period_count=7))
    await publish(service, engine_signal(encounters=7), engine_signal(encounters=6, period_count=7))

    [row] = await stored(service)
    assert (row["encounters"], row["period_count"], row["event_sequence"]) == (6, 7, 5)
    events = (await service.events())[1:]
    assert [event.sequence for event in events] == [2, 3, 4, 5]
    changes = [event.data_as(SignalChanged) for event in events]
    assert [change.signal.encounters for change in changes] == [6, 6, 7, 6]
    assert [{"encounters", "period_count"} & set(change.changed) for change in changes] == [
        *({"encounters"}, {"period_count"}),
        *({"encounters", "period_count"}, {"encounters", "period_count"}),
    ]


async def test_of_a_batch_only_what_differs_is_written_and_told(service: ServiceUnderTest) -> None:
    first = [
        engine_signal(facility_id=name, facility=name, metadata_per_period=[{"period": "2026-06", "n": 1.0}])
        for name in "ABC"
    ]
    await publish(service, *first)
    versions = "SELECT facility_id, CAST(xmin AS text), event_sequence FROM signals ORDER BY facility_id"
    before = await service.rows(versions)

    same, other, third = first
    await publish(
        service,
        json.dumps(same | {"metadata_per_period": [{"period": "2026-06", "n": 1}]}, indent=2).encode(),
        other | {"metadata_per_period": [{"period": "2026-06", "n": True}], "encounters": 17},
        dict(reversed(third.items())),
        engine_signal(facility_id="D", facility="D"),
    )

    after = await service.rows(versions)
    assert [after[0], after[2]] == [before[0], before[2]]
    assert after[1]["event_sequence"] == 2
    events = (await service.events())[3:]
    assert told(events) == [("signal.corrected.v1", None, 2), ("signal.detected.v1", "new_signal", 1)]
    assert events[0].data_as(SignalChanged).changed == ["encounters", "metadata_per_period"]
    assert "(encounters, metadata per period)" in (events[0].summary or "")


async def test_a_correction_is_told_as_it_was_before_a_newer_detection_of_the_batch(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(detected_at="2026-06-01T00:00:00Z"))
    await publish(
        service,
        engine_signal(detected_at="2026-06-01T00:00:00Z", encounters=17),
        engine_signal(detected_at="2026-07-01T00:00:00Z"),
    )

    correction, newer = (await service.events())[1:]
    assert told([correction, newer])[0] == ("signal.corrected.v1", None, 2)
    assert correction.data_as(SignalChanged).signal.is_current
    assert newer.type == "compass.signal.redetected.v1"
    old, new = await stored(service)
    assert [(row["is_current"], row["encounters"]) for row in (old, new)] == [(False, 17), (True, None)]


async def test_a_newer_detection_becomes_the_current_one(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(detected_at="2026-06-01T00:00:00Z"))
    await publish(service, engine_signal(detected_at="2026-07-01T02:00:00+02:00", metric_value=0.3))

    old, new = await stored(service)
    assert (old["is_current"], new["is_current"]) == (False, True)
    assert new["previous_signal_id"] == old["id"]
    assert new["detected_at"].isoformat() == "2026-07-01T00:00:00+00:00"
    event = (await service.events())[-1]
    assert event.type == "compass.signal.redetected.v1"
    assert event.subject == new["id"]
    assert event.data_as(SignalRedetected).previous_severity == old["simplified_severity"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((50, "baseline", None), (55, "baseline", None), "regression"),
        ((50, "baseline", None), (54, "baseline", None), None),
        ((55, "baseline", None), (50, "baseline", None), "improvement"),
        ((54, "baseline", None), (50, "baseline", None), None),
        ((50, "baseline", 80.0), (48, "baseline", 90.0), "regression"),
        ((50, "baseline", 99.5), (52, "baseline", 96.0), "improvement"),
        ((50, "baseline", 80.0), (52, "baseline", 80.0), None),
        ((50, "baseline", 50.0), (52, "baseline", 99.0), None),
        ((50, "baseline", 80.0), (52, "baseline", 5.0), None),
        ((50, "baseline", 99.5), (58, "baseline", 80.0), "regression"),
        ((26, "baseline", None), (50, "suspect_data", None), None),
        ((50, "suspect_data", None), (95, "critical_trajectory", None), None),
    ],
)
async def test_what_the_feed_shows_of_a_newer_detection(
    service: ServiceUnderTest,
    before: tuple[int, str, float | None],
    after: tuple[int, str, float | None],
    expected: str | None,
) -> None:
    for month, (severity, signal_type, percentile) in (("06", before), ("07", after)):
        await publish(
            service,
            engine_signal(
                detected_at=f"2026-{month}-01T00:00:00Z",
                simplified_severity=severity,
                simplified_signal_type=signal_type,
                percentile_rank=percentile,
                peer_std=None,
            ),
        )

    assert told(await service.events())[-1] == ("signal.redetected.v1", expected, 1)


async def test_an_older_detection_is_history(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(detected_at="2026-03-01T00:00:00Z"))
    await publish(service, engine_signal(detected_at="2026-07-01T00:00:00Z"))
    await publish(service, engine_signal(detected_at="2026-05-01T00:00:00Z"))
    await publish(service, engine_signal(detected_at="2026-04-01T00:00:00Z"))
    await publish(service, engine_signal(detected_at="2026-01-01T00:00:00Z"))

    rows = {row["detected_at"].month: row for row in await stored(service)}
    assert [month for month, row in rows.items() if row["is_current"]] == [7]
    assert rows[5]["previous_signal_id"] == rows[3]["id"]
    assert rows[4]["previous_signal_id"] == rows[3]["id"]
    assert rows[1]["previous_signal_id"] is None
    # What its event told stays: the detections in between came later.
    assert rows[7]["previous_signal_id"] == rows[3]["id"]
    assert told(await service.events())[2:] == [("signal.recorded.v1", None, 1)] * 3


async def test_rows_and_events_do_not_depend_on_the_batches(service: ServiceUnderTest) -> None:
    """The same sequence of messages in batches of every size gives the same rows and events."""
    months = ["2026-03", "2026-01", "2026-04", "2026-04", "2026-02", "2026-06", "2026-05", "2026-03", "2026-07"]
    severities = [0.10, 0.11, 0.35, 0.36, 0.12, 0.12, 0.40, 0.50, 0.12]

    def batch(name: str) -> list[dict[str, Any]]:
        return [
            engine_signal(
                canonical_node_id=name, detected_at=f"{month}-01T00:00:00Z", metric_value=value, facility_id=facility
            )
            for month, value in zip(months, severities, strict=True)
            for facility in (None, "A")
        ]

    results = []
    for size in (1, 2, 3, 5, 7, 18):
        name = f"node {size}"
        messages = iter(batch(name))
        seen = len(await service.events())
        while part := list(islice(messages, size)):
            await publish(service, *part)
        rows = await service.rows(
            "SELECT facility_id, detected_at, is_current, event_sequence, metric_value, simplified_severity,"
            " (SELECT p.detected_at FROM signals p WHERE p.id = s.previous_signal_id) AS previous"
            " FROM signals s WHERE canonical_node_id = :name ORDER BY facility_id, detected_at",
            name=name,
        )
        events = [
            (*told([event])[0], event.summary, msgspec.json.decode(event.data)["signal"]["is_current"])
            for event in (await service.events())[seen:]
        ]
        results.append((rows, events))
    assert len(results[0][0]) == 14
    assert all(result == results[0] for result in results)


async def test_what_a_user_wrote_stays(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(why_matters_narrative="engine"))
    async with service.session_maker() as session, session.begin():
        await session.execute(
            text("UPDATE signals SET description = 'mine', description_edited_at = now(), description_edited_by = :id"),
            {"id": uuid4()},
        )

    await publish(service, engine_signal(description="engine again", why_matters_narrative="engine"))
    assert len(await service.events()) == 1

    await publish(service, engine_signal(description="engine again", why_matters_narrative="new", encounters=5))
    [row] = await stored(service)
    assert (row["description"], row["why_matters_narrative"], row["encounters"]) == ("mine", "new", 5)
    state = (await service.events())[-1].data_as(SignalChanged)
    assert state.signal.description == "mine"
    assert "description" not in state.changed


async def test_figures_are_rounded_half_even_by_their_decimal_digits(service: ServiceUnderTest) -> None:
    ties = {
        "metric_value": ("0.12345", "0.1234"),
        "peer_mean": ("0.12355", "0.1236"),
        "peer_std": ("1.00005", "1.0000"),
        "percentile_rank": ("50.125", "50.12"),
        "annual_excess_cost": ("9999999999.985", "9999999999.98"),
        "excess_los_days": ("-2.675", "-2.68"),
        "capacity_impact_bed_days": ("-0.00005", "0.0000"),
        "expected_metric_value": ("999999.99994", "999999.9999"),
    }
    body = json.dumps(engine_signal() | {name: f"@{sent}@" for name, (sent, _) in ties.items()})
    await publish(service, body.replace('"@', "").replace('@"', "").encode())

    [row] = await stored(service)
    assert {name: str(row[name]) for name in ties} == {name: expected for name, (_, expected) in ties.items()}

    # Rounded before anything is compared: the rounded figures again are the same.
    await publish(service, engine_signal() | {name: float(expected) for name, (_, expected) in ties.items()})
    assert len(await service.events()) == 1


async def test_json_columns_and_unknown_fields_are_stored_as_they_came(service: ServiceUnderTest) -> None:
    signal = engine_signal(
        description='Ünïcode \\ back\\nslash\t"quoted"\r\n\u2028 😀 end\\.',
        facility="\\N",
        metric_trend_timeline=[{"period": "2026-05", "value": None, "note": "a\\b"}, {"period": "2026-06", "value": 1}],
        peer_percentile_trends=[{"period": "2026-06", "p50": 0.1, "p33": 7}],
        metadata_per_period=[{"period": "2026-06", "x": {"y": [1, "\n"]}}, {"period": "2026-06"}],
        entity_dimensions={"department": "1", "größe": "\\x41"},
        simplified_inputs={"aggregate_zscore": 1, "sixth": [1]},
        future_field={"a": [1, 2, {"b": "\t"}]},
        huge=123456789012345678901234567890,
    )
    await publish(service, signal)

    [row] = await stored(service)
    assert row["description"] == signal["description"]
    assert row["facility"] == "\\N"
    for name in ("metric_trend_timeline", "peer_percentile_trends", "metadata_per_period", "entity_dimensions"):
        assert row[name] == signal[name]
    assert row["simplified_inputs"]["sixth"] == [1]
    assert row["simplified_inputs"]["slope_percentile"] is None
    assert row["extra"] == {"future_field": signal["future_field"], "huge": signal["huge"]}

    # Read back from the database it is still the same.
    await publish(service, dict(reversed(signal.items())))
    assert len(await service.events()) == 1


async def test_without_a_facility_id_there_is_one_row_too(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(facility_id=None), engine_signal(facility_id=None, encounters=3))
    await publish(service, engine_signal(facility_id=None, encounters=4))

    [row] = await stored(service)
    assert (row["facility_id"], row["encounters"], row["event_sequence"]) == (None, 4, 3)


async def test_the_engines_classification_is_kept(service: ServiceUnderTest) -> None:
    calculation = {
        "base_severity": 85,
        "refinements": [{"factor": "slope", "adjustment": 3, "reason": "steep", "weight": 0.5}],
        "final_severity": 88,
    }
    await publish(
        service,
        engine_signal(
            simplified_signal_type="chronic_underperformer",
            simplified_severity=88,
            simplified_severity_range=[81, 90],
            simplified_severity_calculation=calculation,
            simplified_reasoning="because",
        ),
    )

    [row] = await stored(service)
    assert row["engine_classified"]
    assert (row["simplified_signal_type"], row["simplified_severity"]) == ("chronic_underperformer", 88)
    assert row["simplified_severity_calculation"] == calculation
    assert row["simplified_reasoning"] == "because"


async def test_the_registry_gives_polarity_and_name(service: ServiceUnderTest) -> None:
    async with service.session_maker() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO metrics (metric_id, display_name, polarity, event_sequence)"
                " VALUES ('breachRate', 'Four-hour breaches', 'higher_is_better', 1)"
            )
        )

    await publish(service, engine_signal(), engine_signal(facility_id="B", polarity="lower_is_better"))

    registry, sent = await service.rows("SELECT * FROM signals ORDER BY polarity DESC")
    assert (registry["polarity"], registry["magnitude_tier"], registry["engine_polarity"]) == (
        "higher_is_better",
        "excellent",
        False,
    )
    assert (sent["polarity"], sent["magnitude_tier"], sent["engine_polarity"]) == ("lower_is_better", "severe", True)
    assert all("Four-hour breaches" in (event.summary or "") for event in await service.events())


async def test_events_name_the_message_that_caused_them(service: ServiceUnderTest) -> None:
    await service.consume(
        GROUP,
        message(ENGINE_SIGNALS, engine_signal(facility_id="A"), headers=[("correlationid", b"run-7")]),
        message(ENGINE_SIGNALS, engine_signal(facility_id="B"), partition=3, offset=41),
    )

    first, second = await service.events()
    assert (first.correlationid, second.correlationid) == ("run-7", "engine.signals.v1/3/41")


async def test_events_carry_no_timelines(service: ServiceUnderTest) -> None:
    await publish(service, engine_signal(metric_trend_timeline=[{"period": "2026-05", "value": 1.0}]))

    [event] = await service.events()
    assert "timeline" not in bytes(event.data).decode()
    assert msgspec.json.decode(event.data)["signal"]["entity_dimensions"] == {}
