"""A load on a cluster: an engine that publishes, people who read and one who writes; and what is to be found of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import httpx

from shared.supervision import happens
from tests.e2e.api import Api, api, id_of
from tests.kubernetes.cluster import Cluster, publish
from tests.support.eventually import eventually
from tests.support.factories import engine_signal

BATCH: Final = 10
GOOD: Final = "good"
PAGES: Final = ("/api/signals?limit=5", "/api/feed?limit=5", "/api/auth/me", "/api/assignments?limit=5")


class Load:
    """An engine that publishes, people who read and one who writes, until told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self.node = f"node:load-{uuid4().hex[:8]}"
        self.published = 0
        self.written: list[str] = []
        self.answers: Counter[str] = Counter()
        self.longest_wait: dict[str, float] = {}
        """Between two good answers to one kind of question, in seconds."""
        self._good_at: dict[str, float] = {}
        self._cluster = cluster
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the first signal, answer and comment until all are through."""
        person = api(self._cluster, "clinical")
        await person.login()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            for page in PAGES:
                tasks.create_task(self._read(person, page))
            tasks.create_task(self._write(person))
            try:
                await eventually(self._began, seconds=60)
                yield
            finally:
                self._stopping.set()

    @property
    def disappointed(self) -> dict[str, int]:
        """How many answers there were that people should not see."""
        return {answer: count for answer, count in self.answers.items() if answer != GOOD}

    async def goes_on(self) -> None:
        """Return once all of it has succeeded again."""
        published, written, since = self.published, len(self.written), monotonic()

        async def went_on() -> bool:
            all_read = sum(at > since for at in self._good_at.values()) > len(PAGES)
            return self.published > published and len(self.written) > written and all_read

        await eventually(went_on, seconds=120)

    def __str__(self) -> str:
        waits = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in sorted(self.longest_wait.items()))
        counts = f"{self.published} signals, {len(self.written)} comments, {self.answers[GOOD]} answers"
        return f"{counts}, {self.disappointed or 'no failure'}; longest waits: {waits}"

    async def _began(self) -> bool:
        return self.published > 0 and self.answers[GOOD] > len(PAGES) and len(self.written) > 0

    async def _publish(self) -> None:
        async with self._cluster.engine() as producer:
            while not self._stopping.is_set():
                numbers = range(self.published, self.published + BATCH)
                await publish(producer, [self._signal(number) for number in numbers])
                self.published += BATCH
                await happens(self._stopping, 0.1)

    def _signal(self, number: int) -> dict[str, Any]:
        return engine_signal(
            canonical_node_id=self.node, facility=f"Load {number}", facility_id=f"{self.node}-{number}"
        )

    async def _read(self, person: Api, page: str) -> None:
        while not self._stopping.is_set():
            await self._ask(person, "GET", page)
            await happens(self._stopping, 0.05)

    async def _write(self, person: Api) -> None:
        path = f"/api/signals/{id_of(self._signal(0))}/comments"

        async def known() -> bool:
            return (await person.client.get(path)).status_code == 200

        await eventually(known, seconds=60)
        while not self._stopping.is_set():
            text = str(uuid4())
            write = partial(self._ask, person, "POST", path, json={"text": text}, headers={"idempotency-key": text})
            # As a page does: again under the same key, until it is said to be written.
            await eventually(write, seconds=120, every=0.2)
            self.written.append(text)
            await happens(self._stopping, 0.2)

    async def _ask(self, person: Api, method: str, path: str, **more: Any) -> bool:
        try:
            answer = await person.client.request(method, path, **more)
        except httpx.TransportError as error:
            self.answers[f"{method} {path} {type(error).__name__}"] += 1
            return False
        if answer.is_success:
            self.answers[GOOD] += 1
            now = monotonic()
            kind = f"{method} {path.partition('?')[0]}" if method == "GET" else method
            wait = now - self._good_at.get(kind, now)
            self.longest_wait[kind] = max(self.longest_wait.get(kind, 0.0), wait)
            self._good_at[kind] = now
        else:
            problem = f"{answer.json().get('code')}: {answer.json().get('detail')}"
            self.answers[f"{method} {path} {answer.status_code} {problem}"] += 1
        return answer.is_success


_OWN = "(SELECT id FROM signals.signals WHERE canonical_node_id = :'node')"
_AUDITED = f"SELECT count(*) FROM activity.audit_log WHERE source = '/services/signals' AND subject IN {_OWN}"  # noqa: S608
_SHOWN = f"""
    SELECT event_type, count(*), count(DISTINCT signal_id) FROM activity.activity_events
    WHERE signal_id IN {_OWN} GROUP BY event_type ORDER BY event_type::text
"""  # noqa: S608
_OUT_OF_ORDER = f"""
    SELECT subject FROM (
        SELECT subject, sequence, row_number() OVER (PARTITION BY source, subject ORDER BY position) AS place
        FROM activity.audit_log WHERE subject IN {_OWN}
    ) AS numbered WHERE sequence <> place
"""  # noqa: S608
_STORED = "SELECT count(*) FROM signals.signals WHERE canonical_node_id = :'node'"
_COMMENTS = f"SELECT text FROM workflow.comments WHERE signal_id IN {_OWN}"  # noqa: S608


async def all_there(cluster: Cluster, load: Load) -> None:
    """Every signal and comment stored once, told of once, numbered from one without a gap, in order."""

    async def shown() -> list[str]:
        return await asyncio.to_thread(cluster.query, _SHOWN, node=load.node)

    assert load.published > BATCH
    comments, signals = len(load.written), load.published
    expected = [f"comment|{comments}|1", f"new_signal|{signals}|{signals}"]
    await eventually(shown, lambda seen: seen == expected, seconds=120, every=1)
    assert cluster.count(_AUDITED, node=load.node) == signals
    assert cluster.count(_STORED, node=load.node) == signals
    assert sorted(cluster.query(_COMMENTS, node=load.node)) == sorted(load.written)
    assert cluster.query(_OUT_OF_ORDER, node=load.node) == []


async def under_load(cluster: Cluster, disturb: Callable[[str], Awaitable[None]], *names: str) -> Load:
    """What comes of a disturbance of each of the named, at once."""
    load = Load(cluster)
    began = monotonic()
    async with load.running():
        await asyncio.gather(*map(disturb, names))
        await load.goes_on()
    # What the report is made of.
    print(f"\n{', '.join(names)}: {monotonic() - began:.0f} s, {load}")  # noqa: T201
    await all_there(cluster, load)
    return load
