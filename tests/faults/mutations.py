"""The product broken on purpose, to see that the oracles notice. Never part of the product: applied from outside.

`launch` applies a mutation's patch in a service's process before the service is imported; `SQL` is run on the database
before the load begins.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from sqlalchemy.ext.asyncio import AsyncSession

from shared import inbox, relay
from shared.inbox import Message
from shared.positions import Reader


class Mutation(StrEnum):
    """What is broken."""

    NO_INBOX = "no-inbox"
    NO_RELAY_LOCK = "no-relay-lock"
    OFFSETS_FIRST = "offsets-first"
    NO_UNIQUE = "no-unique"


def _no_inbox() -> None:
    """Every delivery counts as the first; the rows are kept all the same, so that coming to rest can be seen."""
    receive: Callable[[AsyncSession, str, Sequence[Message]], Awaitable[list[Message]]] = inbox.receive

    async def every_one(session: AsyncSession, consumer_group: str, messages: Sequence[Message]) -> list[Message]:
        await receive(session, consumer_group, messages)
        return list(messages)

    inbox.receive = every_one


def _no_relay_lock() -> None:
    """Every relay believes that it holds the lock."""
    if "pg_try_advisory_lock" not in relay._TRY_LOCK:
        raise RuntimeError("the relay takes its lock in another way now")
    setattr(relay, "_TRY_LOCK", "SELECT true")  # noqa: B010 - a constant of the module


def _offsets_first() -> None:
    """Offsets are committed when messages are fetched, before their effects; where the inbox ends does not count."""
    fetch = Reader._fetch

    async def committed(self: Reader, consumer: AIOKafkaConsumer) -> tuple[Message, ...]:
        batches = await fetch(self, consumer)
        if batches:
            await consumer.commit()
        return tuple(chain.from_iterable(batches.values()))

    setattr(Reader, "__call__", committed)  # noqa: B010 - a method of the class


PATCHES: Final[dict[Mutation, Callable[[], None]]] = {
    Mutation.NO_INBOX: _no_inbox,
    Mutation.NO_RELAY_LOCK: _no_relay_lock,
    Mutation.OFFSETS_FIRST: _offsets_first,
}

SQL: Final[dict[Mutation, tuple[str, ...]]] = {
    # A detection's identity is unique three times over: by its columns, by the id made of them, and as the entity's
    # current one. Any of them alone would keep a second row out.
    Mutation.NO_UNIQUE: (
        "ALTER TABLE signals.signals DROP CONSTRAINT uq_signals_identity",
        "ALTER TABLE signals.signals DROP CONSTRAINT pk_signals",
        "DROP INDEX signals.uq_signals_current_entity",
    )
}


def apply(mutation: Mutation) -> None:
    """Patch this process."""
    patch: Callable[[], Any] | None = PATCHES.get(mutation)
    if patch is not None:
        patch()
