"""After a restore: numbers past those that were told, and snapshots of what is another than was told."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from services.signals import service_metrics
from services.signals.after_restore import SignalsRestoration
from services.signals.settings import SignalsSettings
from shared.events.envelope import Envelope
from shared.events.signals import METRIC_CHANGED, MetricChanged, SignalChanged
from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import MetricPolarity
from shared.restoring import Told, Unknown
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest


@pytest.fixture
def restoration(service: ServiceUnderTest) -> SignalsRestoration:
    assert isinstance(service.settings, SignalsSettings)
    return SignalsRestoration(service.settings)


async def detected(service: ServiceUnderTest, **changes: Any) -> Envelope:
    """A signal, as its event told it."""
    await service.consume("signals.ingest", message(ENGINE_SIGNALS, engine_signal(**changes)))
    return (await service.events())[-1]


def with_words(event: Envelope, description: str, sequence: int) -> Envelope:
    """What somebody's edit told, that the database does not know any more."""
    signal = msgspec.structs.replace(event.data_as(SignalChanged).signal, description=description)
    data = msgspec.Raw(msgspec.json.encode(SignalChanged(signal=signal, changed=["description"])))
    return msgspec.structs.replace(event, id=uuid4(), sequence=sequence, data=data, actorid=uuid4())


async def mend(service: ServiceUnderTest, restoration: SignalsRestoration, *told: Told) -> int:
    async with service.session_maker() as session, session.begin():
        return await restoration.mend(session, told)


async def number(service: ServiceUnderTest, signal: UUID) -> int:
    [row] = await service.rows("SELECT event_sequence FROM signals WHERE id = :id", id=signal)
    return int(row["event_sequence"])


async def test_what_is_another_than_was_told_is_told_anew_once(
    service: ServiceUnderTest, restoration: SignalsRestoration
) -> None:
    event = await detected(service)
    lost = with_words(event, "In other words.", 4)
    assert await mend(service, restoration, Told(event.subject, 4, lost)) == 1
    [snapshot] = await service.events("signal.snapshot")
    assert snapshot.sequence == 4 == await number(service, event.subject)
    assert snapshot.data_as(SignalChanged).signal == event.data_as(SignalChanged).signal
    assert await mend(service, restoration, Told(event.subject, 4, snapshot)) == 0
    # What happens next has the next number.
    again = await detected(service, encounters=7)
    assert (again.type, again.sequence) == ("compass.signal.corrected.v1", 5)


async def test_what_came_again_as_it_was_is_not_told_anew(
    service: ServiceUnderTest, restoration: SignalsRestoration
) -> None:
    """Not even where the entity has a newer detection by now: its event told that."""
    first = await detected(service)
    second = await detected(service, detected_at="2026-08-01T00:00:00Z")
    told = [Told(event.subject, event.sequence + 2, event) for event in (first, second)]
    assert await mend(service, restoration, *told) == 0
    assert [await number(service, event.subject) for event in (first, second)] == [3, 3]


async def test_a_signal_that_never_came_again_is_left_out(
    service: ServiceUnderTest, restoration: SignalsRestoration
) -> None:
    event = await detected(service)
    gone = msgspec.structs.replace(event, subject=uuid4())
    assert await mend(service, restoration, Told(gone.subject, 3, gone)) == 0


async def test_archived_numbers_are_raised(service: ServiceUnderTest, restoration: SignalsRestoration) -> None:
    event = await detected(service)
    async with service.session_maker() as session, session.begin():
        connection = await session.connection()
        await connection.exec_driver_sql("INSERT INTO archived_signals SELECT * FROM signals")
        await connection.exec_driver_sql("DELETE FROM signals")
        assert (await restoration.numbers(session, [event.subject]))[event.subject] == 1
    assert await mend(service, restoration, Told(event.subject, 3, event)) == 0
    assert await service.rows("SELECT event_sequence FROM archived_signals") == [{"event_sequence": 3}]


def test_signals_are_taken_in_before_the_insights_about_them(restoration: SignalsRestoration) -> None:
    assert [one.group for one in restoration.consumed] == ["signals.ingest", "signals.insights"]


async def test_metrics_are_taken_over_and_signals_follow(
    service: ServiceUnderTest, restoration: SignalsRestoration
) -> None:
    event = await detected(service)
    user, subject = uuid4(), service_metrics.subject("breachRate")
    registered = MetricChanged(
        metric_id="breachRate",
        display_name="Breaches",
        domain=None,
        unit="%",
        polarity=MetricPolarity.HIGHER_IS_BETTER,
        target_range=None,
    )
    data = msgspec.Raw(msgspec.json.encode(registered))
    told = msgspec.structs.replace(
        event, type=METRIC_CHANGED.name, subject=subject, sequence=3, data=data, actorid=user, time=datetime.now(UTC)
    )
    for _ in range(2):
        async with service.session_maker() as session, session.begin():
            assert await restoration.lost(session, [Unknown(told, 3)]) == []
            await restoration.begin(session, {subject: Told(subject, 3, told)})
    [metric] = await service.rows("SELECT * FROM metrics")
    assert (metric["display_name"], metric["unit"], metric["updated_by"]) == ("Breaches", "%", user)
    assert (metric["event_sequence"], metric["polarity"]) == (3, "higher_is_better")
    assert len(await service.rows("SELECT 1 FROM recomputations WHERE metric_id = 'breachRate'")) == 1
    assert await mend(service, restoration, Told(subject, 3, told)) == 0


async def test_who_waits_for_another_servers_transactions_looks_again(
    service: ServiceUnderTest, restoration: SignalsRestoration
) -> None:
    async with service.session_maker() as session, session.begin():
        connection = await session.connection()
        await connection.exec_driver_sql(
            "INSERT INTO recomputations (scope, metric_id, version, ready_after, history, examined, changed) "
            "VALUES ('metric:x', 'x', '1', 9000000000, false, 0, 0)"
        )
        await restoration.begin(session, {})
    assert await service.rows("SELECT ready_after FROM recomputations") == [{"ready_after": None}]
