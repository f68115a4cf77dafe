"""Signals and users: every copy of them says what they are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.support.observation import Observation, Row

_SHARED: Final = (
    "entity_id",
    "detected_at",
    "is_current",
    "description",
    "metric_value",
    "signal_type",
    "severity",
    "domain",
    "facility",
    "magnitude_tier",
)
"""What both the signals and the workflow service hold of a signal."""


def workflow_knows_the_signals(seen: Observation) -> Iterator[str]:
    """The workflow service's copy of the signals is the signals."""
    yield from _differences(seen.table("signals"), seen.table("known_signals"), _SHARED)


def signals_know_the_work(seen: Observation) -> Iterator[str]:
    """Each signal's row says what its assignment says; one without an assignment is new."""
    work = {row["signal_id"]: row for row in seen.table("assignments")}
    for row in seen.table("signals"):
        assignment = work.get(row["id"])
        wanted = (
            ("new", None, None)
            if assignment is None
            else (assignment["status"], assignment["id"], assignment["assignee_id"])
        )
        found = (row["workflow_status"], row["assignment_id"], row["assignee_id"])
        if found != wanted:
            yield f"{row['id']} says {found} instead of {wanted}"
    for row in seen.table("waiting_states"):
        yield f"a state waits for {row['signal_id']}, which is there or never was"


def everybody_knows_the_users(seen: Observation) -> Iterator[str]:
    """Copies of users are the users."""
    for name in ("signals_users", "workflow_users"):
        for difference in _differences(seen.table("auth_users"), seen.table(name), ("name", "is_active")):
            yield f"{name}: {difference}"


def counts_are_those_of_the_rows(seen: Observation) -> Iterator[str]:
    """What the filter options count is what is there."""
    counted = {row["value"]: row["number"] for row in seen.table("domain_counts") if row["number"]}
    present = Counter(row["domain"] for row in seen.table("signals") if row["is_current"])
    if counted != present:
        yield f"{counted} instead of {dict(present)}"


def a_recount_finds_nothing(seen: Observation) -> Iterator[str]:
    """The command that counts anew, by every facet that lists and totals trust, is content."""
    if seen.recounted is not None:
        yield seen.recounted


def _differences(owners: list[Row], copies: list[Row], fields: Sequence[str]) -> Iterator[str]:
    own = {row["id"]: row for row in owners}
    copied = {row["id"]: row for row in copies}
    for missing in own.keys() - copied.keys():
        yield f"{missing} is not known"
    for made_up in copied.keys() - own.keys():
        yield f"{made_up} is known and does not exist"
    for each in own.keys() & copied.keys():
        for name in fields:
            if own[each][name] != copied[each][name]:
                yield f"{each}: {name} is {copied[each][name]!r} instead of {own[each][name]!r}"


IN_TABLES: Final = (workflow_knows_the_signals, signals_know_the_work)
"""What holds also where only some signals were looked at."""

OF_EVERYTHING: Final = (everybody_knows_the_users, counts_are_those_of_the_rows, a_recount_finds_nothing)
"""What only all rows say."""
