"""The embedded Kafka broker: its life and death."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import jars
from deploy.local.errors import StackError
from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from tests.support.stack import running, temporary_state_dir


@pytest.fixture
def broker() -> Iterator[EmbeddedKafka]:
    """A broker of its own, for a test that stops or kills it."""
    with temporary_state_dir() as state_dir, running(EmbeddedKafka(state_dir, free_port())) as kafka:
        yield kafka


async def produce(kafka: EmbeddedKafka, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait("kept", value)
    finally:
        await producer.stop()


async def read(kafka: EmbeddedKafka, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer("kept", bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value or b"" for _ in range(count)]
    finally:
        await consumer.stop()


async def test_acknowledged_messages_survive_a_kill_and_a_stop(broker: EmbeddedKafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    await produce(broker, [b"one"])

    broker.kill()
    broker.start()
    assert await read(broker, 1) == [b"one"]
    await produce(broker, [b"two"])
    broker.stop()
    broker.start()
    assert await read(broker, 2) == [b"one", b"two"]


def test_a_broker_left_by_a_crashed_run_is_ended_first(broker: EmbeddedKafka) -> None:
    pid = broker.process.pid
    with running(EmbeddedKafka(broker.state_dir, broker.port)) as again:
        assert again.process.pid != pid
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_half_formatted_storage_is_formatted_anew() -> None:
    with temporary_state_dir() as state_dir:
        (state_dir / "kafka" / "data").mkdir(parents=True)
        (state_dir / "kafka" / "data" / "bootstrap.checkpoint").write_bytes(b"half")
        with running(EmbeddedKafka(state_dir, free_port())) as kafka:
            assert kafka.process.is_running


def test_a_port_in_use_is_named_with_its_variable(kafka: EmbeddedKafka) -> None:
    with temporary_state_dir() as state_dir:
        second = EmbeddedKafka(state_dir, kafka.port)
        with pytest.raises(StackError, match=rf"port {kafka.port} for Kafka is in use .* COMPASS_KAFKA_PORT"):
            second.start()


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = next(jar for jar in jars.pinned() if jar.artifact == "jspecify")
    monkeypatch.setattr(jars, "pinned", lambda: [jar])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = Path(jars.kafka_class_path())
    path.write_bytes(b"damaged")

    assert Path(jars.kafka_class_path()) == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = jars.Jar("org.jspecify", "jspecify", "1.0.0", "0" * 64)
    monkeypatch.setattr(jars, "pinned", lambda: [jar])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StackError, match="has the SHA-256"):
        jars.kafka_class_path()
    assert not list(tmp_path.rglob("*.jar"))


def test_every_pinned_file_is_kafkas_own_version_or_what_it_needs() -> None:
    pinned = jars.pinned()
    assert {jar.version for jar in pinned if jar.group == "org.apache.kafka"} == {jars.KAFKA_VERSION}
    assert all(len(jar.sha256) == 64 for jar in pinned)
    assert len({jar.file_name for jar in pinned}) == len(pinned)
