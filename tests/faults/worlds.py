"""A small world in which all is well, made by hand, for tests of the oracles: they doctor it and see who notices."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import msgspec

from shared.events import envelope, topics
from shared.events.envelope import Envelope
from shared.events.operations import rejection_id
from shared.events.vocabulary import ActivityEventType
from tests.e2e.api import id_of
from tests.faults.engine import entity_of
from tests.faults.journal import Action, Journal, Mark, Outcome, Write
from tests.support.factories import engine_signal
from tests.support.observation import Observation, Record, Row

FIRST: Final = engine_signal(description="First.", metric_value=0.21)
CORRECTED: Final = FIRST | {"description": "Second.", "metric_value": 0.22}
SIGNAL: Final = id_of(FIRST)
ENTITY: Final[UUID] = entity_of(FIRST)
MARKER: Final = "seed 0 nursing 1"
_ENTITY_FIELDS: Final = ("canonical_node_id", "metric_id", "facility_id")
INSIGHT: Final = {name: FIRST[name] for name in _ENTITY_FIELDS} | {"title": "T", "text": "X", "confidence": 0.5}
INSIGHT_ID: Final = uuid5(ENTITY, msgspec.json.encode(("T", "X", 0.5)).decode())
BAD_KEY, BAD_VALUE = b"bad-1", b"{not json"
_BAD_PLACE: Final = (topics.ENGINE_SIGNALS.name, 0, 2)
_USER, _ASSIGNMENT, _SESSION = UUID(int=1), UUID(int=2), UUID(int=3)
_AT: Final = datetime(2026, 7, 1, tzinfo=UTC)


class World:
    """What was told and what was seen."""

    def __init__(self) -> None:
        self.journal = Journal(
            bad={(BAD_KEY, BAD_VALUE)},
            writes=[Write(Action.ASSIGN, MARKER, Outcome.DONE)],
            sessions=[_SESSION],
        )
        self.seen = Observation()
        for value in (FIRST, CORRECTED):
            self._engine(topics.ENGINE_SIGNALS.name, b"NG1", msgspec.json.encode(value))
        self._engine(topics.ENGINE_SIGNALS.name, BAD_KEY, BAD_VALUE)
        self._engine(topics.ENGINE_INSIGHTS.name, b"NG1", msgspec.json.encode(INSIGHT))
        self._tables()
        self._dead_letter()
        signals, workflow = topics.COMPASS_SIGNALS.name, topics.COMPASS_WORKFLOW.name
        self.tell(signals, "signals", "signal.detected", SIGNAL, 1, {}, "new_signal")
        self.tell(signals, "signals", "signal.corrected", SIGNAL, 2, {})
        self.tell(signals, "signals", "insight.generated", SIGNAL, 3, {"insight_id": str(INSIGHT_ID)}, "insight")
        state = {
            "assignment_id": str(_ASSIGNMENT),
            "status": "assigned",
            "signal_id": str(SIGNAL),
            "assignee": {"user_id": str(_USER)},
            "notes": MARKER,
        }
        assigned = {"assignment": state, "reason": "assigned"}
        self.tell(workflow, "workflow", "signal.assigned", SIGNAL, 1, assigned, "assignment")
        login = {"session_id": str(_SESSION)}
        self.tell(topics.COMPASS_AUTH.name, "auth", "login.succeeded", _USER, 1, login)
        rejection = rejection_id("signals.ingest", *_BAD_PLACE)
        operations = topics.COMPASS_OPERATIONS.name
        self.tell(operations, "signals", "message.rejected", rejection, 1, {}, "technical_error")
        self._reads()

    def rows(self, table: str) -> list[Row]:
        """A table's rows, to be changed."""
        return self.seen.tables[table]

    def tell(
        self,
        topic: str,
        service: str,
        name: str,
        subject: UUID,
        sequence: int,
        data: dict[str, Any],
        feed_type: str | None = None,
    ) -> None:
        """An event, on its topic, in the audit log, and in the feed."""
        event = Envelope(
            specversion=envelope.SPEC_VERSION,
            id=uuid4(),
            source=f"/services/{service}",
            type=f"compass.{name}.v1",
            subject=subject,
            time=_AT,
            datacontenttype="application/json",
            dataschema="urn:schema",
            sequence=sequence,
            data=msgspec.Raw(msgspec.json.encode(data)),
            feedtype=feed_type,
        )
        records = self.seen.topics.setdefault(topic, [])
        records.append(Record(topic, 0, len(records), str(subject).encode(), envelope.encode(event)))
        common = {"source": event.source, "subject": subject, "sequence": sequence, "type": event.type}
        audit = self.rows("audit")
        audit.append(
            common
            | {
                "position": len(audit) + 1,
                "event_id": event.id,
                "topic": topic,
                "actor_id": None,
                "feed_type": feed_type,
                "envelope": {"data": data},
                "is_snapshot": False,
            }
        )
        if feed_type is not None:
            feed = self.rows("feed")
            feed.append(common | {"id": event.id, "event_type": feed_type, "position": len(feed) + 1, "read": False})

    def _engine(self, topic: str, key: bytes, value: bytes) -> None:
        records = self.seen.topics.setdefault(topic, [])
        self.journal.acknowledged.append((topic, 0, len(records), key, value))
        records.append(Record(topic, 0, len(records), key, value))

    def _reads(self) -> None:
        """The user has read the first event, and beyond the second the only one of its type; the last was refused."""
        first, _, third, last = self.rows("feed")
        self.journal.marks = [
            Mark(_USER, (), 1, None, Outcome.DONE, 1),
            Mark(_USER, (), 3, ActivityEventType(third["event_type"]), Outcome.DONE, 1),
            Mark(_USER, (last["id"],), 0, None, Outcome.REFUSED, None),
        ]
        self.seen.tables["read_up_to"] = [{"user_id": _USER, "position": 1}]
        self.seen.tables["read_singly"] = [{"user_id": _USER, "position": 3}]
        for event in (first, third):
            event["read"] = True

    def _dead_letter(self) -> None:
        topic, partition, offset = _BAD_PLACE
        headers = (("dead-letter-partition", b"%d" % partition), ("dead-letter-offset", b"%d" % offset))
        name = f"{topic}.dead-letter"
        self.seen.topics[name] = [Record(name, 0, 0, BAD_KEY, BAD_VALUE, headers)]
        self.seen.tables["dead_letters"] = [
            {
                "service": "signals",
                "consumer_group": "signals.ingest",
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "key": BAD_KEY,
                "value": BAD_VALUE,
            }
        ]

    def _tables(self) -> None:
        signal = {
            "id": SIGNAL,
            "entity_id": ENTITY,
            "detected_at": _AT,
            "is_current": True,
            "description": "Second.",
            "metric_value": Decimal("0.22"),
            "signal_type": "baseline",
            "severity": 40,
            "domain": "Effectiveness",
            "facility": "Northfield General",
            "magnitude_tier": "severe",
        }
        work = {"event_sequence": 3, "workflow_status": "assigned", "assignment_id": _ASSIGNMENT, "assignee_id": _USER}
        user = {"id": _USER, "name": "A leader", "is_active": True}
        assignment = {"id": _ASSIGNMENT, "signal_id": SIGNAL, "status": "assigned", "assignee_id": _USER}
        transition = {
            "assignment_id": _ASSIGNMENT,
            "signal_id": SIGNAL,
            "previous_signal_id": None,
            "kind": "assigned",
            "from_status": "new",
            "to_status": "assigned",
            "assignee_id": _USER,
            "notes": MARKER,
        }
        tables: dict[str, list[Row]] = {
            "signals": [signal | work],
            "known_signals": [dict(signal)],
            "insights": [{"id": INSIGHT_ID, "entity_id": ENTITY, "signal_id": SIGNAL}],
            "domain_counts": [{"value": "Effectiveness", "number": 1}],
            "assignments": [assignment | {"entity_id": ENTITY}],
            "known_assignments": [dict(assignment)],
            "transitions": [transition],
            "sessions": [{"id": _SESSION}],
            "audit": [],
            "feed": [],
        }
        copies = {name: [dict(user)] for name in ("auth_users", "signals_users", "workflow_users")}
        self.seen.tables = tables | copies | self.seen.tables
