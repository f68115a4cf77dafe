"""What this service really publishes is what its contracts and their published schemas say."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from services.workflow import service_due, snapshot
from services.workflow.settings import DueSettings
from shared import snapshots
from shared.events import envelope
from shared.events.workflow import EVENTS
from tests.contracts.test_examples import DOCUMENT, validate
from tests.workflow.test_rules import make
from tests.workflow.world import ADMIN, CLINICAL, NURSING, World, detection, month, signal_event

_PUBLISHED = {
    "signal.assigned",
    "signal.reopened",
    "status.changed",
    "comment.added",
    "intervention.activated",
    "intervention.measured",
}


async def test_everything_that_is_published_passes_its_schema(world: World) -> None:
    entity = uuid4()
    first, second, third = (detection(entity, number) for number in (1, 2, 3))
    await world.hear_signals(signal_event(entity, 1))
    await world.call(CLINICAL, "POST", f"/signals/{first}/comments", {"text": "Look at this."})
    await world.bring_to(first, "in_progress")
    await world.assign(first, ADMIN, CLINICAL, if_match="*")
    await world.hear_signals(signal_event(entity, 2, "redetected"))
    what = {"kind": "protocol_change", "title": "Rounds at noon", "started_at": month(1)}
    made = await world.call(CLINICAL, "POST", f"/signals/{second}/interventions", what)
    await world.call(CLINICAL, "POST", f"/interventions/{made.json()['id']}/outcome")
    await world.move(second, ADMIN, "resolved")
    await world.move(second, NURSING, "closed")
    await world.hear_signals(signal_event(entity, 3, "redetected"))
    assert await published(world) == _PUBLISHED
    for signal in (first, second, third):
        sequences = [event["sequence"] for event in await world.events_of(signal)]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_what_rules_dates_and_snoozes_publish_passes_its_schema(world: World) -> None:
    entity = uuid4()
    conditions = {"domain": ["Effectiveness"], "signal_type": ["chronic_underperformer"], "minimum_severity": 10}
    made = await make(world, "All", NURSING, facility=["Northfield General"], **conditions)
    await world.hear_signals(signal_event(entity, 1))
    first, second = detection(entity, 1), detection(entity, 2)
    later = datetime.now(UTC) + timedelta(days=100)
    async with world.service.session_maker() as session, session.begin():
        await service_due.remind_due(session, later, DueSettings())
    await world.call(CLINICAL, "POST", f"/signals/{first}/snooze", {"until_worse": True, "notes": "Later."})
    await world.hear_signals(signal_event(entity, 2, "redetected", feed_type="regression"))
    await world.call(CLINICAL, "POST", f"/signals/{second}/snooze", {"until": datetime.now(UTC) + timedelta(days=1)})
    await world.call(CLINICAL, "DELETE", f"/signals/{second}/snooze")
    await world.call(ADMIN, "DELETE", f"/ownership-rules/{made['id']}")
    await snapshots.publish(world.service.session_maker, snapshot.PARTS, lambda _: None)
    assert await published(world) == {
        "signal.assigned",
        "assignment.reminded",
        "assignment.escalated",
        "signal.snoozed",
        "signal.woken",
        "rule.changed",
        "assignment.snapshot",
        "rule.snapshot",
    }


async def published(world: World) -> set[str]:
    """The types of all events so far, each of which has passed its schema."""
    contracts = {contract.name: contract for contract in EVENTS}
    events = await world.service.events()
    for event in events:
        contract = contracts[event.type]
        event.data_as(contract.data)
        if contract.feed_types:
            assert event.feedtype in contract.feed_types
            assert event.summary
            assert event.summary.endswith(".")
        else:
            assert event.feedtype is None
        assert event.correlationid or event.type.startswith(("compass.assignment.", "compass.rule.snapshot"))
        validate(json.loads(envelope.encode(event)), DOCUMENT["components"]["messages"][event.type]["payload"])
    return {event.type.split(".", 1)[1].removesuffix(".v1") for event in events}
