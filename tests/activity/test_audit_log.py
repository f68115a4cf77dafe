"""The audit log only grows, and whoever changes it all the same is found out."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from deploy.local.postgres import EmbeddedPostgres
from services.activity import verify
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.repository_verification import end
from shared.db import SessionMaker
from shared.kafka import BatchProcessor
from tests.activity.events import event, messages
from tests.support.service import ServiceUnderTest

CHANGES = ("UPDATE audit_log SET type = 'other'", "DELETE FROM audit_log", "TRUNCATE audit_log")


@pytest.mark.parametrize("change", [*CHANGES, "UPDATE audit_log SET type = type WHERE false"])
async def test_the_services_role_may_not_change_it(service: ServiceUnderTest, change: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied for table audit_log"):
        await service.rows(change)


@pytest.mark.parametrize("change", ["DELETE FROM audit_head", "INSERT INTO audit_head (last_hash) VALUES ('')"])
async def test_the_services_role_can_neither_remove_nor_double_the_head(service: ServiceUnderTest, change: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied for table audit_head"):
        await service.rows(change)


@pytest.fixture
async def superuser(postgres: EmbeddedPostgres, own_database: str) -> AsyncIterator[AsyncConnection]:
    """Somebody whom no privilege stops, in the test's own database."""
    owner = postgres.owner_url("activity", own_database)
    url = postgres.admin_url.rpartition("/")[0] + "/" + owner.rpartition("/")[2]
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"),
        connect_args={"server_settings": {"search_path": "activity"}},
    )
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("setting", ["SET session_replication_role = replica", "SELECT 1"])
async def test_a_trigger_refuses_it_to_everybody(superuser: AsyncConnection, change: str, setting: str) -> None:
    await superuser.execute(text(setting))
    with pytest.raises(ProgrammingError, match="audit_log is append-only"):
        await superuser.execute(text(change))


async def fill(committing: SessionMaker, *batches: int) -> None:
    """Record so many events in each batch."""
    process = BatchProcessor("activity", SUBSCRIPTIONS[0], committing)
    for size in batches:
        odd = {"text": "Größe \u2028 'x' \\ \"", "numbers": [1.0, 1e22, 0.1, -0.0, 12345678901234567890], "none": None}
        await process(messages(*(event(n, data=odd, feedtype=None) for n in range(size))))


async def found(committing: SessionMaker) -> list[str]:
    async with committing() as session:
        return [problem async for problem in verify.problems(session, *await end(session))]


async def test_a_log_that_nobody_touched_verifies(committing: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    async with committing() as session:
        assert await verify.verify(session) == 0
    await fill(committing, 1, 7, 3)
    async with committing() as session:
        assert await verify.verify(session) == 0
    assert "11 rows are as they were written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("UPDATE audit_log SET time = time + interval '1 microsecond' WHERE position = 5", "row 5 was changed"),
        ("UPDATE audit_log SET actor_id = subject WHERE position = 5", "row 5 was changed"),
        ('UPDATE audit_log SET envelope = envelope || \'{"summary": "Other."}\' WHERE position = 1', "row 1 was"),
        ("DELETE FROM audit_log WHERE position IN (4, 5)", "rows 4 to 5 are missing"),
        ("DELETE FROM audit_log WHERE position > 8", "rows 9 to 10 are missing at the end"),
        ("DELETE FROM audit_log", "rows 1 to 10 are missing at the end"),
        (
            "UPDATE audit_log SET hash = sha256(hash) WHERE position = 10",
            "row 10 was changed: its content does not give its hash",
        ),
        (
            """
            UPDATE audit_log SET type = 'other', hash = sha256(previous_hash || audit_content_v1(position, event_id,
                topic, source, subject, sequence, 'other', time, actor_id, feed_type, recorded_at, envelope))
            WHERE position = 6
            """,
            "row 7 does not continue from row 6",
        ),
        (
            """
            UPDATE audit_log SET type = 'other', hash = sha256(previous_hash || audit_content_v1(position, event_id,
                topic, source, subject, sequence, 'other', time, actor_id, feed_type, recorded_at, envelope))
            WHERE position = 10
            """,
            "row 10 is not the one that was written last",
        ),
    ],
)
async def test_tampering_is_found(
    committing: SessionMaker, superuser: AsyncConnection, tampering: str, problem: str
) -> None:
    await fill(committing, 4, 6)
    await superuser.execute(text("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only"))
    await superuser.execute(text(tampering))
    await superuser.commit()
    problems = await found(committing)
    assert any(sentence.startswith(problem) for sentence in problems), problems
    assert len(problems) <= 2


async def test_a_row_is_whatever_the_time_zone_of_the_reader(
    committing: SessionMaker, superuser: AsyncConnection
) -> None:
    """The hash is taken over moments, not over how a session writes them."""
    await fill(committing, 1)
    hashes = set()
    for zone in ("UTC", "Asia/Kathmandu"):
        await superuser.execute(text(f"SET timezone = '{zone}'"))
        hashes.add(
            (
                await superuser.execute(
                    text(
                        "SELECT audit_content_v1(position, event_id, topic, source, subject, sequence, type, time, "
                        "actor_id, feed_type, recorded_at, envelope) FROM audit_log"
                    )
                )
            ).scalar_one()
        )
    assert len(hashes) == 1
