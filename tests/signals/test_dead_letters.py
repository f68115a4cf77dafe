"""Dead letters for administrators: rejected, listed, mended, replayed, stored once."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.signals import consumers
from shared.dead_letters import REPLAY_GROUP_HEADER, REPLAY_OF_HEADER
from shared.events import workflow
from shared.events.decoding import RejectedMessageError
from shared.events.topics import COMPASS_WORKFLOW, ENGINE_INSIGHTS, ENGINE_SIGNALS, Topic
from shared.inbox import Message
from shared.outbox import decode_headers
from tests.contracts.test_examples import example
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

GROUPS = {ENGINE_SIGNALS: "signals.ingest", ENGINE_INSIGHTS: "signals.insights", COMPASS_WORKFLOW: "signals.workflow"}


async def reject(service: ServiceUnderTest, *values: Any, topic: Topic = ENGINE_SIGNALS, **more: Any) -> None:
    await service.consume(GROUPS[topic], *(message(topic, value, **more) for value in values))


async def get(service: ServiceUnderTest, path: str = "", status: int = 200, **params: Any) -> Any:
    async with service.client("admin") as client:
        answer = await client.get(f"/api/dead-letters{path}", params=params)
        assert answer.status_code == status, answer.text
        return answer.json()


async def replay(service: ServiceUnderTest, body: dict[str, Any], status: int = 200, key: str | None = None) -> Any:
    headers = {"idempotency-key": key} if key else {}
    async with service.client("admin") as client:
        answer = await client.post("/api/dead-letters/replay", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()


async def relayed(service: ServiceUnderTest, topic: Topic) -> list[Message]:
    """What the outbox holds for the topic, as its consumers get it."""
    rows = await service.rows(
        "SELECT key, value, headers FROM outbox WHERE topic = :topic AND headers IS NOT NULL ORDER BY id",
        topic=topic.name,
    )
    return [message(topic, row["value"], key=row["key"], headers=decode_headers(row["headers"])) for row in rows]


async def test_listed_and_shown_with_the_reason(service: ServiceUnderTest) -> None:
    await reject(service, b"{", headers=[("trace", b"1"), ("odd", b"\xff"), ("none", None)])
    await reject(service, b"\xff", key=None)
    await reject(service, None, topic=ENGINE_INSIGHTS)
    page = await get(service)
    assert sorted((item["topic"], item["code"], item["size"]) for item in page["dead_letters"]) == [
        ("engine.insights.v1", "empty_message", 0),
        ("engine.signals.v1", "invalid_json", 1),
        ("engine.signals.v1", "invalid_utf8", 1),
    ]
    found = {item["code"]: await get(service, f"/{item['id']}") for item in page["dead_letters"]}
    text = found["invalid_json"]
    assert (text["value"], text["key"]) == (
        {"encoding": "utf-8", "text": "{"},
        {"encoding": "utf-8", "text": "key"},
    )
    assert text["headers"] == [
        {"name": "trace", "value": {"encoding": "utf-8", "text": "1"}},
        {"name": "odd", "value": {"encoding": "base64", "text": base64.b64encode(b"\xff").decode()}},
        {"name": "none", "value": None},
    ]
    assert (found["invalid_utf8"]["value"]["encoding"], found["invalid_utf8"]["key"]) == ("base64", None)
    assert found["empty_message"]["value"] is None
    assert found["empty_message"]["detail"].endswith(".")
    await get(service, f"/{uuid4()}", 404)
    await get(service, "/1", 422)


async def test_pages_and_filters(service: ServiceUnderTest) -> None:
    await reject(service, *(b"%d" % number for number in range(5)))
    await reject(service, b"{", topic=ENGINE_INSIGHTS)
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2, "topic": ENGINE_SIGNALS.name}
    while True:
        page = await get(service, **params)
        seen += [item["id"] for item in page["dead_letters"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["cursor"]
    assert len(seen) == len(set(seen)) == 5
    await replay(service, {"ids": seen[:2]})

    async def found(**filters: Any) -> int:
        return len((await get(service, **filters))["dead_letters"])

    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    assert await found() == 6
    assert await found(consumer_group="signals.insights") == 1
    assert await found(code=["invalid_json", "not_an_object"]) == 6
    assert await found(code="not_an_object") == 5
    assert await found(replayed=True) == 2
    assert await found(replayed=False) == 4
    assert await found(**{"from": (now - hour).isoformat()}) == 6
    assert await found(to=(now - hour).isoformat()) == 0
    assert await found(topic="none") == 0


@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"cursor": "x"}, {"from": "yesterday"}, {"replayed": "perhaps"}, {"topic": "a\0"}, {"other": 1}],
    ids=str,
)
async def test_what_the_list_does_not_take(service: ServiceUnderTest, params: dict[str, Any]) -> None:
    await get(service, status=422, **params)


async def test_rejected_listed_mended_replayed_stored_once(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code did not know better; the new release does."""

    def too_strict(*_: Any) -> Any:
        raise RejectedMessageError("too_strict", "An old release said so.")

    monkeypatch.setattr(consumers, "read", too_strict)
    await reject(service, engine_signal(), engine_signal(facility_id="NG2"))
    assert await service.rows("SELECT 1 FROM signals") == []
    [event, _] = await service.events("message.rejected")
    assert event.feedtype == "technical_error"

    monkeypatch.undo()
    outcome = await replay(service, {"code": "too_strict", "topic": ENGINE_SIGNALS.name})
    assert (len(outcome["replayed"]), outcome["has_more"]) == (2, False)
    sent = await relayed(service, ENGINE_SIGNALS)
    await service.consume("signals.ingest", *sent)
    assert len(await service.rows("SELECT 1 FROM signals")) == 2
    assert len(await service.events("signal.detected")) == 2
    # A relay delivers at least once.
    await service.consume("signals.ingest", *await relayed(service, ENGINE_SIGNALS))
    assert len(await service.events()) == 4
    assert (await replay(service, {"code": "too_strict"}))["replayed"] == []


async def test_a_message_from_the_future_is_parked_until_the_upgrade(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = example("compass.status.changed.v1").replace(b"status.changed.v1", b"status.changed.v2")
    await reject(service, raw, topic=COMPASS_WORKFLOW)
    [letter] = (await get(service, code="future_version"))["dead_letters"]
    assert await service.rows("SELECT 1 FROM waiting_workflow_states") == []

    # Before the upgrade it comes back as a new dead letter; after it, it is applied.
    await replay(service, {"ids": [letter["id"]]})
    await service.consume("signals.workflow", *await relayed(service, COMPASS_WORKFLOW))
    [again] = (await get(service, code="future_version", replayed=False))["dead_letters"]
    known = consumers._WORKFLOW_EVENTS | {"compass.status.changed.v2": workflow.STATUS_CHANGED}
    monkeypatch.setattr(consumers, "_WORKFLOW_EVENTS", known)
    await replay(service, {"code": "future_version"})
    await service.consume("signals.workflow", (await relayed(service, COMPASS_WORKFLOW))[-1])
    assert (await get(service, f"/{again['id']}"))["replayed_at"] is not None
    assert len(await service.rows("SELECT 1 FROM waiting_workflow_states")) == 1
    assert (await get(service, replayed=False))["dead_letters"] == []


async def test_replaying_names_what_was_done(service: ServiceUnderTest) -> None:
    await reject(service, b"1", b"2", partition=4)
    first, second = (await get(service))["dead_letters"]
    missing = str(uuid4())
    one = await replay(service, {"ids": [first["id"]]})
    assert one["replayed"] == [{name: first[name] for name in one["replayed"][0]}]
    both = await replay(service, {"ids": [first["id"], second["id"], missing]})
    assert [letter["id"] for letter in both["replayed"]] == [second["id"]]
    assert (both["already_replayed"], both["unknown"], both["refused"]) == ([first["id"]], [missing], [])
    [sent, _] = await relayed(service, ENGINE_SIGNALS)
    assert dict(sent.headers) == {REPLAY_OF_HEADER: first["id"].encode(), REPLAY_GROUP_HEADER: b"signals.ingest"}
    async with service.client("admin") as client:
        tag = (await client.get(f"/api/dead-letters/{first['id']}")).headers["etag"]
    assert tag.startswith('"20')


async def test_the_same_key_replays_once(service: ServiceUnderTest) -> None:
    await reject(service, b"1")
    first = await replay(service, {"code": "not_an_object"}, key="k1")
    await reject(service, b"2")
    assert await replay(service, {"code": "not_an_object"}, key="k1") == first
    assert len(await relayed(service, ENGINE_SIGNALS)) == 1
    await replay(service, {"code": "other"}, 422, key="k1")
    assert len((await replay(service, {"code": "not_an_object"}, key="k2"))["replayed"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": ["x"]},
        {"ids": [str(UUID(int=1))], "code": "a"},
        {"ids": [str(UUID(int=1))] * 501},
        {"topic": ""},
        {"topic": "a\0"},
        {"from": "2026-07-01"},
        {"codes": ["a"]},
        {"rejected_from": "2026-07-01T00:00:00Z"},
    ],
    ids=lambda body: str(body)[:40],
)
async def test_requests_that_make_no_sense(service: ServiceUnderTest, body: dict[str, Any]) -> None:
    await replay(service, body, 422)


@pytest.mark.parametrize("role", ["clinical_leadership", "viewer", None])
async def test_only_administrators(service: ServiceUnderTest, role: str | None) -> None:
    expected = 403 if role else 401
    async with service.client(role) as client:
        assert (await client.get("/api/dead-letters")).status_code == expected
        assert (await client.get(f"/api/dead-letters/{uuid4()}")).status_code == expected
        assert (await client.post("/api/dead-letters/replay", json={"odd": 1})).status_code == expected
