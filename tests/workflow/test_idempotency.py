"""A write of the workflow sent again with its Idempotency-Key; what holds for every write is shared's."""

from tests.workflow.world import NURSING, OFFICE, VIEWER, World, problem


async def test_the_same_request_has_one_effect_and_the_same_answer(world: World) -> None:
    signal = await world.new_signal()
    first = await world.assign(signal, key="a-key")
    await world.move(signal, NURSING, "in_progress")
    again = await world.assign(signal, key='"a-key"')
    assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, '"1"')
    assert len(await world.history(signal)) == 2
    assert len(await world.events_of(signal)) == 2


async def test_another_request_with_the_key_is_refused(world: World) -> None:
    signal, other = await world.new_signal(), await world.new_signal()
    await world.assign(signal, key="a-key")
    assert problem(await world.assign(signal, to=OFFICE, key="a-key")) == (422, "idempotency_key_reused")
    assert problem(await world.assign(other, key="a-key")) == (422, "idempotency_key_reused")
    assert (await world.assign(other, OFFICE, key="a-key")).status_code == 200, "keys are each user's own"


async def test_a_failure_leaves_the_key_free(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    answer = await world.move(signal, NURSING, "resolved", key="k", resolution_notes=" ")
    assert problem(answer) == (422, "resolution_notes_needed")
    assert (await world.move(signal, NURSING, "resolved", key="k")).status_code == 200


async def test_permission_comes_before_the_remembered_answer(world: World) -> None:
    signal = await world.new_signal()
    await world.assign(signal, key="k")
    assert problem(await world.assign(signal, None or VIEWER, key="k")) == (403, "forbidden")


async def test_a_stale_if_match_does_not_hide_the_remembered_answer(world: World) -> None:
    signal = await world.new_signal()
    first = await world.assign(signal, if_match='"0"', key="k")
    again = await world.assign(signal, if_match='"0"', key="k")
    assert (first.status_code, again.content) == (200, first.content)


async def test_unassigning_and_moving_take_keys_too(world: World) -> None:
    signal = await world.new_signal()
    await world.bring_to(signal, "in_progress")
    for _ in range(2):
        assert (await world.move(signal, NURSING, "assigned", key="back")).status_code == 200
    for _ in range(2):
        answer = await world.call(NURSING, "DELETE", f"/signals/{signal}/assignment", key="off")
        assert (answer.status_code, answer.json()["status"]) == (200, "new")
    assert len(await world.history(signal)) == 4
