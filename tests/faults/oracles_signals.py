"""Signals: stored is what was published, once each, and every copy of them says the same."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from tests.faults.journal import Journal
from tests.faults.model import Expected
from tests.faults.observation import Observation, Row

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

_TOLD: Final = "compass.{}.v1"


def stored_is_published(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Every detection on the topic is one row with the values that came last; there are no other rows."""
    stored = Counter(row["id"] for row in seen.table("signals"))
    rows = {row["id"]: row for row in seen.table("signals")}
    for signal_id, signal in expected.signals.items():
        if stored[signal_id] != 1:
            yield f"{signal_id} is stored {stored[signal_id]} times"
            continue
        row = rows[signal_id]
        if row["description"] != signal.message["description"]:
            yield f"{signal_id} says {row['description']!r} instead of {signal.message['description']!r}"
        if row["metric_value"] != Decimal(str(signal.message["metric_value"])):
            yield f"{signal_id} has the value {row['metric_value']} instead of {signal.message['metric_value']}"
    for signal_id in stored.keys() - expected.signals.keys():
        yield f"{signal_id} was never published"


def latest_detection_is_current(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Each entity has one current signal, its latest detection."""
    current: dict[UUID, list[UUID]] = defaultdict(list)
    for row in seen.table("signals"):
        if row["is_current"]:
            current[row["entity_id"]].append(row["id"])
    for entity, signal_id in expected.current.items():
        if current[entity] != [signal_id]:
            yield f"entity {entity} has {current[entity]} instead of {signal_id}"


def effects_once(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """The events about each signal are those that its messages make, no more and no fewer, in their order."""
    told: dict[UUID, list[str]] = defaultdict(list)
    of_ingest = {_TOLD.format(f"signal.{name}") for name in ("detected", "redetected", "recorded", "corrected")}
    for row in seen.table("audit"):
        if row["type"] in of_ingest:
            told[row["subject"]].append(row["type"])
    for signal_id, signal in expected.signals.items():
        wanted = [_TOLD.format(event) for event in signal.events]
        if told[signal_id] != wanted:
            yield f"{signal_id} had {_short(told[signal_id])} instead of {_short(wanted)}"


def _short(events: list[str]) -> str:
    return " ".join(event.split(".")[2] for event in events) or "nothing"


def insights_once(seen: Observation, _: Journal, expected: Expected) -> Iterator[str]:
    """Each insight is stored once, stands at a signal if its entity has one, and was then told of once."""
    stored = Counter(row["id"] for row in seen.table("insights"))
    places = {row["id"]: row["signal_id"] for row in seen.table("insights")}
    told = Counter(
        row["envelope"]["data"]["insight_id"]
        for row in seen.table("audit")
        if row["type"] == _TOLD.format("insight.generated")
    )
    for insight, entity in expected.insights.items():
        has_signal = entity in expected.current
        if stored[insight] != 1:
            yield f"{insight} is stored {stored[insight]} times"
        elif (places[insight] is not None) != has_signal:
            yield f"{insight} is at {places[insight]}, though its entity has {'a' if has_signal else 'no'} signal"
        if told[str(insight)] != has_signal:
            yield f"{insight} was told of {told[str(insight)]} times"
    for insight in stored.keys() - expected.insights.keys():
        yield f"{insight} was never published"


def workflow_knows_the_signals(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """The workflow service's copy of the signals is the signals."""
    yield from _differences(seen.table("signals"), seen.table("known_signals"), _SHARED)


def signals_know_the_work(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
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


def everybody_knows_the_users(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """Copies of users are the users."""
    for name in ("signals_users", "workflow_users"):
        for difference in _differences(seen.table("auth_users"), seen.table(name), ("name", "is_active")):
            yield f"{name}: {difference}"


def counts_are_those_of_the_rows(seen: Observation, _: Journal, __: Expected) -> Iterator[str]:
    """What the filter options count is what is there."""
    counted = {row["value"]: row["number"] for row in seen.table("domain_counts") if row["number"]}
    present = Counter(row["domain"] for row in seen.table("signals") if row["is_current"])
    if counted != present:
        yield f"{counted} instead of {dict(present)}"


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


SIGNAL_ORACLES: Final[Sequence[Callable[[Observation, Journal, Expected], Iterable[str]]]] = (
    stored_is_published,
    latest_detection_is_current,
    effects_once,
    insights_once,
    workflow_knows_the_signals,
    signals_know_the_work,
    everybody_knows_the_users,
    counts_are_those_of_the_rows,
)
