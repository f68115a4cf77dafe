"""Why a signal is resolved: a closed list, optional, with free notes."""

import pytest

from tests.workflow.world import NURSING, VIEWER, World, problem

REASONS = ["improved", "data_quality", "accepted_risk", "duplicate", "not_actionable"]


@pytest.mark.parametrize("reason", [*REASONS, None])
async def test_a_reason_is_shown_everywhere(world: World, reason: str | None) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    more = {} if reason is None else {"resolution_reason": reason}
    answer = await world.move(signal, NURSING, "resolved", notes="For the record.", **more)
    assert (answer.json()["resolution_reason"], answer.json()["resolution_notes"]) == (reason, "A second triage nurse.")
    (listed,) = (await world.call(VIEWER, "GET", "/assignments")).json()["assignments"]
    line = (await world.history(signal))[-1]
    data = (await world.events_of(signal))[-1]["data"]
    assert {found["resolution_reason"] for found in (listed, line, data["assignment"])} == {reason}
    assert (line["notes"], line["resolution_notes"]) == ("For the record.", "A second triage nurse.")
    assert ("resolution_reason" in data["changed"]) is (reason is not None)


async def test_a_reason_in_bulk(world: World) -> None:
    signals = [await world.new_signal() for _ in [*REASONS, "odd"]]
    for signal in signals:
        await world.bring_to(signal, "in_progress")
    items = [
        {"signal_id": signal, "move": {"status": "resolved", "resolution_notes": "Done.", "resolution_reason": reason}}
        for signal, reason in zip(signals, REASONS, strict=False)
    ]
    answer = await world.call(NURSING, "POST", "/assignments/bulk", {"items": items})
    assert [line["assignment"]["resolution_reason"] for line in answer.json()["results"]] == REASONS
    move = {"status": "resolved", "resolution_notes": "Done.", "resolution_reason": "odd"}
    odd = await world.call(NURSING, "POST", "/assignments/bulk", {"items": [{"signal_id": signals[-1], "move": move}]})
    assert problem(odd) == (422, "invalid")


async def test_a_reason_is_no_substitute_for_notes(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    answer = await world.move(signal, NURSING, "resolved", resolution_notes="", resolution_reason="duplicate")
    assert problem(answer) == (422, "resolution_notes_needed")
    for reason in ("odd", "Improved", ""):
        assert problem(await world.move(signal, NURSING, "resolved", resolution_reason=reason)) == (422, "invalid")
    answer = await world.move(signal, NURSING, "assigned", resolution_reason="improved")
    assert problem(answer) == (422, "not_resolving")


async def test_resolving_again_says_its_own_reason(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    await world.move(signal, NURSING, "resolved", resolution_reason="improved")
    back = await world.move(signal, NURSING, "in_progress")
    assert back.json()["resolved_at"] is None
    again = await world.move(signal, NURSING, "resolved")
    assert again.json()["resolution_reason"] is None
    assert [line["resolution_reason"] for line in await world.history(signal)][-3:] == ["improved", None, None]
