"""Kafka in: the engine's signals, each message decoded by itself."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.service_ingest import ingest
from services.signals.service_validation import Detection, read
from services.signals.settings import SignalsSettings
from shared.dead_letters import Rejection, message_cause
from shared.events.decoding import RejectedMessageError
from shared.events.topics import ENGINE_SIGNALS
from shared.inbox import Message
from shared.kafka import Subscription

# Decoding a batch takes tens of milliseconds, in which requests would wait.
_MESSAGES_BETWEEN_PAUSES: Final = 100


def engine_signals(settings: SignalsSettings) -> Subscription:
    """Stores and classifies what the engine publishes."""

    async def handle(session: AsyncSession, messages: Sequence[Message]) -> Sequence[Rejection]:
        detections: list[Detection] = []
        rejections: list[Rejection] = []
        now = datetime.now(UTC)
        for number, message in enumerate(messages):
            if number % _MESSAGES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            try:
                detections.append(read(message.value, message_cause(message), now, settings.classification))
            except RejectedMessageError as error:
                rejections.append(Rejection(message, error))
        await ingest(session, detections, settings.classification)
        return rejections

    return Subscription(ENGINE_SIGNALS, "signals.ingest", handle)
