"""A user's own words for a signal."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.events.signals import SignalChanged
from shared.events.topics import ENGINE_SIGNALS
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest, user_id


async def publish(service: ServiceUnderTest, **changes: Any) -> str:
    await service.consume("signals.ingest", message(ENGINE_SIGNALS, engine_signal(**changes)))
    return str((await service.rows("SELECT id FROM signals ORDER BY detected_at DESC"))[0]["id"])


async def patch(service: ServiceUnderTest, signal: str, role: str = "administration", **more: Any) -> httpx.Response:
    async with service.client(role) as client:
        return await client.patch(f"/api/signals/{signal}", **more)


async def test_an_edit_is_stored_told_and_kept(service: ServiceUnderTest) -> None:
    signal = await publish(service)
    async with service.client("viewer") as client:
        tag = (await client.get(f"/api/signals/{signal}")).headers["etag"]

    answer = await patch(
        service, signal, json={"description": "Mine 😀", "why_matters_narrative": "x"}, headers={"if-match": tag}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert (body["description"], body["why_matters_narrative"]) == ("Mine 😀", "x")
    assert body["description_edited_by"]["id"] == str(user_id("administration"))
    assert answer.headers["etag"] != tag
    event = (await service.events())[-1]
    assert (event.type, event.sequence, event.actorid) == ("compass.signal.corrected.v1", 2, user_id("administration"))
    assert event.summary == (
        "Northfield General: Administration edited the description and narrative of breachRate, baseline, severity "
        f"{body['simplified_severity']}."
    )
    assert event.data_as(SignalChanged).changed == ["description", "why_matters_narrative"]

    await publish(service, description="The engine's", why_matters_narrative="The engine's", encounters=3)
    [row] = await service.rows("SELECT * FROM signals")
    assert (row["description"], row["why_matters_narrative"], row["encounters"]) == ("Mine 😀", "x", 3)
    assert row["event_sequence"] == 3


async def test_a_narrative_can_be_taken_away(service: ServiceUnderTest) -> None:
    signal = await publish(service, why_matters_narrative="x")
    answer = await patch(service, signal, json={"why_matters_narrative": None})
    assert answer.json()["why_matters_narrative"] is None
    await publish(service, why_matters_narrative="x", encounters=3)
    assert (await service.rows("SELECT why_matters_narrative AS n FROM signals"))[0]["n"] is None


async def test_the_same_words_change_nothing(service: ServiceUnderTest) -> None:
    signal = await publish(service)
    words = engine_signal()["description"]
    assert (await patch(service, signal, json={"description": words})).status_code == 200
    assert len(await service.events()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"description": None}, 422),
        ({"description": ""}, 422),
        ({"description": " \n"}, 422),
        ({"description": "a\0"}, 422),
        ({"description": 5}, 422),
        ({"description": "x" * 10_001}, 422),
        ({"facility": "x"}, 422),
        ({"description": "fine"}, 412),
    ],
)
async def test_refused_edits(service: ServiceUnderTest, body: dict[str, Any], status: int) -> None:
    signal = await publish(service)
    answer = await patch(service, signal, json=body, headers={"if-match": '"stale"'})
    assert answer.status_code == status
    assert len(await service.events()) == 1


async def test_lone_surrogates_are_refused(service: ServiceUnderTest) -> None:
    signal = await publish(service)
    answer = await patch(
        service, signal, content=b'{"description": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422


async def test_who_may_edit(service: ServiceUnderTest) -> None:
    signal = await publish(service)
    assert (await patch(service, signal, role="viewer", json={"nonsense": 1})).status_code == 403
    assert (await patch(service, str(uuid4()), json={"description": "x"})).status_code == 404
    assert (await patch(service, str(uuid4()), json={})).status_code == 422


async def test_the_same_key_edits_once(service: ServiceUnderTest) -> None:
    """Also after somebody else has edited it: the answer is that of the first time, and their words stay."""
    signal = await publish(service)
    mine, key = {"description": "Mine"}, {"idempotency-key": "k1"}
    first = await patch(service, signal, json=mine, headers=key)
    await patch(service, signal, "clinical_leadership", json={"description": "Theirs"})
    again = await patch(service, signal, json=mine, headers=key)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, first.headers["etag"])
    async with service.client("viewer") as client:
        assert (await client.get(f"/api/signals/{signal}")).json()["description"] == "Theirs"

    other = await patch(service, signal, json={"description": "Else"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await service.events("signal.corrected")) == 2


async def test_a_stale_edit_leaves_its_key_free(service: ServiceUnderTest) -> None:
    signal = await publish(service)
    stale = {"idempotency-key": "k1", "if-match": '"0.0.0"'}
    assert (await patch(service, signal, json={"description": "Mine"}, headers=stale)).status_code == 412
    fresh = await patch(service, signal, json={"description": "Mine"}, headers={"idempotency-key": "k1"})
    assert fresh.status_code == 200
