"""What the metrics say where something is away, or was taken over by somebody else."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from shared.db import SessionMaker, create_engine, create_session_maker
from shared.events.topics import ENGINE_SIGNALS
from shared.kafka import Consumers, Subscription
from shared.observation import OUTBOX_MESSAGES, measure_tables
from shared.settings import ServiceSettings
from tests.support.eventually import eventually

GROUP = "signals.observed"


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def partitions_with_a_lag() -> set[int]:
    return {
        int(sample.labels["partition"])
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "compass_consumer_lag" and sample.labels["group"] == GROUP
    }


async def test_a_database_that_is_away_is_told_of_and_the_last_figures_stay(
    settings: ServiceSettings, session_maker: SessionMaker
) -> None:
    away = create_engine(settings.model_copy(update={"database_url": "postgresql://nobody:x@127.0.0.1:1/compass"}), "x")
    OUTBOX_MESSAGES.set(7)

    with pytest.raises(OSError, match="Connect"):
        await measure_tables(create_session_maker(away), consumes=True)

    assert metric("compass_database_up") == 0
    assert metric("compass_outbox_messages") == 7
    await measure_tables(session_maker, consumes=True)
    assert metric("compass_database_up") == 1
    assert metric("compass_outbox_messages") == 0


class Stuck:
    """A broker whose consumer has these partitions of the topic, each with five messages that it never takes."""

    def __init__(self, *partitions: int) -> None:
        self._assigned = frozenset(TopicPartition(ENGINE_SIGNALS.name, partition) for partition in partitions)
        self.subscribers = [SimpleNamespace(consumer=self)]

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to leave."""

    def assignment(self) -> frozenset[TopicPartition]:
        return self._assigned

    async def end_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 15)

    async def position(self, _: TopicPartition) -> int:
        return 10


async def test_the_lag_of_a_partition_that_is_another_s_now_is_told_no_more(
    settings: ServiceSettings, session_maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it went to the other while this consumer was made anew."""
    brokers = iter([Stuck(0, 1, 2), Stuck(2)])
    monkeypatch.setattr("shared.kafka.create_broker", lambda *_: next(brokers, Stuck(2)))
    monkeypatch.setattr("shared.kafka._WATCH_SECONDS", 0.01)
    monkeypatch.setattr("shared.kafka._answers", _yes)
    here = settings.model_copy(update={"stuck_consumer_seconds": 0.2})
    consumers = Consumers("signals", here, [Subscription(ENGINE_SIGNALS, GROUP, _ignore)], session_maker)
    seen: list[set[int]] = []

    async def told() -> list[set[int]]:
        seen.append(partitions_with_a_lag())
        return seen

    consumers.start()
    await eventually(told, lambda seen: {0, 1, 2} in seen and seen[-1] == {2}, every=0.01)
    await consumers.stop()


async def _yes(_: str) -> bool:
    return True


async def _ignore(_: Any, __: Sequence[Any]) -> Sequence[Any]:
    return ()
