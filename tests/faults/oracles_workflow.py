"""Work: every acknowledged write is there once, states are the replay of their history, and all copies agree."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID

from tests.faults.journal import Action, Journal, Outcome
from tests.faults.model import Expected
from tests.faults.observation import Observation, Row

_NEXT: Final = {
    "new": {"assigned"},
    "assigned": {"in_progress", "new"},
    "in_progress": {"resolved", "assigned"},
    "resolved": {"closed", "in_progress"},
    "closed": set[str](),
}
_STANDING: Final = frozenset({"carried_over", "reassigned"})
"""Lines of history that keep the status."""


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


def state_is_the_replay_of_its_history(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """Each line of history begins where the one before ended, by an allowed step; the last one is the present state."""
    lines: dict[UUID, list[Row]] = defaultdict(list)
    for row in seen.table("transitions"):
        lines[row["assignment_id"]].append(row)
    for assignment in seen.table("assignments"):
        history = lines.pop(assignment["id"], [])
        status, assignee, signal = "new", None, None
        for line in history:
            step = (line["from_status"], line["to_status"])
            if line["from_status"] != status:
                yield f"{assignment['id']}: {line['kind']} begins at {step[0]}, but it was {status}"
            if step[1] not in _NEXT[step[0]] and not (line["kind"] in _STANDING and step[0] == step[1]):
                yield f"{assignment['id']}: {line['kind']} from {step[0]} to {step[1]} is no allowed step"
            if line["kind"] == "carried_over" and signal is not None and line["previous_signal_id"] != signal:
                yield f"{assignment['id']}: carried over from {line['previous_signal_id']}, but it was at {signal}"
            status, assignee, signal = line["to_status"], line["assignee_id"], line["signal_id"]
        if history and (status, assignee, signal) != (
            assignment["status"],
            assignment["assignee_id"],
            assignment["signal_id"],
        ):
            yield f"{assignment['id']} is {assignment['status']}, its history says {status}"
        if not history and assignment["status"] != "new":
            yield f"{assignment['id']} is {assignment['status']} without a history"
    for made_up in lines:
        yield f"{made_up} has a history and does not exist"


def work_is_at_the_latest_detection(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """An entity has one open assignment at most, and it stands at the entity's current signal."""
    open_ones = [row for row in seen.table("assignments") if row["status"] != "closed"]
    for entity, number in Counter(row["entity_id"] for row in open_ones).items():
        if number > 1:
            yield f"entity {entity} has {number} open assignments"
    for row in open_ones:
        if expected.current.get(row["entity_id"]) != row["signal_id"]:
            yield f"{row['id']} is at {row['signal_id']} instead of {expected.current.get(row['entity_id'])}"


def events_tell_the_state(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """The last event that tells of an assignment tells it as it is; so does the activity service's copy."""
    last: dict[str, Row] = {}
    for row in seen.table("audit"):
        if row["source"] == "/services/workflow" and "assignment" in row["envelope"]["data"]:
            state = row["envelope"]["data"]["assignment"]
            last[state["assignment_id"]] = state
    copies = {row["id"]: row for row in seen.table("known_assignments")}
    for assignment in seen.table("assignments"):
        told = last.get(str(assignment["id"]))
        if told is None:
            yield f"{assignment['id']} was never told of"
            continue
        assignee = told["assignee"]["user_id"] if told.get("assignee") else None
        found = (told["status"], told["signal_id"], assignee)
        wanted = (
            assignment["status"],
            str(assignment["signal_id"]),
            str(assignment["assignee_id"]) if assignment["assignee_id"] else None,
        )
        if found != wanted:
            yield f"{assignment['id']} is {wanted}, its last event says {found}"
        copy = copies.get(assignment["id"])
        if copy is None or any(copy[name] != assignment[name] for name in ("status", "signal_id", "assignee_id")):
            yield f"{assignment['id']} is {wanted}, the activity service knows {copy}"


WORKFLOW_ORACLES: Final[Sequence[Callable[[Observation, Journal, Expected], Iterable[str]]]] = (
    acknowledged_writes_are_there_once,
    acknowledged_snoozes_are_told_once,
    logins_are_told_once,
    state_is_the_replay_of_its_history,
    work_is_at_the_latest_detection,
    events_tell_the_state,
)
