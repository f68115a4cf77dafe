"""Several at once, in transactions that are real: requests against each other, and against new detections."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from deploy.local.ports import free_port
from tests.support.eventually import eventually
from tests.support.service import token
from tests.workflow.world import CLINICAL, NURSING, OFFICE, World, detection, kinds, signal_event


@pytest.mark.parametrize(("if_match", "refused"), [(None, 409), ('"0"', 412)])
async def test_of_fifty_first_assigns_one_wins(real_world: World, if_match: str | None, refused: int) -> None:
    signal = await real_world.new_signal()
    people = (CLINICAL, NURSING, OFFICE)
    answers = await asyncio.gather(
        *(
            real_world.assign(signal, people[number % 3], people[number // 3 % 3], if_match=if_match)
            for number in range(50)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, refused: 49}
    assert kinds(await real_world.events_of(signal)) == ["signal.assigned"]
    (line,) = await real_world.history(signal)
    (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert await real_world.show(signal, CLINICAL) == winner | {
        "allowed_next_statuses": (await real_world.show(signal, CLINICAL))["allowed_next_statuses"]
    }
    assert line["assignee"]["id"] == winner["assignee_id"]


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a real HTTP server, without its background work; where it is."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    try:
        await eventually(started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_of_fifty_first_assigns_over_http_one_wins(real_world: World) -> None:
    """Each over a connection of its own, half of them with the ETag of the untouched signal."""
    signal = await real_world.new_signal()
    people = (CLINICAL, NURSING, OFFICE)

    async def assign(url: str, number: int) -> httpx.Response:
        by, to = people[number % 3], people[number // 3 % 3]
        headers = {"authorization": f"Bearer {token(by.role, user=by.id, name=by.name)}"}
        if number % 2:
            headers["if-match"] = '"0"'
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            body = {"assignee_id": str(to.id), "role_type": to.role}
            return await client.post(f"/api/signals/{signal}/assign", json=body)

    async with served(real_world.service.app) as url:
        answers = await asyncio.gather(*(assign(url, number) for number in range(50)))
    (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
    refused = Counter(
        (answer.json()["code"], "if-match" in answer.request.headers) for answer in answers if answer.status_code != 200
    )
    assert set(refused) == {("already_assigned", False), ("stale_version", True)}
    assert refused.total() == 49
    assert kinds(await real_world.events_of(signal)) == ["signal.assigned"]
    (line,) = await real_world.history(signal)
    assert (line["assignee"]["id"], line["by"]["id"]) == (winner["assignee_id"], winner["assigner_id"])


async def test_of_many_reassigns_on_one_version_one_wins(real_world: World) -> None:
    signal = await real_world.new_signal()
    await real_world.assign(signal)
    answers = await asyncio.gather(*(real_world.assign(signal, if_match='"1"', to=OFFICE) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}
    assert len(await real_world.history(signal)) == 2


async def test_one_key_sent_many_times_at_once_has_one_effect(real_world: World) -> None:
    signal = await real_world.new_signal()
    answers = await asyncio.gather(*(real_world.assign(signal, key="the-key") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await real_world.history(signal)) == 1


async def test_moves_against_each_other(real_world: World) -> None:
    for _ in range(10):
        signal = await real_world.new_signal()
        await real_world.bring_to(signal, "assigned")
        answers = await asyncio.gather(
            real_world.move(signal, NURSING, "in_progress"), real_world.move(signal, CLINICAL, "new")
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert [event["sequence"] for event in await real_world.events_of(signal)] == [1, 2]


async def _newer(world: World, entity: UUID) -> None:
    await world.hear_signals(signal_event(entity, 2, "redetected"))


async def test_moving_while_a_newer_detection_arrives(real_world: World) -> None:
    """Either the move came first and went along, or it was refused: nothing is lost and nothing is done twice."""
    seen: Counter[int] = Counter()
    for turn in range(20):
        entity = uuid4()
        old, new = detection(entity, 1), detection(entity, 2)
        await real_world.hear_signals(signal_event(entity, 1))
        await real_world.bring_to(old, "assigned")
        both = [_newer(real_world, entity), real_world.move(old, NURSING, "in_progress")]
        answer = (await asyncio.gather(*both[:: 1 if turn % 2 else -1]))[1 if turn % 2 else 0]
        assert answer is not None
        seen[answer.status_code] += 1
        assert answer.status_code in (200, 409)
        assert (await real_world.show(new))["status"] == ("in_progress" if answer.status_code == 200 else "assigned")
        assert kinds(await real_world.events_of(new)) == ["signal.assigned"]
        lines = await real_world.history(new)
        assert [line["kind"] for line in lines] == ["assigned", *["moved"] * (len(lines) - 2), "carried_over"]
    assert sum(seen.values()) == 20


async def test_closing_and_assigning_while_a_newer_detection_arrives(real_world: World) -> None:
    for turn in range(20):
        entity = uuid4()
        old, new = detection(entity, 1), detection(entity, 2)
        await real_world.hear_signals(signal_event(entity, 1))
        if turn % 2:
            await real_world.bring_to(old, "resolved")
            request = real_world.move(old, OFFICE, "closed")
        else:
            request = real_world.assign(old)
        _, answer = await asyncio.gather(_newer(real_world, entity), request)
        done = answer.status_code == 200
        assert done or answer.status_code == 409
        after = await real_world.show(new)
        events = kinds(await real_world.events_of(new))
        if turn % 2:
            assert after["status"] == ("new" if done else "resolved")
            assert events == (["signal.reopened"] if done else ["signal.assigned"])
        else:
            assert after["status"] == ("assigned" if done else "new")
            assert events == (["signal.assigned"] if done else [])
