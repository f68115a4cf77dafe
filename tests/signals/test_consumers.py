"""The wiring: FastStream delivers to the subscription, raw headers and all."""

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
