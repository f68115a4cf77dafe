"""The engine of a load says so where Kafka did not take everything."""

import asyncio
from typing import Any, Self

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError

from benchmarks import publishing


class Producer:
    """Kafka, which takes all messages but one."""

    refused: int | None = None
    sent = 0

    def __init__(self, **_: Any) -> None:
        type(self).sent = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def flush(self) -> None:
        return

    async def send(self, *_: Any) -> asyncio.Future[None]:
        delivered = asyncio.get_running_loop().create_future()
        if self.sent == self.refused:
            delivered.set_exception(KafkaTimeoutError())
        else:
            delivered.set_result(None)
        type(self).sent += 1
        return delivered


@pytest.mark.parametrize("refused", [0, 4, 5, 13])
def test_a_message_that_kafka_does_not_take_ends_the_publisher_with_an_error(
    refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(publishing, "_ACKNOWLEDGED_AT_ONCE", 2)
    monkeypatch.setattr(Producer, "refused", refused)
    with pytest.raises(KafkaError):
        publishing._run("", publishing.Plan(14, 1e6, 4))


def test_everything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(publishing, "_ACKNOWLEDGED_AT_ONCE", 2)
    publishing._run("", publishing.Plan(14, 1e6, 4))
    assert Producer.sent == 14
