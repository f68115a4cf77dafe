"""The topic job: makes Kafka's topics what `shared.events.topics` says. `python -m deploy.topics`; may be run again.

Topics are created, extended by partitions when the list grew, and settings that drifted are put back. Nothing is ever
deleted, and partitions are never taken away: what cannot be corrected is reported.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.events.topics import ALL, Topic
from shared.settings import PREFIX, Environment, load

_POLL_SECONDS: Final = 0.2

# In an answer to DescribeConfigs: set on this topic, not a default of the broker.
_SET_ON_TOPIC: Final = 1


class TopicSettings(BaseSettings):
    """Where the broker is and how many copies each message has (unless set: 1 locally, 3 in production)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    environment: Environment = Environment.PRODUCTION
    kafka_bootstrap_servers: Annotated[str, Field(min_length=1)]
    topic_replication_factor: Annotated[int, Field(ge=1, le=32)] | None = None

    @property
    def replication_factor(self) -> int:
        """Copies of each message."""
        return self.topic_replication_factor or (1 if self.environment is Environment.LOCAL else 3)


class TopicJobError(Exception):
    """The topics are not as they should be; the message says which and why."""


@dataclass
class TopicReport:
    """What was done, one line for a person each. `unresolved` is what this job cannot change."""

    created: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.created or self.extended or self.corrected)


async def apply(
    bootstrap_servers: str,
    topics: Sequence[Topic] = ALL,
    *,
    replication_factor: int = 1,
    deadline_seconds: float = 60.0,
) -> TopicReport:
    """Make the broker's topics those of the list, and return when every partition has a leader.

    Raises:
        TopicJobError: the broker cannot be reached within the deadline, or refuses a change.
    """
    deadline = time.monotonic() + deadline_seconds
    report = TopicReport()
    async with _admin(bootstrap_servers, deadline) as admin:
        existing = await _described(admin)
        await _create(admin, [topic for topic in topics if topic.name not in existing], replication_factor, report)
        known = [topic for topic in topics if topic.name in existing]
        await _extend(admin, known, existing, report)
        _compare_replication(known, existing, replication_factor, report)
        await _correct_settings(admin, known, existing, report)
        await _wait_for_leaders(admin, topics, deadline)
    return report


def configuration(topic: Topic, replication_factor: int) -> dict[str, str]:
    """The broker's settings for a topic: with three copies a write waits for two, so that one broker may be away."""
    return {**topic.configuration(), "min.insync.replicas": str(max(1, replication_factor - 1))}


@asynccontextmanager
async def _admin(bootstrap_servers: str, deadline: float) -> AsyncIterator[AIOKafkaAdminClient]:
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="compass-topics")
        try:
            await admin.start()
            break
        except KafkaError as error:
            await admin.close()
            if time.monotonic() > deadline:
                raise TopicJobError(f"no Kafka broker answers at {bootstrap_servers}: {error}") from error
            await asyncio.sleep(_POLL_SECONDS)
    try:
        yield admin
    finally:
        await admin.close()


async def _described(admin: AIOKafkaAdminClient) -> dict[str, list[dict[str, Any]]]:
    """The partitions of every topic, by name."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}


async def _create(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], replication_factor: int, report: TopicReport
) -> None:
    if not topics:
        return
    wanted = [
        NewTopic(
            topic.name,
            topic.partitions,
            replication_factor,
            topic_configs=configuration(topic, replication_factor),
        )
        for topic in topics
    ]
    response = await admin.create_topics(wanted)
    for name, code, message in response.topic_errors:
        # Another run of this job may have been faster.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicJobError(f"topic {name} could not be created: {message or for_code(code).__name__}")
        if code == 0:
            report.created.append(name)


async def _extend(
    admin: AIOKafkaAdminClient,
    topics: Sequence[Topic],
    existing: dict[str, list[dict[str, Any]]],
    report: TopicReport,
) -> None:
    for topic in topics:
        present = len(existing[topic.name])
        if present > topic.partitions:
            report.unresolved.append(
                f"{topic.name} has {present} partitions, the list says {topic.partitions}: Kafka takes none away"
            )
        elif present < topic.partitions:
            try:
                await admin.create_partitions({topic.name: NewPartitions(topic.partitions)})
            except KafkaError as error:
                raise TopicJobError(f"topic {topic.name} could not be extended: {error}") from error
            report.extended.append(f"{topic.name}: {present} -> {topic.partitions} partitions")


def _compare_replication(
    topics: Sequence[Topic],
    existing: dict[str, list[dict[str, Any]]],
    replication_factor: int,
    report: TopicReport,
) -> None:
    for topic in topics:
        copies = {len(partition["replicas"]) for partition in existing[topic.name]}
        if copies != {replication_factor}:
            found = ", ".join(str(count) for count in sorted(copies))
            report.unresolved.append(
                f"{topic.name} has {found} copies of its partitions, the settings say {replication_factor}: "
                "reassign them with Kafka's own tools"
            )


async def _correct_settings(
    admin: AIOKafkaAdminClient,
    topics: Sequence[Topic],
    existing: dict[str, list[dict[str, Any]]],
    report: TopicReport,
) -> None:
    """Put settings that drifted back.

    The client speaks only the older AlterConfigs, which resets whatever it does not name: so what an operator set on
    the topic beside our settings is read first and sent along.
    """
    if not topics:
        return
    found = await _settings_on_topics(admin, topics)
    changes = []
    for topic in topics:
        # By the copies it has, not by those it should have: a topic with one copy that waits for two takes no writes.
        wanted = configuration(topic, min(len(partition["replicas"]) for partition in existing[topic.name]))
        present = found[topic.name]
        drifted = {name: value for name, value in wanted.items() if present.get(name) != value}
        if drifted:
            changes.append(ConfigResource(ConfigResourceType.TOPIC, topic.name, {**present, **wanted}))
            report.corrected.extend(
                f"{topic.name}: {name} {present.get(name, 'not set')} -> {value}" for name, value in drifted.items()
            )
    if changes:
        for response in await admin.alter_configs(changes):
            for code, message, _, name in response.resources:
                if code != 0:
                    raise TopicJobError(
                        f"settings of {name} could not be changed: {message or for_code(code).__name__}"
                    )


async def _settings_on_topics(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    settings: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, topic_name, entries in response.resources:
            if code != 0:
                raise TopicJobError(f"settings of {topic_name} could not be read: {message or for_code(code).__name__}")
            settings[topic_name] = {name: value for name, value, _, source, *_ in entries if source == _SET_ON_TOPIC}
    return settings


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: Sequence[Topic], deadline: float) -> None:
    while True:
        existing = await _described(admin)
        waiting = [
            topic.name
            for topic in topics
            if len(existing.get(topic.name, [])) < topic.partitions
            or any(partition["leader"] < 0 for partition in existing[topic.name])
        ]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TopicJobError(f"topics without a leader for every partition: {', '.join(waiting)}")
        await asyncio.sleep(_POLL_SECONDS)


def main() -> None:
    """Run the job with the settings of the environment; exit status 1 with one line when it fails."""
    settings = load(TopicSettings)
    try:
        report = asyncio.run(apply(settings.kafka_bootstrap_servers, replication_factor=settings.replication_factor))
    except (TopicJobError, KafkaError) as error:
        raise SystemExit(f"topics: {error}") from error
    for word, lines in [
        ("created", report.created),
        ("extended", report.extended),
        ("corrected", report.corrected),
        ("NOT as listed", report.unresolved),
    ]:
        for line in lines:
            print(f"{word} {line}")
    if not report.changed:
        print(f"all {len(ALL)} topics are there")


if __name__ == "__main__":
    main()
