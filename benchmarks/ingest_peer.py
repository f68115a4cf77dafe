"""Ingest beside a peer: Debezium's JDBC sink on Kafka Connect, which upserts the same rows and does nothing else.

Who does what. Ours is the consumers of the signals service, one process or two, from the engine's messages: they
validate, classify, keep one current row per entity, count the options of the filters, write an event per signal and
the place in the topic in the same transaction. The peer is one Connect worker with one task or two. Its messages are
the finished rows (`sink_rows`): what ours computes, it is given. Its table is made by the same migrations in a
database of its own on the same server: the same columns, constraints, indexes, and the triggers that count the
filters' options, which count whoever writes. Since that is our wish and not the peer's, there is a second form of the
benchmark, in which its table is bare of them and ours is not. COPY + upsert writes into the peer's table.

At its best. UNNEST instead of a statement per row, the reduction buffer, 1000 records a poll and a batch, 16 MiB a
fetch and partition, the primary key alone to conflict on, the schema in the converter instead of the messages, the
heap and the collector of Kafka's own start script. The worker stays up, warmed by a run that is not counted; our
processes are new each time.

When. The topics are full before anybody starts, and every group waits three seconds for its members. PostgreSQL keeps
the time of each commit: what counts is the rows after the first commit over the time from the first to the last. So
start-up, joining the group and the first batch are nobody's. Every row has to have been written since the round
began, and ours has to have written an event for each, or the round fails. Ours also commits the offsets to Kafka
after each batch, the peer once a minute.

What limits them is told by the processor seconds of each round, from the start of its processes to their end. One
instance of ours is Python on one core, while PostgreSQL works on the other; two share the two cores with PostgreSQL
and Kafka, and what counts is the sum. One task and PostgreSQL take turns: the task sends a thousand rows and waits
until they are stored; two tasks fill each other's pauses. Of a first publication most is the same work for both: the
rows and their indexes. When all is published again ours has more to do in PostgreSQL than the peer: it reads the
former state, to tell what changed and to keep what users wrote, and stores the event beside the row.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from statistics import median
from typing import Final

from benchmarks.connect import connect_worker
from benchmarks.ingest_sides import Publication, Round, Sides, opened
from benchmarks.measure import Figures, Report
from benchmarks.servers import servers

SIGNALS: Final = 100_000

_INSTANCES: Final = {1: "one", 2: "two"}

# Commit times are what is measured by; the delay lets all members of a group join it at once.
_POSTGRES: Final = {"track_commit_timestamp": "on"}
_KAFKA: Final = {"group.initial.rebalance.delay.ms": "3000"}


async def inserts(rounds: int, signals: int | None, *, bare: bool = False) -> list[Report]:
    """A first publication: every signal is new."""
    async with _sides(bare) as sides:
        publications = [await sides.publish(1, signals or SIGNALS)]
        await sides.empty()
        await sides.peer(publications[0], 1)
        return await _compare(rounds, _named("first publication", bare), sides, publications, replaces=False)


async def updates(rounds: int, signals: int | None, *, bare: bool = False) -> list[Report]:
    """Published again, with other values: every row changes."""
    async with _sides(bare) as sides:
        publications = [await sides.publish(seed, signals or SIGNALS) for seed in (2, 1)]
        # What the peer's table holds before its first counted round; ours holds it since it was published last.
        await sides.peer(publications[1], 1)
        return await _compare(rounds, _named("all changed", bare), sides, publications, replaces=True)


@asynccontextmanager
async def _sides(bare: bool) -> AsyncIterator[Sides]:
    with (
        servers(postgres_settings=_POSTGRES, kafka_settings=_KAFKA) as pair,
        connect_worker(pair.kafka.bootstrap_servers) as worker,
    ):
        async with opened(pair, worker, bare=bare) as sides:
            yield sides


def _named(what: str, bare: bool) -> str:
    return f"{what}, bare table" if bare else what


async def _compare(
    rounds: int, what: str, sides: Sides, publications: list[Publication], *, replaces: bool
) -> list[Report]:
    """Everybody in turn, so that a machine that gets slower slows all of them.

    Each of the two tables gets the publications one after the other: what a round finds is what the one before left.
    """
    own, theirs = cycle(publications), cycle(publications)
    prepare = sides.vacuum if replaces else sides.empty
    ours: dict[int, list[Round]] = {1: [], 2: []}
    peer: dict[int, list[Round]] = {1: [], 2: []}
    copied: list[Round] = []
    for number in range(1, rounds + 1):
        await prepare()
        copied.append(await sides.copy(next(theirs)))
        for instances in _INSTANCES:
            await prepare()
            peer[instances].append(await sides.peer(next(theirs), instances))
            await prepare()
            ours[instances].append(await sides.ours(next(own), instances))
        print(f"  round {number} of {rounds}", flush=True)
    limit = _figures("  COPY + upsert, one connection", copied)
    reports = []
    for instances, count in _INSTANCES.items():
        mine = _figures(f"ingest, {what}, {count}", ours[instances])
        others = _figures(f"  Debezium's JDBC sink, {count}", peer[instances])
        shares = f"ours {mine.median / limit.median:.2f}, the peer {others.median / limit.median:.2f}"
        notes = [
            f"{publications[0].signals:,} signals of {publications[0].size:,.0f} bytes; "
            f"the peer's rows of {publications[0].peer_size:,.0f}",
            f"of COPY + upsert: {shares}",
            f"processor seconds: {_processor(ours[instances])}; {_processor(peer[instances])}",
        ]
        name = f"ingest beside a peer, {what}, {count}"
        reports.append(Report(name, mine, others, to_reach=1.0, notes=notes, beside=[limit]))
    return reports


def _figures(name: str, rounds: list[Round]) -> Figures:
    return Figures(name, "signals/s", [each.rate for each in rounds])


def _processor(rounds: list[Round]) -> str:
    """The medians, process by process."""
    seconds = {name: median(each.processor[name] for each in rounds) for name in rounds[0].processor}
    return ", ".join(f"{name} {used:.1f}" for name, used in seconds.items())
