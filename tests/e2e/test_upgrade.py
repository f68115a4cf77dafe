"""An upgrade without downtime: the release before serves on the new schema, beside the new one, alone and no more.

Decision 58 says which states of the repository stand for the release before.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import structlog

from deploy.local.service import ServiceProcess
from deploy.local.stack import READY_SECONDS, LocalStack
from tests.e2e import stories
from tests.e2e.api import Api, api, count, id_of, send
from tests.support import oracles, releases
from tests.support.eventually import eventually
from tests.support.instances import GatewayOverAll, Instances, stop_all

FIRST_WHOLE: Final = "0618d90b6506348d5314276b6a4b8fec996669e7"


logger = structlog.get_logger(__name__)

CUT: Final = 0
AWAY: Final = (502, 503, 504)
"""What a gateway answers for an instance that ends just then: nobody has taken these out of the balance before."""


@dataclass(frozen=True)
class Release:
    """A state of the repository, and where it falls short of what is promised of releases now.

    Before `f2ff3e4` a service was not ready on any schema but its own. What activity knows of assignments is newer than
    the first release; what that has consumed is made good by the command that makes the feed anew.
    """

    name: str
    revision: Callable[[], str]
    ready_on_later_schemas: bool = True
    knows_assignments: bool = True


RELEASES: Final = (
    # What every schema has grown from: all four services at work, and no migration but each one's first.
    Release("first", lambda: FIRST_WHOLE, ready_on_later_schemas=False, knows_assignments=False),
    Release("previous", releases.before_the_newest_migration),
)


class Place:
    """The stack behind a gateway that knows the instances of both releases."""

    def __init__(self, stack: LocalStack, gateway: GatewayOverAll) -> None:
        self._stack = stack
        self.gateway_url = gateway.url

    async def send(self, signals: Iterable[dict[str, Any]]) -> None:
        """Publish as the engine does."""
        await send(self._stack, signals)


class Leader:
    """Somebody who reads and comments all the time, and notes every answer."""

    def __init__(self, person: Api, signal: UUID) -> None:
        self._person = person
        self._signal = signal
        self.answers: Counter[str] = Counter()
        self.comments: Counter[int] = Counter()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """While the context lasts."""
        await self._person.login()
        over = asyncio.Event()
        reads = ("/api/signals", "/api/feed", f"/api/signals/{self._signal}/assignment", "/api/auth/me")
        tasks = [asyncio.create_task(self._read(path, over)) for path in reads]
        tasks.append(asyncio.create_task(self._comment(over)))
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)

    async def _read(self, path: str, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._ask("GET", path)

    async def _comment(self, over: asyncio.Event) -> None:
        for number in numbers():
            if over.is_set():
                return
            path = f"/api/signals/{self._signal}/comments"
            self.comments[await self._ask("POST", path, json={"text": f"No. {number}"})] += 1

    async def _ask(self, method: str, path: str, **more: Any) -> int:
        try:
            status = (await self._person.client.request(method, path, **more)).status_code
        except httpx.TransportError:
            status = CUT
        self.answers[f"{method} {path}: {status}"] += 1
        await asyncio.sleep(0.05)  # The pace of the load.
        return status

    @property
    def cut(self) -> int:
        """Requests without an answer, whose fate is unknown."""
        return sum(
            times for answer, times in self.answers.items() if answer.endswith(tuple(f": {n}" for n in (CUT, *AWAY)))
        )

    @property
    def refused(self) -> dict[str, int]:
        """What was answered by a service, and not with success."""
        fine = tuple(f": {status}" for status in (200, 201, CUT, *AWAY))
        return {answer: times for answer, times in self.answers.items() if not answer.endswith(fine)}


async def story(place: Place) -> UUID:
    """Published, listed, assigned, begun, commented on, resolved and read of; answers the signal."""
    signal, clinical, nursing = stories.new_signal(), api(place, "clinical"), api(place, "nursing")
    await clinical.login()
    await nursing.login()
    await place.send([signal])
    path = f"/api/signals/{id_of(signal)}"
    body = {"assignee_id": (await nursing.me())["id"], "role_type": "nursing_leadership"}
    # The workflow service hears of the signal by itself, a moment later.
    await eventually(lambda: clinical.client.post(f"{path}/assign", json=body), lambda answer: answer.status_code < 300)
    await nursing.call("PATCH", f"{path}/status", json={"status": "in_progress"})
    await nursing.call("POST", f"{path}/comments", 201, json={"text": "On it."})
    await nursing.call("PATCH", f"{path}/status", json={"status": "resolved", "resolution_notes": "Done."})
    told = [event["event_type"] for event in await stories.feed_of(clinical, id_of(signal), 5)]
    assert told == ["new_signal", "assignment", "status_change", "comment", "status_change"]
    await eventually(lambda: clinical.get(path), lambda detail: detail["workflow_status"] == "resolved")
    return id_of(signal)


async def at_work(service: ServiceProcess) -> bool:
    """Whether its readiness complains of nothing but the schema."""
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{service.url}/readyz", timeout=5)
    except httpx.TransportError:
        return False
    return all(problem.startswith("schema is at revision") for problem in answer.json()["problems"])


async def started(old: Instances, release: Release) -> None:
    """Start the old instances; returns when they work."""
    if release.ready_on_later_schemas:
        await asyncio.to_thread(old.start)
        return
    for service in old.services.values():
        service.process.start()
    for service in old.services.values():
        await eventually(lambda service=service: at_work(service), seconds=READY_SECONDS)  # type: ignore[misc]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
async def test_the_release_before_serves_on_the_new_schema(stack: LocalStack, release: Release, tmp_path: Path) -> None:
    code = releases.export(release.revision(), tmp_path)
    with Instances(stack, "old", code) as old, GatewayOverAll(stack, old) as gateway:
        place = Place(stack, gateway)
        await started(old, release)
        # Half-way: each request and each partition may be anyone's.
        signals = [await story(place)]
        leader = Leader(api(place, "admin"), signals[0])
        async with leader.at_work():
            # Taken back: the old release alone, on the schema that stays.
            await asyncio.to_thread(stop_all, stack.services.values())
            signals.append(await story(place))
            await stories.an_open_assignment_follows_the_newer_detection(place)
            # And once more, to its end.
            await asyncio.to_thread(stack.start_services)
            await asyncio.to_thread(old.stop)
            signals.append(await story(place))
    assert leader.refused == {}
    assert leader.comments[201] > 0

    if not release.knows_assignments:
        await oracles.run_command(stack, "activity", "rebuild")

    async def complaints() -> list[str]:
        return await oracles.complaints(stack, signals)

    assert await eventually(complaints, lambda found: not found) == []
    stored = "SELECT count(*) FROM workflow.comments WHERE signal_id = $1"
    written = await count(stack, stored, signals[0]) - 1
    assert leader.comments[201] <= written <= leader.comments.total()
    logger.info("upgraded", release=release.name, answers=leader.answers.total(), cut=leader.cut)


def test_a_clone_without_the_release_says_what_it_needs() -> None:
    with pytest.raises(pytest.skip.Exception, match="get the whole history"):
        releases.present("0" * 40)


def test_the_first_release_knows_none_of_the_later_migrations() -> None:
    now = releases.migrations("HEAD")
    for service in ("signals", "workflow", "activity", "auth"):
        own = {path for path in releases.migrations(FIRST_WHOLE) if f"/{service}/" in path}
        assert own < {path for path in now if f"/{service}/" in path}
