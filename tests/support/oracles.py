"""Judges of what is there at rest: each finds in an observation what must not be, and says so in a sentence.

`complaints` lets those judge that hold also for some signals of a stack that other tests have used as well;
`tests.faults` lets all of them judge, and some that know what was published and asked for.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from deploy.local.jobs import run_job
from deploy.local.service import module_command
from deploy.local.stack import LocalStack
from tests.support import observation, oracles_events, oracles_signals, oracles_workflow
from tests.support.observation import Observation, Places

Oracle = Callable[[Observation], Iterable[str]]

TABLE_ORACLES: Final[Sequence[Oracle]] = (
    *oracles_events.IN_TABLES,
    *oracles_signals.IN_TABLES,
    *oracles_workflow.IN_TABLES,
)
EVERY_ORACLE: Final[Sequence[Oracle]] = (
    *oracles_events.IN_TOPICS,
    *TABLE_ORACLES,
    *oracles_events.OF_EVERYTHING,
    *oracles_signals.OF_EVERYTHING,
)

_MOST_SENTENCES: Final = 5


def few(oracle: Callable[..., Any], sentences: Iterable[str]) -> Iterator[str]:
    """The first complaints of an oracle, with its name."""
    name = oracle.__name__.replace("_", " ")
    count = 0
    for count, sentence in enumerate(sentences, 1):
        if count <= _MOST_SENTENCES:
            yield f"{name}: {sentence}"
    if count > _MOST_SENTENCES:
        yield f"{name}: and {count - _MOST_SENTENCES} more"


def judge(seen: Observation, oracles: Iterable[Oracle]) -> list[str]:
    """What these oracles complain of, a few sentences of each."""
    return [sentence for oracle in oracles for sentence in few(oracle, oracle(seen))]


async def complaints(stack: LocalStack, signals: Collection[UUID]) -> list[str]:
    """What the tables say that must not be, about these signals, of each entity all."""
    seen = Observation(tables=await observation.tables_about(stack.postgres.admin_url, signals))
    lost = set(signals) - {row["id"] for row in seen.table("signals")}
    return [f"{signal} is not stored" for signal in sorted(lost)[:_MOST_SENTENCES]] + judge(seen, TABLE_ORACLES)


async def topic_complaints(stack: LocalStack, signals: Collection[UUID], begin: Places, calm: Places) -> list[str]:
    """What the topics say that must not be, of the messages about these signals from `begin` on.

    A relay that dies may have sent what it could not delete any more: its successor sends the same events again, in
    the same order, and consumers know them. From `calm` on, when nobody died, nothing comes twice.
    """
    topics = await observation.topics_about(stack.kafka.bootstrap_servers, frozenset(signals), begin)
    return judge(Observation(topics, calm=calm), oracles_events.IN_TOPICS)


async def run_command(stack: LocalStack, service: str, command: str) -> str:
    """Run one of a service's commands as an operator does; answers what it says, and fails where it fails."""
    module = [*module_command(service)[:-1], f"services.{service}.{command}"]
    log = stack.settings.local_dir / "logs" / "jobs.log"
    return await asyncio.to_thread(run_job, command, module, stack.service_environment(service), log)


async def chain_is_sound(stack: LocalStack) -> bool:
    """Whether the command that verifies the audit log's hashes is content; it fails where it is not."""
    return "rows are as they were written" in await run_command(stack, "activity", "verify")


async def ends(stack: LocalStack) -> Places:
    """Where the topics of the services' events end now."""
    async with AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers) as consumer:
        found = await observation.ends(consumer, observation.EVENT_TOPICS)
    return {(place.topic, place.partition): end for place, end in found.items()}
