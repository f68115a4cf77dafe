"""What this service really publishes is what its contracts and their published schemas say."""

import json
from uuid import uuid4

from shared.events import envelope
from shared.events.workflow import EVENTS
from tests.contracts.test_examples import DOCUMENT, validate
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
    contracts = {contract.name: contract for contract in EVENTS}
    events = await world.service.events()
    assert {event.type.split(".", 1)[1].removesuffix(".v1") for event in events} == _PUBLISHED
    for event in events:
        contract = contracts[event.type]
        event.data_as(contract.data)
        assert event.feedtype in contract.feed_types
        assert event.summary
        assert event.summary.endswith(".")
        assert event.correlationid
        validate(json.loads(envelope.encode(event)), DOCUMENT["components"]["messages"][event.type]["payload"])
    for signal in (first, second, third):
        sequences = [event["sequence"] for event in await world.events_of(signal)]
        assert sequences == list(range(1, len(sequences) + 1))
