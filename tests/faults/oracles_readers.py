"""Readers: what was acknowledged as read stays read, and nothing else is."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tests.faults.journal import Journal, Mark, Outcome
from tests.faults.model import Expected
from tests.support.observation import Observation


def _read(seen: Observation) -> dict[UUID, set[int]]:
    """Which positions of the feed each user has read, from how far they have read and from single marks."""
    positions = {row["position"] for row in seen.table("feed")}
    read: dict[UUID, set[int]] = defaultdict(set)
    for row in seen.table("read_up_to"):
        read[row["user_id"]] |= {position for position in positions if position <= row["position"]}
    for row in seen.table("read_singly"):
        read[row["user_id"]].add(row["position"])
    return read


def _meant(seen: Observation, mark: Mark) -> set[int]:
    """The positions of what was to be marked."""
    return {
        row["position"]
        for row in seen.table("feed")
        if row["id"] in mark.event_ids
        or (row["position"] <= mark.up_to and mark.event_type in (None, row["event_type"]))
    }


def acknowledged_marks_are_read(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """What was answered with success is read; what was never asked for is not."""
    read = _read(seen)
    allowed: dict[UUID, set[int]] = defaultdict(set)
    for mark in journal.marks:
        meant = _meant(seen, mark)
        if mark.outcome is not Outcome.REFUSED:
            allowed[mark.user_id] |= meant
        if mark.outcome is Outcome.DONE and (lost := meant - read[mark.user_id]):
            yield f"{mark} is not read at {sorted(lost)[:5]}"
    for user, positions in read.items():
        if extra := positions - allowed[user]:
            yield f"{user} has read {sorted(extra)[:5]} and never said so"


def marks_are_counted_once(seen: Observation, journal: Journal, _: Expected) -> Iterator[str]:
    """Answers tell how many events each has marked: together what a user has read, or less where one went without."""
    read = _read(seen)
    for user in {mark.user_id for mark in journal.marks}:
        marks = [mark for mark in journal.marks if mark.user_id == user and mark.outcome is not Outcome.REFUSED]
        told = sum(mark.marked or 0 for mark in marks)
        all_told = all(mark.marked is not None for mark in marks)
        if told > len(read[user]) or (all_told and told < len(read[user])):
            yield f"{user} was told {told} and has read {len(read[user])}"


def flags_say_who_has_read(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """An event is flagged as read exactly if somebody has read it."""
    read = set().union(*_read(seen).values())
    for row in seen.table("feed"):
        if row["read"] != (row["position"] in read):
            yield f"{row['position']} is flagged {row['read']}"


READER_ORACLES: Final = (acknowledged_marks_are_read, marks_are_counted_once, flags_say_who_has_read)
