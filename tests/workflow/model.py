"""What the specification says of one entity's workflow, in a hundred lines: the model that the service is held to.

It shares no code with the service. Detections are numbers, the later the higher; a moment is the interval in which the
command ran that set it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.events.vocabulary import UserRole
from tests.workflow.world import LEADERSHIP, Somebody

TABLE = {
    "new": ["assigned"],
    "assigned": ["in_progress", "new"],
    "in_progress": ["resolved", "assigned"],
    "resolved": ["closed", "in_progress"],
    "closed": [],
}
STATUSES = list(TABLE)
STAMPS = {"assigned": "assigned_at", "in_progress": "started_at", "resolved": "resolved_at", "closed": "closed_at"}

Tag = Literal["none", "present", "stale", "any"]
Answer = tuple[int, str | None]
Interval = tuple[datetime, datetime]
DONE: Answer = (200, None)


@dataclass
class Work:
    """One assignment, and the detections that it has stood at."""

    places: list[int]
    status: str = "new"
    assignee: Somebody | None = None
    assigner: Somebody | None = None
    resolver: Somebody | None = None
    stamps: dict[str, Interval] = field(default_factory=dict)

    def go(self, to: str, who: Somebody, at: Interval) -> None:
        """Along the table, with the timestamps: forward sets one, back clears the later ones."""
        if STATUSES.index(to) > STATUSES.index(self.status):
            self.stamps[STAMPS[to]] = at
        else:
            for later in STATUSES[STATUSES.index(to) + 1 :]:
                self.stamps.pop(STAMPS[later], None)
        self.status = to
        if to == "resolved":
            self.resolver = who
        if to == "new":
            self.assignee = self.assigner = None


@dataclass
class Entity:
    """Everything that is to be seen of one entity."""

    known: set[int] = field(default_factory=set)
    current: int = 0
    works: list[Work] = field(default_factory=list)
    history: list[tuple[str, str, str, str | None, int]] = field(default_factory=list)
    events: list[tuple[int, str, str | None]] = field(default_factory=list)

    def work_at(self, number: int) -> Work | None:
        """The assignment that stands at a detection, or left it."""
        return next((work for work in self.works if number in work.places), None)

    def detect(self, number: int) -> None:
        """By `detected_at`: only a detection later than all known ones moves anything, and only once."""
        newest, known = number > self.current, bool(self.known)
        self.known.add(number)
        if not newest:
            return
        work, self.current = self.work_at(self.current), number
        if not known or work is None:
            return
        if work.status == "closed":
            self.events.append((number, "signal.reopened", None))
        else:
            work.places.append(number)
            self.history.append(("carried_over", work.status, work.status, None, number))
            self.events.append((number, "signal.assigned", None))

    def assign(self, who: Somebody, number: int, to: Somebody, role: UserRole, tag: Tag, at: Interval) -> Answer:
        """First, or again."""
        if refusal := self._closed_door(who, number, tag):
            return refusal
        work = self.work_at(number) or Work([number])
        if work.status in ("resolved", "closed"):
            return 409, "transition_not_allowed"
        if work.status != "new" and tag == "none":
            return 409, "already_assigned"
        if not to.is_active:
            return 422, "assignee_inactive"
        if to.role is UserRole.VIEWER:
            return 422, "assignee_is_viewer"
        if to.role is not UserRole.ADMIN and to.role is not role:
            return 422, "role_type_mismatch"
        before, kind = work.status, "reassigned"
        if before == "new":
            kind = "assigned"
            work.go("assigned", who, at)
            if work not in self.works:
                self.works.append(work)
        work.assignee, work.assigner = to, who
        self.history.append((kind, before, work.status, who.name, number))
        self.events.append((number, "signal.assigned", who.name))
        return DONE

    def move(self, who: Somebody, number: int, to: str, tag: Tag, at: Interval, *, notes: bool, back: bool) -> Answer:
        """Along the table; ``back`` is `DELETE .../assignment`, for which whoever may assign may do it."""
        if refusal := self._closed_door(who, number, tag):
            return refusal
        work = self.work_at(number)
        status = work.status if work else "new"
        if status == "new" and to == "assigned":
            return 409, "assignee_needed"
        if work is None or to not in TABLE[status]:
            return 409, "transition_not_allowed"
        if not back and (refusal := self._not_this_person(who, work, to)):
            return refusal
        if (to == "resolved") != notes:
            return 422, "not_resolving" if notes else "resolution_notes_needed"
        work.go(to, who, at)
        self.history.append(("unassigned" if to == "new" else "moved", status, to, who.name, number))
        self.events.append((number, "status.changed", who.name))
        return DONE

    def say(self, who: Somebody, number: int, event: str) -> Answer:
        """A comment or an intervention."""
        if refusal := self._closed_door(who, number, "none"):
            return refusal
        self.events.append((number, event, who.name))
        return 201, None

    def allowed(self, who: Somebody, number: int) -> list[str]:
        """Where this person may move it."""
        if number != self.current or who.role is UserRole.VIEWER:
            return []
        work = self.work_at(number)
        if work is None or work.status == "new":
            return ["assigned"]
        return [to for to in TABLE[work.status] if not self._not_this_person(who, work, to)]

    def reopens(self, number: int) -> int | None:
        """The last detection before this one whose assignment was closed."""
        closed = [work.places[-1] for work in self.works if work.status == "closed" and work.places[-1] < number]
        return max(closed, default=None)

    def _closed_door(self, who: Somebody, number: int, tag: Tag) -> Answer | None:
        if who.role not in (*LEADERSHIP, UserRole.ADMIN):
            return 403, "forbidden"
        if number not in self.known:
            return 404, "signal_not_known_yet"
        if tag == "stale":
            return 412, "stale_version"
        return (409, "superseded") if number != self.current else None

    def _not_this_person(self, who: Somebody, work: Work, to: str) -> Answer | None:
        if to == "closed":
            return (403, "own_resolution") if who is work.resolver else None
        if who.role is not UserRole.ADMIN and who not in (work.assignee, work.assigner):
            return 403, "not_involved"
        return None
