"""What other services decide: the workflow state on the signal's row, and users' names."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from shared.events import auth, envelope, workflow
from shared.events.auth import UserChanged, UserState
from shared.events.engine import dimensions_hash, entity_id, signal_id
from shared.events.envelope import Envelope, EventType
from shared.events.topics import COMPASS_AUTH, COMPASS_WORKFLOW, ENGINE_SIGNALS, Topic
from shared.events.vocabulary import AssignmentStatus, UserRole
from shared.events.workflow import (
    AssignmentChanged,
    AssignmentReason,
    AssignmentState,
    Person,
    SignalLabel,
    StatusChanged,
)
from shared.inbox import Message
from tests.support.factories import engine_signal, message
from tests.support.service import ServiceUnderTest

NADIA = Person(uuid4(), "Nadia Nursing")
LABEL = SignalLabel(facility="Northfield General", metric_id="breachRate", description="d", severity=50)
ENTITY = entity_id("node:breach-rate", "breachRate", "NG1", dimensions_hash(None))


def detection(month: int) -> UUID:
    return signal_id(ENTITY, datetime(2026, month, 1, tzinfo=UTC))


def event(topic: Topic, event_type: EventType, subject: UUID, sequence: int, data: msgspec.Struct) -> Message:
    return message(
        topic,
        envelope.encode(
            Envelope(
                specversion="1.0",
                id=uuid4(),
                source=event_type.source,
                type=event_type.name,
                subject=subject,
                time=datetime.now(UTC),
                datacontenttype="application/json",
                dataschema=event_type.dataschema,
                sequence=sequence,
                data=msgspec.Raw(msgspec.json.encode(data)),
            )
        ),
    )


def state(signal: UUID, status: AssignmentStatus, assignment: UUID, **more: Any) -> AssignmentState:
    return AssignmentState(
        assignment_id=assignment,
        signal_id=signal,
        entity_id=ENTITY,
        status=status,
        assignee=more.pop("assignee", NADIA),
        assigner=None,
        role_type=None,
        notes=None,
        resolution_notes=None,
        **more,
    )


def assigned(signal: UUID, sequence: int, assignment: UUID, superseded: UUID | None = None) -> Message:
    data = AssignmentChanged(
        assignment=state(signal, AssignmentStatus.ASSIGNED, assignment),
        label=LABEL,
        reason=AssignmentReason.CARRIED_OVER if superseded else AssignmentReason.ASSIGNED,
        superseded_signal_id=superseded,
    )
    return event(COMPASS_WORKFLOW, workflow.SIGNAL_ASSIGNED, signal, sequence, data)


def moved(signal: UUID, sequence: int, assignment: UUID, status: AssignmentStatus, **more: Any) -> Message:
    data = StatusChanged(
        assignment=state(signal, status, assignment, **more),
        label=LABEL,
        from_status=AssignmentStatus.NEW,
        to_status=status,
    )
    return event(COMPASS_WORKFLOW, workflow.STATUS_CHANGED, signal, sequence, data)


def snapshot(signal: UUID, sequence: int, assignment: UUID, status: AssignmentStatus) -> Message:
    data = AssignmentChanged(
        assignment=state(signal, status, assignment), label=LABEL, reason=AssignmentReason.SNAPSHOT
    )
    return event(COMPASS_WORKFLOW, workflow.ASSIGNMENT_SNAPSHOT, signal, sequence, data)


def user(sequence: int, name: str) -> Message:
    data = UserChanged(
        user=UserState(
            user_id=NADIA.user_id, name=name, role=UserRole.NURSING_LEADERSHIP, is_active=True, revocations=[]
        )
    )
    return event(COMPASS_AUTH, auth.USER_UPDATED, NADIA.user_id, sequence, data)


async def detect(service: ServiceUnderTest, *months: int) -> None:
    await service.consume(
        "signals.ingest",
        *(message(ENGINE_SIGNALS, engine_signal(detected_at=f"2026-0{month}-01T00:00:00Z")) for month in months),
    )


async def show(service: ServiceUnderTest, signal: UUID) -> tuple[str, str | None]:
    async with service.client("viewer") as client:
        body = (await client.get(f"/api/signals/{signal}")).json()
    return body["workflow_status"], body["assignee"] and body["assignee"]["name"]


async def test_the_state_follows_the_events(service: ServiceUnderTest) -> None:
    await detect(service, 7)
    signal, assignment = detection(7), uuid4()
    assert await show(service, signal) == ("new", None)

    await service.consume("signals.workflow", assigned(signal, 1, assignment))
    await service.consume("signals.users", user(1, "Nadia Nursing"))
    assert await show(service, signal) == ("assigned", "Nadia Nursing")

    closed = datetime(2026, 7, 5, 12, tzinfo=UTC)
    await service.consume(
        "signals.workflow",
        moved(signal, 3, assignment, AssignmentStatus.CLOSED, closed_at=closed),
        moved(signal, 2, assignment, AssignmentStatus.IN_PROGRESS),
    )
    assert (await show(service, signal))[0] == "closed"
    async with service.client("viewer") as client:
        assert (await client.get(f"/api/signals/{signal}")).json()["days_open"] == 4

    # An older event changes nothing, nor does ingest.
    await service.consume("signals.workflow", moved(signal, 2, assignment, AssignmentStatus.NEW, assignee=None))
    await service.consume(
        "signals.ingest", message(ENGINE_SIGNALS, engine_signal(detected_at="2026-07-01T00:00:00Z", encounters=3))
    )
    assert await show(service, signal) == ("closed", "Nadia Nursing")


async def test_a_state_waits_for_its_signal(service: ServiceUnderTest) -> None:
    signal, assignment = detection(7), uuid4()
    await service.consume("signals.workflow", assigned(signal, 4, assignment))
    await service.consume("signals.workflow", moved(signal, 5, assignment, AssignmentStatus.IN_PROGRESS))
    await service.consume("signals.workflow", assigned(signal, 3, assignment))

    await detect(service, 7)
    assert (await show(service, signal))[0] == "in_progress"
    assert await service.rows("SELECT * FROM waiting_workflow_states") == []
    await service.consume("signals.workflow", assigned(signal, 5 - 1, assignment))
    assert (await show(service, signal))[0] == "in_progress"


@pytest.mark.parametrize("is_together", [False, True], ids=["apart", "together"])
@pytest.mark.parametrize("is_there", [False, True], ids=["waiting", "there"])
async def test_a_snapshot_is_right_where_the_event_of_its_number_says_otherwise(
    service: ServiceUnderTest, is_there: bool, is_together: bool
) -> None:
    """After a restore the workflow tells what an assignment is now, under the highest number that it ever gave."""
    signal, assignment = detection(7), uuid4()
    told = [
        moved(signal, 3, assignment, AssignmentStatus.CLOSED),
        snapshot(signal, 3, assignment, AssignmentStatus.ASSIGNED),
    ]
    if is_there:
        await detect(service, 7)
    for messages in [told] if is_together else [told[:1], told[1:]]:
        await service.consume("signals.workflow", *messages)
    await service.consume("signals.workflow", snapshot(signal, 2, assignment, AssignmentStatus.RESOLVED))
    if not is_there:
        await detect(service, 7)
    assert (await show(service, signal))[0] == "assigned"


async def test_a_carried_over_assignment_leaves_the_older_detection(service: ServiceUnderTest) -> None:
    await detect(service, 6, 7)
    assignment = uuid4()
    await service.consume("signals.workflow", assigned(detection(6), 1, assignment))
    await service.consume(
        "signals.workflow",
        assigned(detection(7), 1, assignment, superseded=detection(6)),
        moved(detection(7), 2, assignment, AssignmentStatus.IN_PROGRESS),
    )

    assert (await show(service, detection(6)))[0] == "new"
    assert (await show(service, detection(7)))[0] == "in_progress"
    async with service.client("viewer") as client:
        page = (await client.get("/api/signals", params={"assignee_id": str(NADIA.user_id)})).json()
    assert [row["id"] for row in page["signals"]] == [str(detection(7))]


async def test_names_follow_the_newest_event(service: ServiceUnderTest) -> None:
    await service.consume("signals.users", user(2, "Nadia New"), user(1, "Nadia Old"))
    await service.consume("signals.users", user(1, "Nadia Old"))
    assert await service.rows("SELECT name, sequence FROM users") == [{"name": "Nadia New", "sequence": 2}]
    # Under the same number they differ only where the accounts went back in time.
    await service.consume("signals.users", user(2, "Nadia Restored"))
    assert await service.rows("SELECT name, sequence FROM users") == [{"name": "Nadia Restored", "sequence": 2}]


async def test_other_events_and_bad_ones(service: ServiceUnderTest) -> None:
    await detect(service, 7)
    unknown = EventType("compass.comment.added.v1", COMPASS_WORKFLOW, workflow.SOURCE, "signal id", Person, "x")
    future = EventType("compass.status.changed.v2", COMPASS_WORKFLOW, workflow.SOURCE, "signal id", Person, "x")
    await service.consume(
        "signals.workflow",
        event(COMPASS_WORKFLOW, unknown, detection(7), 1, NADIA),
        event(COMPASS_WORKFLOW, future, detection(7), 2, NADIA),
        event(COMPASS_WORKFLOW, workflow.STATUS_CHANGED, detection(7), 3, NADIA),
        message(COMPASS_WORKFLOW, b"?"),
        assigned(detection(7), 4, uuid4()),
    )
    assert (await show(service, detection(7)))[0] == "assigned"
    codes = [letter["code"] for letter in await service.dead_letters()]
    assert codes == ["future_version", "invalid_field", "invalid_json"]
