"""What is read one by one lies in blocks of bits: their edges, and rows that instances of before add."""

import random
from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import text

from deploy.local.postgres import EmbeddedPostgres
from services.activity import repository_reads, service_reads
from services.activity.models import BLOCK
from services.activity.repository_filters import FeedFilters
from shared.db import SessionMaker
from tests.activity.reads import OTHER, SIZE, THIRDS, USER, event_id, flagged, unread_positions
from tests.support.service import migrate

EDGES = [edge + step for edge in (BLOCK, 2 * BLOCK, 3 * BLOCK) for step in (-2, -1, 0, 1)]


@pytest.mark.parametrize("few", [SIZE, 0])
async def test_whatever_is_marked_counts_pages_and_flags_agree_with_a_plain_model(
    feed: SessionMaker, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("services.activity.repository._FEW", few)
    seed = random.Random(few)  # noqa: S311 - the same in every run
    left = set(range(1, SIZE + 1))
    for step in range(40):
        edge = seed.choice(EDGES)
        async with feed() as session, session.begin():
            kind = seed.choice(["ids", "ids", "filter", "run", "all"] if step > 10 else ["ids", "filter", "run"])
            if kind == "ids":
                chosen = {edge, *seed.sample(range(1, SIZE + 1), 20)}
                marked, _ = await service_reads.mark_some(session, USER, [event_id(one) for one in chosen])
            elif kind == "run":
                chosen = set(range(edge - seed.randrange(60), edge + 1))
                marked, _ = await service_reads.mark_some(session, USER, [event_id(one) for one in chosen])
            elif kind == "filter":
                chosen = {position for position in range(1, edge + 1) if position % 3 == 0}
                marked, _ = await service_reads.mark_all(session, USER, THIRDS, edge)
            else:
                edge = min(left | {SIZE}) + seed.randrange(400)
                chosen = set(range(1, edge + 1))
                marked, _ = await service_reads.mark_all(session, USER, FeedFilters(), edge)
        assert marked == len(left & chosen), (step, kind, edge)
        left -= chosen
        async with feed() as session:
            assert await unread_positions(session) == sorted(left), (step, kind, edge)
            watermark = (await repository_reads.state(session, USER)).watermark
            assert watermark == min(left, default=SIZE + 1) - 1, (step, kind, edge)
    async with feed() as session, session.begin():
        while await repository_reads.flag(session, BLOCK):
            pass
    async with feed() as session:
        assert await flagged(session) == sorted(set(range(1, SIZE + 1)) - left)


async def test_the_read_column_follows_by_and_by_what_was_marked_by_a_filter(
    feed: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.activity.service_reads._SWEEP_STEP", 1)
    thirds = list(range(3, SIZE + 1, 3))
    async with feed() as session, session.begin():
        await service_reads.mark_all(session, USER, THIRDS, SIZE)
        assert 0 < len(await flagged(session)) < BLOCK
        assert [await repository_reads.flag(session, 1) for _ in range(4)] == [True, True, True, False]
        assert await flagged(session) == thirds


async def test_a_block_that_the_read_column_knows_is_looked_at_again_when_a_filter_adds_to_it(
    feed: SessionMaker,
) -> None:
    async with feed() as session, session.begin():
        await service_reads.mark_one(session, USER, event_id(2))
        before = await repository_reads.state(session, USER)
        await repository_reads.mark_matching(session, before, THIRDS, 9)
        await repository_reads.flag(session, BLOCK)
        assert await flagged(session) == [2, 3, 6, 9]


@pytest.mark.parametrize("edge", EDGES)
async def test_reading_up_to_the_edge_of_a_block_leaves_what_follows(feed: SessionMaker, edge: int) -> None:
    async with feed() as session, session.begin():
        await service_reads.mark_some(session, USER, [event_id(one) for one in range(edge, 1, -1)])
        assert await unread_positions(session) == [1, *range(edge + 1, SIZE + 1)]
        _, reads = await service_reads.mark_one(session, USER, event_id(1))
        assert (reads.watermark, reads.unread) == (edge, SIZE - edge)
        kept = (await session.execute(text("SELECT block FROM feed_read_bits"))).scalars().all()
        assert [block for block in kept if (block + 1) * BLOCK <= edge + 1] == []


async def test_marking_again_is_nothing_new_also_for_somebody_who_looked_before(feed: SessionMaker) -> None:
    async with feed() as session, session.begin():
        before = await repository_reads.state(session, USER)
        ids = [event_id(one) for one in (5, BLOCK, BLOCK + 1)]
        assert await repository_reads.mark_ids(session, before, ids) == 3
        assert await repository_reads.mark_ids(session, replace(before, unread=0), [*ids, event_id(6)]) == 1


async def test_what_was_read_before_the_migration_is_read_after_it(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("reads_of_before")
    url = postgres.owner_url("activity", "reads_of_before")
    migrate("activity", url, "0004_known_sequence")
    connection = await asyncpg.connect(url, server_settings={"search_path": "activity"})
    await connection.executemany(
        "INSERT INTO feed_reads (user_id, event_id, position, flagged) VALUES ($1, gen_random_uuid(), $2, $3)",
        [(USER, 3, True), (USER, BLOCK - 1, True), (USER, BLOCK, True), (USER, BLOCK + 5, False), (OTHER, 4, True)],
    )
    migrate("activity", url)
    found = await connection.fetch(
        "SELECT user_id, block, count, flagged, array(SELECT place FROM generate_series(0, 1023) AS place "
        "WHERE get_bit(bits, place) = 1) AS places FROM feed_read_bits ORDER BY user_id = $1, block",
        OTHER,
    )
    await connection.close()
    assert [tuple(row) for row in found] == [
        (USER, 0, 2, True, [3, BLOCK - 1]),
        (USER, 1, 2, False, [0, 5]),
        (OTHER, 0, 1, True, [4]),
    ]


async def test_what_an_instance_of_before_notes_is_read(feed: SessionMaker) -> None:
    noted = [2, BLOCK - 1, BLOCK, 2 * BLOCK + 7]
    row = (
        "INSERT INTO feed_reads (user_id, event_id, position, flagged) "
        "SELECT :user, id, position, position > 1024 FROM activity_events WHERE position = ANY(:positions) "
        "ON CONFLICT DO NOTHING"
    )
    async with feed() as session, session.begin():
        before = await repository_reads.state(session, USER)
        await repository_reads.mark_ids(session, before, [event_id(BLOCK + 1), event_id(3)])
        for _ in range(2):
            await session.execute(text(row), {"user": USER, "positions": noted})
    async with feed() as session, session.begin():
        left = set(range(1, SIZE + 1)) - {*noted, 3, BLOCK + 1}
        assert await unread_positions(session) == sorted(left)
        # Only of blocks that it has not flagged itself is there something to do.
        await repository_reads.flag(session, 10 * BLOCK)
        assert await flagged(session) == [2, 3, BLOCK - 1, BLOCK, BLOCK + 1]
