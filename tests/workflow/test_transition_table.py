"""Every transition, allowed or not, for every role and every person, in one table.

The expectations are written down here from the specification, not taken from the code: the table of statuses, who may
move what, and in which order refusals come.
"""

from itertools import product
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from services.workflow.models import Assignment
from shared.events.vocabulary import UserRole
from tests.workflow.world import (
    ADMIN,
    CLINICAL,
    NURSING,
    OFFICE,
    VIEWER,
    Somebody,
    World,
    detection,
    signal_event,
    user_event,
)

STATUSES = ("new", "assigned", "in_progress", "resolved", "closed")
ALLOWED = {
    ("new", "assigned"),
    ("assigned", "in_progress"),
    ("assigned", "new"),
    ("in_progress", "resolved"),
    ("in_progress", "assigned"),
    ("resolved", "closed"),
    ("resolved", "in_progress"),
}

ASSIGNEE = NURSING
ASSIGNER = CLINICAL
PEOPLE = {
    "assignee": ASSIGNEE,
    "assigner": ASSIGNER,
    "other clinical": Somebody("Other Clinical", UserRole.CLINICAL_LEADERSHIP),
    "other nursing": Somebody("Other Nursing", UserRole.NURSING_LEADERSHIP),
    "other administration": OFFICE,
    "admin": ADMIN,
    "viewer": VIEWER,
}


async def at(world: World, status: str, resolved_by: Somebody = ASSIGNEE) -> UUID:
    """A signal whose assignment stands at this status, as stored."""
    entity = uuid4()
    signal = detection(entity, 1)
    await world.hear_signals(signal_event(entity, 1))
    touched = status != "new"
    async with world.service.session_maker() as session, session.begin():
        await session.execute(
            insert(Assignment).values(
                signal_id=signal,
                entity_id=entity,
                status=status,
                assignee_id=ASSIGNEE.id if touched else None,
                assigner_id=ASSIGNER.id if touched else None,
                role_type=ASSIGNEE.role if touched else None,
                resolved_by=resolved_by.id if status in ("resolved", "closed") else None,
            )
        )
    return signal


@pytest.fixture
async def staffed(world: World) -> World:
    await world.hear_users(*(user_event(person) for person in PEOPLE.values()))
    return world


def expected(person: str, resolver: Somebody, before: str, after: str) -> tuple[int, str | None]:
    """What the specification says of this move: role's 403, transition's 409, person's 403, field's 422, else 200."""
    who = PEOPLE[person]
    if who is VIEWER:
        return 403, "forbidden"
    if before == "new" and after == "assigned":
        return 409, "assignee_needed"
    if (before, after) not in ALLOWED:
        return 409, "transition_not_allowed"
    if after == "closed":
        return (403, "own_resolution") if who is resolver else (200, None)
    if person in ("assignee", "assigner", "admin"):
        return 200, None
    return 403, "not_involved"


MOVES = list(product(STATUSES, STATUSES))


@pytest.mark.parametrize(("before", "after"), MOVES)
async def test_a_move_of_the_status(staffed: World, before: str, after: str) -> None:
    resolvers = (ASSIGNEE, ASSIGNER, ADMIN) if before == "resolved" else (ASSIGNEE,)
    for (person, who), resolver in product(PEOPLE.items(), resolvers):
        signal = await at(staffed, before, resolver)
        status, code = expected(person, resolver, before, after)
        shown = await staffed.show(signal, who)
        answer = await staffed.move(signal, who, after)
        assert (answer.status_code, answer.json().get("code")) == (status, code), person
        offered = after in shown["allowed_next_statuses"]
        by_assigning = (before, after) == ("new", "assigned") and who is not VIEWER
        assert offered == (status == 200 or by_assigning), f"{person}: what is offered is what is done"
        now = await staffed.show(signal, who)
        assert now["status"] == (after if status == 200 else before), person
        assert len(await staffed.history(signal)) == (status == 200), person


async def test_the_same_moves_in_bulk(staffed: World) -> None:
    for person, who in PEOPLE.items():
        items = [
            {
                "signal_id": await at(staffed, before),
                "move": {"status": after} | ({"resolution_notes": "Done."} if after == "resolved" else {}),
            }
            for before, after in MOVES
        ]
        answer = await staffed.call(who, "POST", "/assignments/bulk", {"items": items})
        if who is VIEWER:
            assert answer.status_code == 403
            continue
        seen = [(line["status"], (line["problem"] or {}).get("code")) for line in answer.json()["results"]]
        assert seen == [expected(person, ASSIGNEE, *move) for move in MOVES], person


@pytest.mark.parametrize("before", STATUSES)
async def test_an_assignment_and_an_unassignment(staffed: World, before: str) -> None:
    without = {"new": 200}.get(before, 409)
    with_if_match = {"new": 200, "assigned": 200, "in_progress": 200}.get(before, 409)
    for person, who in PEOPLE.items():
        for if_match, wanted in ((None, without), ("*", with_if_match)):
            signal = await at(staffed, before)
            answer = await staffed.assign(signal, who, OFFICE, if_match=if_match)
            assert answer.status_code == (403 if who is VIEWER else wanted), person
            if answer.status_code == 200:
                assert answer.json()["status"] == ("assigned" if before == "new" else before)
        signal = await at(staffed, before)
        answer = await staffed.call(who, "DELETE", f"/signals/{signal}/assignment")
        assert answer.status_code == (403 if who is VIEWER else 200 if before == "assigned" else 409), person


async def test_who_resolved_it_last_never_closes_it_whatever_they_are_by_now(staffed: World) -> None:
    """Reassigned, promoted to admin, gone back and resolved again by somebody else: the last resolver counts."""
    signal = await at(staffed, "in_progress")
    assert (await staffed.move(signal, ASSIGNEE, "resolved")).status_code == 200
    promoted = Somebody(ASSIGNEE.name, UserRole.ADMIN)
    await staffed.hear_users(user_event(promoted, "updated", sequence=2))
    refused = await staffed.move(signal, promoted, "closed")
    assert (refused.status_code, refused.json()["code"]) == (403, "own_resolution")
    async with staffed.service.session_maker() as session, session.begin():
        await session.execute(update(Assignment).values(assignee_id=OFFICE.id, assigner_id=ADMIN.id))
    refused = await staffed.move(signal, promoted, "closed")
    assert refused.json()["code"] == "own_resolution"
    for who, to in ((ADMIN, "in_progress"), (ADMIN, "resolved")):
        assert (await staffed.move(signal, who, to)).status_code == 200
    assert (await staffed.move(signal, ADMIN, "closed")).json()["code"] == "own_resolution"
    assert (await staffed.move(signal, promoted, "closed")).status_code == 200
