"""The topic job against a real broker. Each test has topics of its own."""

import dataclasses
from datetime import timedelta

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy import topics as job
from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from shared.events.topics import ALL, Topic


def a_topic(name: str, partitions: int = 2) -> Topic:
    return Topic(
        name=name,
        key="any",
        producer="test",
        consumers=(),
        retention=timedelta(days=1),
        description="Of a test.",
        partitions=partitions,
    )


async def set_on_topic(kafka: EmbeddedKafka, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        return (await job._settings_on_topics(admin, [a_topic(name)]))[name]
    finally:
        await admin.close()


async def alter(kafka: EmbeddedKafka, name: str, settings: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])
        assert answer.resources[0][0] == 0
    finally:
        await admin.close()


async def test_every_topic_of_the_list_is_created_with_its_settings(kafka: EmbeddedKafka) -> None:
    await job.apply(kafka.bootstrap_servers)

    for topic in ALL:
        assert await set_on_topic(kafka, topic.name) == job.configuration(topic, 1)


async def test_a_second_run_changes_nothing(kafka: EmbeddedKafka) -> None:
    await job.apply(kafka.bootstrap_servers)

    report = await job.apply(kafka.bootstrap_servers)

    assert not report.changed
    assert report.unresolved == []


async def test_a_longer_list_of_partitions_extends_the_topic_and_a_shorter_is_reported(kafka: EmbeddedKafka) -> None:
    topic = a_topic("test.extend")
    await job.apply(kafka.bootstrap_servers, [topic])

    grown = await job.apply(kafka.bootstrap_servers, [dataclasses.replace(topic, partitions=5)])
    shrunk = await job.apply(kafka.bootstrap_servers, [topic])

    assert grown.extended == ["test.extend: 2 -> 5 partitions"]
    assert not shrunk.changed
    assert shrunk.unresolved == ["test.extend has 5 partitions, the list says 2: Kafka takes none away"]


async def test_drifted_settings_are_put_back_and_an_operators_own_are_kept(kafka: EmbeddedKafka) -> None:
    topic = a_topic("test.drift")
    await job.apply(kafka.bootstrap_servers, [topic])
    wanted = job.configuration(topic, 1)
    await alter(kafka, topic.name, {**wanted, "retention.ms": "1000", "segment.bytes": "1048576"})

    report = await job.apply(kafka.bootstrap_servers, [topic])

    assert report.corrected == ["test.drift: retention.ms 1000 -> 86400000"]
    assert await set_on_topic(kafka, topic.name) == {**wanted, "segment.bytes": "1048576"}


async def test_another_number_of_copies_is_reported(kafka: EmbeddedKafka) -> None:
    topic = a_topic("test.copies")
    await job.apply(kafka.bootstrap_servers, [topic])

    report = await job.apply(kafka.bootstrap_servers, [topic], replication_factor=3)

    assert len(report.unresolved) == 1
    assert "has 1 copies of its partitions, the settings say 3" in report.unresolved[0]
    assert (await set_on_topic(kafka, topic.name))["min.insync.replicas"] == "1", "it could not be written any more"


async def test_more_copies_than_brokers_is_an_error_with_a_reason(kafka: EmbeddedKafka) -> None:
    with pytest.raises(job.TopicJobError, match=r"test\.refused could not be created"):
        await job.apply(kafka.bootstrap_servers, [a_topic("test.refused")], replication_factor=3)


async def test_without_a_broker_it_gives_up_at_the_deadline() -> None:
    with pytest.raises(job.TopicJobError, match="no Kafka broker answers"):
        await job.apply(f"127.0.0.1:{free_port()}", deadline_seconds=0.5)


def test_three_copies_wait_for_two() -> None:
    topic = a_topic("test")

    assert job.configuration(topic, 3)["min.insync.replicas"] == "2"
    assert job.configuration(topic, 1)["min.insync.replicas"] == "1"
