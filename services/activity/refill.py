"""Command: fill what is missing in the audit log from Kafka, while the service runs.

    python -m services.activity.refill

Reads the configuration of the service, and every topic that the log is made from, from the beginning of what Kafka has
to where it ends now, in no consumer group: the service's own progress stays as it is. Only what the log lacks is
stored, at its end, and shown in the feed; gaps close by that. Ends with what was stored and what is still missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.activity import repository_audit_pages, service
from services.activity.consumers import AUDITED_TOPICS
from services.activity.repository_audit import AuditRow
from services.activity.settings import ActivitySettings
from shared import commands
from shared.db import SessionMaker
from shared.events.decoding import RejectedMessageError
from shared.inbox import Message
from shared.settings import load
from shared.topic_reading import read_until_now


@dataclass(slots=True)
class Refilled:
    """What a run has done. ``unreadable`` messages are among the dead letters since they first came."""

    read: int = 0
    stored: int = 0
    unreadable: int = 0
    still_missing: int = 0

    def __str__(self) -> str:
        return (
            f"{self.read} messages read, {self.stored} events stored, {self.unreadable} messages that are no events; "
            f"{self.still_missing} sequence numbers are still missing"
        )


async def refill(session_maker: SessionMaker, bootstrap_servers: str, topics: Sequence[str]) -> Refilled:
    """Store what the log lacks of what these topics have.

    Raises:
        KafkaSilentError: when nothing comes for half a minute though there is more.
    """
    done = Refilled()
    async for messages in read_until_now(bootstrap_servers, topics):
        await _store(session_maker, messages, done)
    async with session_maker() as session:
        _, done.still_missing = await repository_audit_pages.count_missing(session)
    return done


async def _store(session_maker: SessionMaker, messages: Sequence[Message], done: Refilled) -> None:
    rows: list[AuditRow] = []
    for message in messages:
        done.read += 1
        try:
            rows.append(service.read(message))
        except RejectedMessageError:
            done.unreadable += 1
    if not rows:
        return

    async def store() -> int:
        async with session_maker() as session, session.begin():
            return await service.record(session, await service.missing(session, rows))

    done.stored += await commands.persist(store)


def main() -> int:
    """Refill the configured database from the configured Kafka."""
    settings = load(ActivitySettings)

    async def work() -> int:
        async with commands.database(settings, "activity") as maker:
            commands.tell(str(await refill(maker, settings.kafka_bootstrap_servers, AUDITED_TOPICS)))
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
