"""The ingest of the signals service alone, as a process: ``python -m benchmarks.ingest_instance TOPIC GROUP``.

The consumers of one instance as the service starts them, without its interface and its relay. Configured by the
service's variables; ends at SIGTERM, after the batches in hand.
"""

import asyncio
import signal
import sys
from dataclasses import replace

import uvloop

from services.signals.consumers import engine_signals
from services.signals.settings import SignalsSettings
from shared.app import settle_garbage_collector
from shared.db import create_engine, create_session_maker
from shared.kafka import Consumers


async def ingest(topic: str, group: str) -> None:
    """Consume a topic as a member of a group until the process is told to end."""
    settings = SignalsSettings()
    subscription = engine_signals(settings)
    subscription = replace(subscription, topic=replace(subscription.topic, name=topic), group=group)
    engine = create_engine(settings, "signals")
    settle_garbage_collector()  # as every service does
    consumers = Consumers("signals", settings, [subscription], create_session_maker(engine))
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    consumers.start()
    await told_to_end.wait()
    await consumers.stop()
    await engine.dispose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ingest(sys.argv[1], sys.argv[2]))
