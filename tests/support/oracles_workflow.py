"""Work: states are the replay of their history, events tell them, and all copies agree."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tests.support.observation import Observation, Row

_NEXT: Final = {
    "new": {"assigned"},
    "assigned": {"in_progress", "new"},
    "in_progress": {"resolved", "assigned"},
    "resolved": {"closed", "in_progress"},
    "closed": set[str](),
}
_STANDING: Final = frozenset({"carried_over", "reassigned"})
"""Lines of history that keep the status."""


def state_is_the_replay_of_its_history(seen: Observation) -> Iterator[str]:
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


def events_tell_the_state(seen: Observation) -> Iterator[str]:
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


def history_is_told(seen: Observation) -> Iterator[str]:
    """Each line of a signal's history has an event that tells of it, and each such event a line."""
    lines = Counter(row["signal_id"] for row in seen.table("transitions"))
    told = Counter(
        row["subject"]
        for row in seen.table("audit")
        if row["type"] in ("compass.signal.assigned.v1", "compass.status.changed.v1")
    )
    for signal in lines.keys() | told.keys():
        if lines[signal] != told[signal]:
            yield f"{signal} has {lines[signal]} lines of history and {told[signal]} events about them"


def comments_are_told(seen: Observation) -> Iterator[str]:
    """Each comment has an event, once, and no event is about another."""
    written = Counter(str(row["id"]) for row in seen.table("comments"))
    told = Counter(
        row["envelope"]["data"]["comment_id"]
        for row in seen.table("audit")
        if row["type"] == "compass.comment.added.v1"
    )
    for comment in written.keys() | told.keys():
        if written[comment] != told[comment]:
            yield f"comment {comment} is there {written[comment]} times and told of {told[comment]} times"


IN_TABLES: Final = (state_is_the_replay_of_its_history, events_tell_the_state, history_is_told, comments_are_told)
"""What holds also where only some signals were looked at, of an entity all or none."""
