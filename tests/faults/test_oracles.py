"""The oracles: content with a world in which all is well, and each notices what it is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from shared.events import topics
from tests.faults.journal import Action, Outcome, Write
from tests.faults.oracles import ORACLES, judge
from tests.faults.worlds import MARKER, SIGNAL, World
from tests.support.oracles import EVERY_ORACLE

Doctoring = Callable[[World], object]


def _again(world: World, topic: str) -> None:
    """The last message of a topic once more."""
    records = world.seen.topics[topic]
    records.append(replace(records[-1], offset=len(records)))


def _again_in_peace(world: World) -> None:
    """What was delivered under faults, once more after them."""
    _again(world, topics.COMPASS_WORKFLOW.name)
    world.seen.calm = {(topics.COMPASS_WORKFLOW.name, 0): 1}


def _scattered(world: World) -> None:
    """The last message of a topic in another partition than the ones before."""
    records = world.seen.topics[topics.COMPASS_SIGNALS.name]
    records[-1] = replace(records[-1], partition=1)


def _swapped(world: World) -> None:
    first, second, *others = world.seen.topics[topics.COMPASS_SIGNALS.name]
    world.seen.topics[topics.COMPASS_SIGNALS.name] = [
        replace(second, offset=0),
        replace(first, offset=1),
        *others,
    ]


def _doubled(table: str) -> Doctoring:
    return lambda world: world.rows(table).append(dict(world.rows(table)[0]))


def _lost(table: str) -> Doctoring:
    return lambda world: world.rows(table).pop()


def _changed(table: str, **values: object) -> Doctoring:
    return lambda world: world.rows(table)[0].update(values)


def _remarked(world: World, place: int, **values: Any) -> None:
    world.journal.marks[place] = replace(world.journal.marks[place], **values)


def _told_too_many(world: World) -> None:
    """More than were marked, though one attempt's number is not known."""
    _remarked(world, 0, marked=None)
    _remarked(world, 1, marked=3)


DOCTORINGS: dict[str, list[Doctoring]] = {
    "acknowledged messages are there": [
        lambda world: world.journal.acknowledged.append((topics.ENGINE_SIGNALS.name, 0, 9, b"key", b"value"))
    ],
    "same number same event": [
        lambda world: world.tell(topics.COMPASS_SIGNALS.name, "signals", "signal.corrected", SIGNAL, 2, {})
    ],
    "order per subject": [_swapped, _scattered, lambda world: world.seen.topics[topics.COMPASS_SIGNALS.name].pop(0)],
    "told once in peace": [lambda world: _again(world, topics.COMPASS_WORKFLOW.name), _again_in_peace],
    "every event once in the audit log": [
        _lost("audit"),
        _doubled("audit"),
        lambda world: world.seen.topics[topics.COMPASS_WORKFLOW.name].clear(),
    ],
    "events are recorded once": [_doubled("audit")],
    "last events are recorded": [_changed("signals", event_sequence=4), _changed("signals", event_sequence=2)],
    "sequences without gaps": [
        _changed("audit", sequence=7),
        lambda world: world.seen.tables.update(gaps=[{"source": "/services/signals", "first": 3, "last": 4}]),
    ],
    "positions are dense": [_changed("audit", position=9), _changed("feed", position=0)],
    "feed is what the audit log shows": [
        _lost("feed"),
        _doubled("feed"),
        _changed("feed", event_type="comment"),
        _changed("feed", id=uuid4()),
    ],
    "chain verifies": [lambda world: setattr(world.seen, "verified", "row 3 was changed")],
    "outboxes are empty": [lambda world: world.seen.tables.update(outboxes=[{"service": "signals", "id": 1}])],
    "bad messages once": [
        _lost("dead_letters"),
        _doubled("dead_letters"),
        _changed("dead_letters", value=b"other"),
        _changed("dead_letters", offset=0),
        lambda world: world.seen.topics[f"{topics.ENGINE_SIGNALS.name}.dead-letter"].clear(),
    ],
    "stored is published": [
        _lost("signals"),
        _doubled("signals"),
        _changed("signals", description="First."),
        _changed("signals", metric_value=1),
        _changed("signals", id=uuid4()),
    ],
    "latest detection is current": [_changed("signals", is_current=False)],
    "effects once": [
        lambda world: world.tell(topics.COMPASS_SIGNALS.name, "signals", "signal.corrected", SIGNAL, 4, {})
    ],
    "insights once": [_lost("insights"), _doubled("insights"), _changed("insights", signal_id=None)],
    "workflow knows the signals": [_lost("known_signals"), _changed("known_signals", severity=1)],
    "signals know the work": [
        _changed("signals", workflow_status="new"),
        lambda world: world.seen.tables.update(waiting_states=[{"signal_id": SIGNAL}]),
    ],
    "everybody knows the users": [_lost("workflow_users"), _changed("signals_users", name="Another")],
    "counts are those of the rows": [_changed("domain_counts", number=2)],
    "a recount finds nothing": [lambda world: setattr(world.seen, "recounted", "'severity' in Safety: 1 instead of 2")],
    "acknowledged writes are there once": [
        lambda world: world.journal.writes.append(Write(Action.COMMENT, "lost", Outcome.DONE)),
        lambda world: world.journal.writes.append(Write(Action.ASSIGN, MARKER, Outcome.REFUSED)),
        _doubled("transitions"),
    ],
    "acknowledged snoozes are told once": [
        lambda world: world.journal.writes.append(Write(Action.SNOOZE, "lost", Outcome.DONE))
    ],
    "logins are told once": [_lost("sessions"), lambda world: world.rows("sessions").append({"id": uuid4()})],
    "state is the replay of its history": [
        _lost("transitions"),
        _changed("transitions", to_status="resolved"),
        _changed("assignments", status="closed"),
    ],
    "history is told": [_lost("transitions"), _doubled("transitions")],
    "comments are told": [
        lambda world: world.seen.tables.update(comments=[{"id": uuid4(), "text": "Never told."}]),
        lambda world: world.tell(
            topics.COMPASS_WORKFLOW.name, "workflow", "comment.added", SIGNAL, 2, {"comment_id": "1", "text": "Gone."}
        ),
    ],
    "work is at the latest detection": [_changed("assignments", signal_id=uuid4()), _doubled("assignments")],
    "acknowledged marks are read": [
        _lost("read_singly"),
        _changed("read_up_to", position=0),
        _changed("read_up_to", position=2),
        _changed("read_singly", user_id=uuid4()),
        lambda world: _remarked(world, 2, outcome=Outcome.DONE),
        lambda world: _remarked(world, 0, outcome=Outcome.REFUSED),
    ],
    "marks are counted once": [
        lambda world: _remarked(world, 0, marked=0),
        lambda world: _remarked(world, 0, marked=2),
        _told_too_many,
    ],
    "flags say who has read": [_changed("feed", read=False), lambda world: world.rows("feed")[1].update(read=True)],
    "events tell the state": [_changed("known_assignments", status="in_progress"), _lost("known_assignments")],
}


def test_nobody_complains_where_all_is_well() -> None:
    world = World()
    assert judge(world.seen, world.journal) == []


def test_every_oracle_has_a_doctored_world() -> None:
    named = {oracle.__name__.replace("_", " ") for oracle in (*EVERY_ORACLE, *ORACLES)}
    assert named == set(DOCTORINGS)


@pytest.mark.parametrize(
    ("oracle", "doctor"), [(oracle, doctor) for oracle, doctors in DOCTORINGS.items() for doctor in doctors]
)
def test_an_oracle_notices(oracle: str, doctor: Doctoring) -> None:
    world = World()
    doctor(world)
    assert {complaint.partition(":")[0] for complaint in judge(world.seen, world.journal)} >= {oracle}


def test_a_delivery_again_is_no_complaint_where_there_were_faults() -> None:
    world = World()
    _again(world, topics.COMPASS_WORKFLOW.name)
    world.seen.calm = {(topics.COMPASS_WORKFLOW.name, 0): 2}
    assert judge(world.seen, world.journal) == []


def test_a_write_without_an_answer_may_be_there_or_not() -> None:
    for marker in (MARKER, "never arrived"):
        world = World()
        world.journal.writes = [Write(Action.ASSIGN, marker, Outcome.UNKNOWN)]
        assert judge(world.seen, world.journal) == []


def test_a_mark_without_an_answer_may_be_there_or_not() -> None:
    for place in range(3):
        world = World()
        _remarked(world, place, outcome=Outcome.UNKNOWN, marked=None)
        assert judge(world.seen, world.journal) == []


def test_what_a_first_attempt_marked_its_answer_need_not_count() -> None:
    world = World()
    _remarked(world, 0, marked=None)
    assert judge(world.seen, world.journal) == []
