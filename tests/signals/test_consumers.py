"""The wiring: FastStream delivers to the subscription, raw headers and all."""

import pytest
from faststream.kafka import TestKafkaBroker

from services.signals.consumers import engine_signals
from services.signals.settings import SignalsSettings
from shared.db import SessionMaker
from shared.events.topics import ENGINE_SIGNALS
from shared.kafka import BatchProcessor, create_broker
from tests.support.factories import engine_signal


async def test_a_published_message_is_stored(committing: SessionMaker, settings: SignalsSettings) -> None:
    subscription = engine_signals(settings)
    broker = create_broker(settings, subscription, BatchProcessor("signals", subscription, committing))
    async with TestKafkaBroker(broker) as kafka:
        await kafka.publish_batch(engine_signal(), topic=ENGINE_SIGNALS.name)
    async with committing() as session:
        connection = await session.connection()
        found = await connection.exec_driver_sql("SELECT facility FROM signals")
        assert found.scalars().all() == ["Northfield General"]


def test_as_many_batches_at_a_time_as_the_operator_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPASS_DATABASE_URL", "postgresql://compass_signals:a-real-one@db/compass")
    monkeypatch.setenv("COMPASS_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    assert engine_signals(SignalsSettings()).members == 3
    monkeypatch.setenv("COMPASS_INGEST_MEMBERS", "2")
    assert engine_signals(SignalsSettings()).members == 2
