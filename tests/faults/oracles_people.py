"""People: every write that was acknowledged is there once, and work is where the engine's messages say."""

from collections import Counter
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tests.faults.journal import Action, Journal, Outcome
from tests.faults.model import Expected
from tests.support.observation import Observation, Row


def _traces(seen: Observation) -> dict[Action, tuple[Counter[str], Counter[str]]]:
    """For each kind of write, how often each marker is in the workflow's tables and in its events."""
    data = [
        (row["type"].removeprefix("compass.").removesuffix(".v1"), row["envelope"]["data"])
        for row in seen.table("audit")
        if row["source"] == "/services/workflow"
    ]

    def lines(*kinds: str) -> Counter[str]:
        return Counter(row["notes"] for row in seen.table("transitions") if row["kind"] in kinds)

    return {
        Action.ASSIGN: (
            lines("assigned", "reassigned"),
            Counter(
                each["assignment"]["notes"]
                for name, each in data
                if name == "signal.assigned" and each["reason"] in ("assigned", "reassigned")
            ),
        ),
        Action.MOVE: (
            lines("moved", "unassigned"),
            Counter(each.get("notes") for name, each in data if name == "status.changed"),
        ),
        Action.COMMENT: (
            Counter(row["text"] for row in seen.table("comments")),
            Counter(each["text"] for name, each in data if name == "comment.added"),
        ),
        Action.INTERVENE: (
            Counter(row["title"] for row in seen.table("interventions")),
            Counter(_title(each) for name, each in data if name == "intervention.activated"),
        ),
    }


def _title(data: Row) -> str:
    intervention = data.get("intervention", data)
    return str(intervention["title"])


def acknowledged_writes_are_there_once(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """What was answered with success has its effect and its event once, anything else at most once, both or none."""
    traces = _traces(seen)
    for write in journal.writes:
        if write.action not in traces:
            continue
        stored, told = (found[write.marker] for found in traces[write.action])
        least = 1 if write.outcome is Outcome.DONE else 0
        most = 0 if write.outcome is Outcome.REFUSED else 1
        if not least <= stored <= most or stored != told:
            yield f"{write.action} {write.marker!r} ({write.outcome}) is stored {stored} times and told {told} times"


def acknowledged_snoozes_are_told_once(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """A snooze leaves its note in its event only."""
    told = Counter(
        row["envelope"]["data"].get("notes")
        for row in seen.table("audit")
        if row["type"] == "compass.signal.snoozed.v1"
    )
    for write in journal.writes:
        if write.action is Action.SNOOZE:
            least = 1 if write.outcome is Outcome.DONE else 0
            most = 0 if write.outcome is Outcome.REFUSED else 1
            if not least <= told[write.marker] <= most:
                yield f"{write.marker!r} ({write.outcome}) is told {told[write.marker]} times"


def logins_are_told_once(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """Each session that was answered is there and was told of once; so was each that nobody got an answer for."""
    told = Counter(
        UUID(row["envelope"]["data"]["session_id"])
        for row in seen.table("audit")
        if row["type"] == "compass.login.succeeded.v1"
    )
    stored = {row["id"] for row in seen.table("sessions")}
    for session in journal.sessions:
        if session not in stored:
            yield f"session {session} is not stored"
    for session in stored:
        if told[session] != 1:
            yield f"session {session} was told of {told[session]} times"
    for session in told.keys() - stored:
        yield f"session {session} was told of and is not stored"


def work_is_at_the_latest_detection(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """An entity has one open assignment at most, and it stands at the entity's current signal."""
    open_ones = [row for row in seen.table("assignments") if row["status"] != "closed"]
    for entity, number in Counter(row["entity_id"] for row in open_ones).items():
        if number > 1:
            yield f"entity {entity} has {number} open assignments"
    for row in open_ones:
        if expected.current.get(row["entity_id"]) != row["signal_id"]:
            yield f"{row['id']} is at {row['signal_id']} instead of {expected.current.get(row['entity_id'])}"


PEOPLE_ORACLES: Final = (
    acknowledged_writes_are_there_once,
    acknowledged_snoozes_are_told_once,
    logins_are_told_once,
    work_is_at_the_latest_detection,
)
