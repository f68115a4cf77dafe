"""The drill: a backup as `docs/operations.md` has it, more work, the database gone, and back as that page has it.

What was stored by the backup is there again; what the engine published since comes back from Kafka, once; what people
do afterwards reaches everybody, though the numbers of its events went back; and the log has all that ever happened.
"""

import asyncio
import logging
import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.postgres import DATABASE
from deploy.local.postgres_place import installed_programs
from deploy.local.processes import PROJECT_ROOT
from deploy.local.stack import LocalStack
from shared.events.topics import ENGINE_INSIGHTS
from tests.e2e.api import Api, api, count, id_of, query, send
from tests.e2e.test_operations import command
from tests.support import oracles
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

JUNE, JULY, AUGUST = (f"2026-{month:02}-01T00:00:00Z" for month in (6, 7, 8))
SERVICES: Final = ("auth", "workflow", "signals")
"""Whose events are numbered, in the order of the page."""
TABLES: Final = ("signals", "workflow", "activity", "auth")


def documented(program: str) -> list[str]:
    """The arguments with which operators are told to run it."""
    lines = (PROJECT_ROOT / "docs" / "operations.md").read_text().replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{program} ")]
    return shlex.split(line)[1:]


def run(stack: LocalStack, program: str, folder: Path, *more: str) -> None:
    """Run a program of PostgreSQL's as documented, in a folder of its own."""
    place = urlsplit(stack.postgres.admin_url)
    connection = {
        "PGHOST": place.hostname,
        "PGPORT": place.port,
        "PGUSER": place.username,
        "PGPASSWORD": place.password,
    }
    began = monotonic()
    ran = subprocess.run(
        [str(installed_programs() / program), *documented(program), *more],
        env={**os.environ, **{name: str(value) for name, value in connection.items()}},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    logging.getLogger(__name__).info("%s took %.1f s", program, monotonic() - began)


def signal(number: int, month: str, **changes: Any) -> dict[str, Any]:
    """What the engine finds at one of its hospitals in a month."""
    names = {"facility": f"Hospital {number}", "facility_id": f"R{number}"}
    return engine_signal(canonical_node_id="node:restore", detected_at=month, **names, **changes)


def insight(number: int, text: str) -> dict[str, Any]:
    """A text of the engine about a hospital."""
    about = signal(number, JUNE)
    names = ("canonical_node_id", "metric_id", "facility_id", "facility")
    return {name: about[name] for name in names} | {"title": "Evenings", "text": text, "confidence": 0.8}


def path(number: int, month: str) -> str:
    """Where the signal is found."""
    return f"/api/signals/{id_of(signal(number, month))}"


async def at_rest(stack: LocalStack) -> None:
    """Everything that was published has been relayed, and processed by everybody."""
    inboxes = " UNION ALL ".join(
        f"SELECT consumer_group, topic, partition, next_offset FROM {name}.inbox"  # noqa: S608 - the names stand above
        for name in ("signals", "workflow", "activity")
    )
    waiting = " + ".join(f"(SELECT count(*) FROM {name}.outbox)" for name in TABLES)  # noqa: S608 - the same
    async with AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers) as consumer:

        async def is_at_rest() -> bool:
            # The database first: where Kafka has nothing more a moment later, nothing was on its way then.
            rows = await query(stack, f"SELECT * FROM ({inboxes}) AS i WHERE ({waiting}) = 0")  # noqa: S608 - the same
            stored = {(row["consumer_group"], row["topic"], row["partition"]): row["next_offset"] for row in rows}
            wanted = {
                (group, place.topic, place.partition): end
                for group, topic in {(group, topic) for group, topic, _ in stored}
                for place, end in (await _ends(consumer, topic)).items()
            }
            return bool(wanted) and all(stored.get(place, 0) == end for place, end in wanted.items())

        await eventually(is_at_rest, seconds=60)


async def _ends(consumer: AIOKafkaConsumer, topic: str) -> Mapping[TopicPartition, int]:
    """Where the topic's partitions end."""
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets([TopicPartition(topic, n) for n in range(6)])
    return ends


async def assign(person: Api, number: int, month: str, assignee: str, role: str) -> None:
    """Give somebody the work on a signal, once the workflow has heard of both."""
    body = {"assignee_id": assignee, "role_type": role}
    answer = await eventually(
        lambda: person.client.post(f"{path(number, month)}/assign", json=body), lambda answer: answer.status_code != 404
    )
    assert answer.status_code == 200, answer.text


async def recorded(stack: LocalStack) -> dict[UUID, str]:
    """The events of the audit log by id, without snapshots."""
    rows = await query(stack, "SELECT event_id, type FROM activity.audit_log WHERE type NOT LIKE '%.snapshot.v1'")
    return {row["event_id"]: row["type"] for row in rows}


async def engine_events(stack: LocalStack) -> Counter[tuple[str, str]]:
    """How often the log says that the engine has found something, for each signal."""
    rows = await query(
        stack,
        """
        SELECT type, envelope #>> '{data,signal,facility}' AS facility, envelope #>> '{data,signal,detected_at}' AS at
        FROM activity.audit_log
        WHERE actor_id IS NULL AND source = '/services/signals' AND type NOT LIKE '%.snapshot.v1'
        """,
    )
    return Counter((row["type"], f"{row['facility']} {row['at']}") for row in rows)


class People:
    """Who works on the stack."""

    def __init__(self, stack: LocalStack) -> None:
        self.admin, self.nursing = api(stack, "admin"), api(stack, "nursing")

    async def login(self) -> None:
        """Begin a session each."""
        for person in (self.admin, self.nursing):
            await person.login()
        self.nurse: str = (await self.nursing.me())["id"]


async def before_the_backup(stack: LocalStack, people: People) -> None:
    """What the backup has."""
    await send(stack, [signal(number, JUNE) for number in range(12)])
    for number in (0, 1):
        await assign(people.admin, number, JUNE, people.nurse, "nursing_leadership")
    await people.nursing.call("PATCH", f"{path(0, JUNE)}/status", json={"status": "in_progress"})
    done = {"status": "resolved", "resolution_notes": "More staff in the evening."}
    await people.nursing.call("PATCH", f"{path(0, JUNE)}/status", json=done)
    await people.nursing.call("POST", f"{path(0, JUNE)}/comments", 201, json={"text": "Before the backup."})
    await at_rest(stack)


async def after_the_backup(stack: LocalStack, people: People) -> None:
    """What the backup does not have, of everybody: the engine, people, rules, keys."""
    admin, nursing = people.admin, people.nursing
    await send(stack, [signal(number, JULY, percentile_rank=99.5) for number in range(6)])
    await send(stack, [*(signal(number, JUNE) for number in range(12, 16)), signal(8, JUNE, metric_value=0.3)])
    await send(stack, [insight(9, "Short of beds.")], ENGINE_INSIGHTS)
    await at_rest(stack)
    await assign(admin, 3, JULY, people.nurse, "nursing_leadership")
    await nursing.call("PATCH", f"{path(1, JULY)}/status", json={"status": "in_progress"})
    await nursing.call("POST", f"{path(4, JULY)}/comments", 201, json={"text": "After the backup."})
    for number, month in ((2, JULY), (7, JUNE), (10, JUNE)):
        await nursing.call("PATCH", path(number, month), json={"description": "In other words."})
    await send(stack, [insight(10, "After somebody's words.")], ENGINE_INSIGHTS)
    metric = {"display_name": "Waits", "polarity": "lower_is_better"}
    await admin.call("PUT", "/api/metrics/waits", json=metric)
    rule = {"name": "Ours", "conditions": {"facility": ["Hospital 16"]}}
    rule |= {"assignee_id": people.nurse, "role_type": "nursing_leadership"}
    await admin.call("POST", "/api/ownership-rules", 201, json=rule)
    await send(stack, [signal(16, JUNE)])
    await eventually(
        lambda: nursing.client.get(f"{path(16, JUNE)}/assignment"), lambda answer: answer.status_code == 200
    )
    account = {"email": "new@hospital.example", "name": "Newcomer", "role": "administration"}
    await admin.call("POST", "/api/users", 201, json=account)
    viewer = (await admin.get("/api/users", q="viewer"))["users"][0]["id"]
    await admin.call("DELETE", f"/api/users/{viewer}", 204)
    await command(stack, "auth", "rotate_keys", "--compromised")
    await at_rest(stack)


async def restored(stack: LocalStack, folder: Path, since: datetime) -> dict[str, str]:
    """Lose the database, and do what the page says; answers what the commands said."""
    await asyncio.to_thread(stack.gateway.stop)
    for process in stack.services.values():
        await asyncio.to_thread(process.stop)
    await asyncio.to_thread(stack.postgres.drop_database, DATABASE)
    began = monotonic()
    await asyncio.to_thread(stack.postgres.create_database, DATABASE)
    await asyncio.to_thread(run, stack, "pg_restore", folder)
    said = {}
    for service in SERVICES:
        began_command = monotonic()
        said[service] = await command(stack, service, "after_restore", "--since", since.isoformat())
        logging.getLogger(__name__).info("%s: %.1f s\n%s", service, monotonic() - began_command, said[service])
    waiting = "SELECT " + " + ".join(f"(SELECT count(*) FROM {name}.outbox)" for name in TABLES)  # noqa: S608 - constants
    told = await count(stack, waiting)
    again = [command(stack, service, "after_restore", "--since", since.isoformat()) for service in SERVICES]
    for answer in await asyncio.gather(*again):
        assert answer.endswith("0 events are lost to the database; the state of 0 subjects is told anew\n"), answer
    assert await count(stack, waiting) == told
    for process in stack.services.values():
        process.start()
    for process in stack.services.values():
        await asyncio.to_thread(process.wait_until_ready, 60)
    await at_rest(stack)
    await asyncio.to_thread(stack.gateway.start)
    logging.getLogger(__name__).info("restored after %.1f s", monotonic() - began)
    return said


async def complaints(stack: LocalStack) -> list[str]:
    """What the tables disagree about; the log has more of history and comments than the database, which went back.

    Of signals with insights the workflow does not hear every number.
    """
    told = {id_of(signal(number, JUNE)) for number in (9, 10)}
    ids = {row["id"] for row in await query(stack, "SELECT id FROM signals.signals")} - told
    found = await oracles.complaints(stack, ids)
    return [
        one for one in found if not one.startswith(("history is told", "comments are told", "signals know the work"))
    ]


async def work_disagrees(stack: LocalStack) -> list[Any]:
    """Signals that are assigned otherwise for the service of signals than for the workflow."""
    return await query(
        stack,
        """
        SELECT s.facility, s.workflow_status, a.status FROM signals.signals AS s
        LEFT JOIN workflow.assignments AS a ON a.signal_id = s.id
        WHERE ROW(s.workflow_status::text, s.assignee_id)
              IS DISTINCT FROM ROW(coalesce(a.status::text, 'new'), a.assignee_id)
        """,
    )


async def users_disagree(stack: LocalStack) -> list[Any]:
    """Who is active according to the accounts, and to the copies of other services."""
    return await query(
        stack,
        """
        SELECT k.user_id, k.name, k.is_active, s.is_active, u.is_active
        FROM workflow.known_users AS k
        FULL JOIN signals.users AS s ON s.id = k.user_id
        FULL JOIN activity.access_users AS a ON a.user_id = k.user_id
        LEFT JOIN auth.users AS u ON u.id = k.user_id
        WHERE k.user_id IS NOT NULL AND ROW(k.is_active, s.is_active, a.is_active) IS DISTINCT FROM
              ROW(coalesce(u.is_active, false), coalesce(u.is_active, false), coalesce(u.is_active, false))
        """,
    )


@pytest.mark.timeout(300)
async def test_dump_wipe_restore_replay(own_stack: LocalStack, tmp_path: Path) -> None:
    stack, people = own_stack, People(own_stack)
    await people.login()
    await before_the_backup(stack, people)
    since = datetime.now(UTC)
    await asyncio.to_thread(run, stack, "pg_dump", tmp_path)
    await after_the_backup(stack, people)
    log, found = await recorded(stack), await engine_events(stack)
    states = dict(await states_of_signals(stack))
    old_token = people.nursing.client.headers["authorization"]

    said = await restored(stack, tmp_path, since)

    # Nobody's session goes on, also with a token of a key that the backup has.
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers={"authorization": old_token}) as old_client:
        for place in ("/api/auth/me", "/api/signals", "/api/assignments", "/api/feed"):
            assert (await old_client.get(place)).status_code == 401, place
    await people.login()
    admin = people.admin

    # What the backup has, and what the engine has published since, is there, once.
    resolved = await admin.get(f"{path(0, JULY)}/assignment")
    assert (resolved["status"], resolved["resolution_notes"]) == ("resolved", "More staff in the evening.")
    assert [item["text"] for item in (await admin.get(f"{path(0, JULY)}/comments"))["comments"]] == [
        "Before the backup."
    ]
    assert (await admin.get(f"{path(1, JULY)}/assignment"))["status"] == "assigned"
    assert dict(await states_of_signals(stack)) == states
    assert await engine_events(stack) == found
    for number in (9, 10):
        assert len((await admin.get(path(number, JUNE)))["insights"]) == 1
    assert await complaints(stack) == []
    assert await work_disagrees(stack) == []
    assert await users_disagree(stack) == []
    assert (await admin.get("/api/metrics/waits"))["display_name"] == "Waits"
    [viewer] = (await admin.get("/api/users", q="viewer"))["users"]
    assert not viewer["is_active"]

    # The log has what ever happened, and says of what is lost that somebody has to do it again.
    log_now = await recorded(stack)
    assert log.items() <= log_now.items()
    assert {kind for event, kind in log_now.items() if event not in log} <= AFTERWARDS
    lost = [line for line in chain.from_iterable(text.splitlines() for text in said.values()) if line[:5] == "lost:"]
    assert Counter(line.split()[2] for line in lost) == LOST
    assert "Newcomer" in said["auth"]

    await do_again(stack, people)
    assert await engine_events(stack) == found + Counter(
        ("compass.signal.redetected.v1", f"Hospital {number} {AUGUST}") for number in (0, 1)
    )
    assert await complaints(stack) == []
    assert await work_disagrees(stack) == []
    assert await users_disagree(stack) == []

    await one_schema_goes_back(stack, people, tmp_path, since)
    assert await complaints(stack) == []
    assert await work_disagrees(stack) == []
    assert (await admin.get("/api/audit/gaps"))["gaps"] == []
    assert await oracles.chain_is_sound(stack)
    assert log_now.items() <= (await recorded(stack)).items()


async def one_schema_goes_back(stack: LocalStack, people: People, folder: Path, since: datetime) -> None:
    """The workflow's alone, while the others run. What happens to an assignment that the backup has is heard of."""
    workflow = stack.service("workflow")
    await asyncio.to_thread(workflow.stop)
    await asyncio.to_thread(run, stack, "pg_restore", folder, "--schema=workflow")
    await command(stack, "workflow", "after_restore", "--since", since.isoformat())
    await asyncio.to_thread(workflow.start)
    await asyncio.to_thread(workflow.wait_until_ready, 60)
    await at_rest(stack)
    assert await work_disagrees(stack) == []
    # The keys that it has heard of again are in its tables now, and within a second in its memory.
    await eventually(lambda: people.nursing.client.get("/api/assignments"), lambda answer: answer.status_code == 200)
    await people.nursing.call("PATCH", f"{path(0, AUGUST)}/status", json={"status": "in_progress"})
    await at_rest(stack)
    page = await people.admin.get("/api/feed", signal_id=str(id_of(signal(0, AUGUST))))
    assert [event["event_type"] for event in reversed(page["events"])] == ["assignment", "status_change"]


async def states_of_signals(stack: LocalStack) -> list[Any]:
    """What the engine's part of each signal is."""
    return await query(stack, "SELECT id, (metric_value, is_current, simplified_severity)::text FROM signals.signals")


LOST: Final = {
    "compass.signal.assigned.v1": 2,  # by a person, and by a rule that is lost itself
    "compass.status.changed.v1": 1,
    "compass.comment.added.v1": 1,
    "compass.signal.corrected.v1": 3,  # somebody's words
    "compass.rule.changed.v1": 1,
    "compass.user.created.v1": 1,
}

AFTERWARDS: Final = {"compass.sessions.revoked.v1", "compass.key.rotated.v1", "compass.login.succeeded.v1"}
"""What happens in a restore."""


async def do_again(stack: LocalStack, people: People) -> None:
    """What was lost, and the engine's next month. All of it reaches the copies, the feed and the log."""
    admin, nursing = people.admin, people.nursing
    months = [signal(number, JUNE) for number in range(17) if number != 8]
    months += [signal(8, JUNE, metric_value=0.3), *(signal(n, JULY, percentile_rank=99.5) for n in range(6))]
    await send(stack, months)
    await send(stack, [signal(number, AUGUST, percentile_rank=99.5) for number in (0, 1)])
    await at_rest(stack)
    await assign(admin, 3, JULY, people.nurse, "nursing_leadership")
    await assign(admin, 16, JUNE, people.nurse, "nursing_leadership")
    await nursing.call("PATCH", f"{path(1, AUGUST)}/status", json={"status": "in_progress"})
    await nursing.call("PATCH", path(7, JUNE), json={"description": "In words again."})
    await nursing.call("POST", f"{path(4, JULY)}/comments", 201, json={"text": "After the restore."})
    account = {"email": "new@hospital.example", "name": "Newcomer", "role": "administration"}
    await admin.call("POST", "/api/users", 201, json=account)
    await at_rest(stack)
    for number, month, kinds in (
        (3, JULY, ["regression", "assignment", "assignment"]),
        (1, AUGUST, ["assignment", "status_change"]),
        (4, JULY, ["regression", "comment", "comment"]),
    ):
        page = await admin.get("/api/feed", signal_id=str(id_of(signal(number, month))))
        assert [event["event_type"] for event in reversed(page["events"])] == kinds
    assert (await admin.get(path(3, JULY)))["workflow_status"] == "assigned"
    assert (await admin.get(path(1, AUGUST)))["workflow_status"] == "in_progress"
    known = "SELECT count(*) FROM workflow.known_signals WHERE signal_id = $1 AND description = 'In words again.'"
    assert await count(stack, known, id_of(signal(7, JUNE))) == 1
    names = [one["name"] for one in (await admin.get("/api/assignees"))["assignees"]]
    assert names.count("Newcomer") == 1
