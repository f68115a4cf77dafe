"""People and signals of a small world, and the events in which the other services tell of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from shared.events import envelope
from shared.events.engine import signal_id as id_of_detection
from shared.events.topics import COMPASS_AUTH, COMPASS_SIGNALS
from shared.events.vocabulary import UserRole
from shared.inbox import Message
from tests.support.factories import message
from tests.support.service import ServiceUnderTest, user_id

LEADERSHIP = (UserRole.CLINICAL_LEADERSHIP, UserRole.NURSING_LEADERSHIP, UserRole.ADMINISTRATION)


@dataclass(frozen=True)
class Somebody:
    """A user of the tests."""

    name: str
    role: UserRole
    is_active: bool = True

    @property
    def id(self) -> UUID:
        return user_id(self.name)


CLINICAL = Somebody("Clinical Lead", UserRole.CLINICAL_LEADERSHIP)
NURSING = Somebody("Nursing Lead", UserRole.NURSING_LEADERSHIP)
OFFICE = Somebody("Administration Lead", UserRole.ADMINISTRATION)
ADMIN = Somebody("Admin", UserRole.ADMIN)
OTHER_ADMIN = Somebody("Other Admin", UserRole.ADMIN)
VIEWER = Somebody("Viewer", UserRole.VIEWER)
FORMER = Somebody("Former Nursing Lead", UserRole.NURSING_LEADERSHIP, is_active=False)
EVERYBODY = (CLINICAL, NURSING, OFFICE, ADMIN, OTHER_ADMIN, VIEWER, FORMER)


def month(number: int) -> datetime:
    """The first instant of a month of 2026 and after."""
    return datetime(2026 + (number - 1) // 12, (number - 1) % 12 + 1, 1, tzinfo=UTC)


def detection(entity: UUID, number: int) -> UUID:
    """The id of the entity's detection of that month."""
    return id_of_detection(entity, month(number))


def signal_event(
    entity: UUID,
    number: int,
    kind: str = "detected",
    *,
    sequence: int = 1,
    is_current: bool = True,
    feed_type: str | None = None,
    **changes: Any,
) -> bytes:
    """What the signals service tells of the detection of one month."""
    state = {
        "signal_id": detection(entity, number),
        "entity_id": entity,
        "previous_signal_id": None,
        "is_current": is_current,
        "canonical_node_id": "node:breach-rate",
        "metric_id": "breachRate",
        "domain": "Effectiveness",
        "facility": "Northfield General",
        "facility_id": "NG1",
        "system_name": "Northfield",
        "service_line": "Emergency",
        "sub_service_line": None,
        "entity_dimensions": {},
        "entity_dimensions_hash": "99914b932bd37a50b983c5e7c90ae93b",
        "groupby_label": None,
        "group_value": None,
        "description": "Waits over four hours are more frequent than at peers.",
        "why_matters_narrative": None,
        "metric_value": 0.21,
        "peer_mean": 0.12,
        "peer_std": 0.05,
        "percentile_rank": 96.0,
        "encounters": 9120,
        "polarity": "lower_is_better",
        "trend_direction": "increasing",
        "magnitude_tier": "severe",
        "trajectory_tier": "deteriorating",
        "consistency_tier": "variable",
        "simplified_signal_type": "chronic_underperformer",
        "simplified_severity": 88,
        "annual_excess_cost": None,
        "excess_los_days": None,
        "capacity_impact_bed_days": None,
        "expected_metric_value": None,
        "detected_at": month(number),
    } | changes
    data: dict[str, Any] = {"signal": state, "changed": []}
    if kind == "redetected":
        data |= {
            "previous_severity": 80,
            "previous_signal_type": "chronic_underperformer",
            "previous_magnitude_tier": "severe",
        }
    return event("signals", f"compass.signal.{kind}.v1", detection(entity, number), sequence, data, feed_type)


def user_event(user: Somebody, kind: str = "created", *, sequence: int = 1, **changes: Any) -> bytes:
    """What the auth service tells of a user."""
    state = {
        "user_id": user.id,
        "name": user.name,
        "role": user.role,
        "is_active": user.is_active,
        "revocations": [],
    } | changes
    return event("auth", f"compass.user.{kind}.v1", user.id, sequence, {"user": state, "changed": []})


def event(
    service: str, event_type: str, subject: UUID, sequence: int, data: dict[str, Any], feed_type: str | None = None
) -> bytes:
    """Any event, as its bytes."""
    return envelope.encode(
        envelope.Envelope(
            specversion="1.0",
            id=uuid4(),
            source=f"/services/{service}",
            type=event_type,
            subject=subject,
            time=datetime.now(UTC),
            datacontenttype="application/json",
            dataschema="urn:quality-compass:test",
            sequence=sequence,
            feedtype=feed_type,
            data=msgspec.Raw(msgspec.json.encode(data)),
        )
    )


class World:
    """The service under test with its people, and short ways to say what happens."""

    def __init__(self, service: ServiceUnderTest) -> None:
        self.service = service

    async def hear_signals(self, *events: bytes) -> None:
        """One batch of signal events."""
        await self.hear_messages(*(message(COMPASS_SIGNALS, event) for event in events))

    async def hear_messages(self, *messages: Message) -> None:
        """One batch of messages about signals."""
        await self.service.consume("workflow.signals", *messages)

    async def hear_users(self, *events: bytes) -> None:
        """One batch of user events."""
        await self.service.consume("workflow.users", *(message(COMPASS_AUTH, event) for event in events))

    async def new_signal(self, **changes: Any) -> UUID:
        """A new entity, detected in January; its signal."""
        entity = uuid4()
        await self.hear_signals(signal_event(entity, 1, **changes))
        return detection(entity, 1)

    def client(self, user: Somebody | None) -> httpx.AsyncClient:
        """A client that is logged in as this user."""
        if user is None:
            return self.service.client(None)
        return self.service.client(user.role, user=user.id, name=user.name)

    async def call(
        self,
        user: Somebody | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        if_match: str | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One request of this user."""
        headers = {"if-match": if_match, "idempotency-key": key}
        async with self.client(user) as client:
            return await client.request(
                method,
                f"/api{path}",
                content=None if body is None else json.dumps(body, default=str),
                headers={name: value for name, value in headers.items() if value is not None}
                | ({"content-type": "application/json"} if body is not None else {}),
            )

    async def assign(
        self, signal: UUID, by: Somebody = CLINICAL, to: Somebody = NURSING, **more: Any
    ) -> httpx.Response:
        """Assign in the assignee's own role; an admin in nursing."""
        role = to.role if to.role in LEADERSHIP else UserRole.NURSING_LEADERSHIP
        body = {"assignee_id": to.id, "role_type": role}
        if "notes" in more:
            body["notes"] = more.pop("notes")
        return await self.call(by, "POST", f"/signals/{signal}/assign", body, **more)

    async def move(self, signal: UUID, by: Somebody, to: str, **body: Any) -> httpx.Response:
        """Move the status, with resolution notes where they are needed."""
        if to == "resolved":
            body = {"resolution_notes": "A second triage nurse."} | body
        headers = {name: body.pop(name) for name in ("if_match", "key") if name in body}
        return await self.call(by, "PATCH", f"/signals/{signal}/status", {"status": to} | body, **headers)

    async def show(self, signal: UUID, user: Somebody = VIEWER) -> Any:
        """The signal's assignment as this user sees it."""
        answer = await self.call(user, "GET", f"/signals/{signal}/assignment")
        assert answer.status_code == 200, answer.text
        assert answer.headers["etag"] == answer.json()["etag"]
        return answer.json()

    async def history(self, signal: UUID) -> Any:
        """The lines of history."""
        answer = await self.call(VIEWER, "GET", f"/signals/{signal}/assignment/history")
        assert answer.status_code == 200, answer.text
        return answer.json()["history"]

    async def bring_to(self, signal: UUID, status: str) -> None:
        """Assigned by the clinical to the nursing lead, and worked by the latter; closed by the former."""
        path = ["new", "assigned", "in_progress", "resolved", "closed"]
        for step in path[1 : path.index(status) + 1]:
            if step == "assigned":
                answer = await self.assign(signal)
            else:
                answer = await self.move(signal, CLINICAL if step == "closed" else NURSING, step)
            assert answer.status_code == 200, answer.text

    async def events_of(self, *signals: UUID) -> list[dict[str, Any]]:
        """This service's events about signals: short type, subject, sequence, actor, feed type, summary, data."""
        return [
            {
                "type": found.type.removeprefix("compass.").removesuffix(".v1"),
                "subject": found.subject,
                "sequence": found.sequence,
                "actor": found.actorid,
                "feed": found.feedtype,
                "summary": found.summary,
                "data": msgspec.json.decode(found.data),
            }
            for found in await self.service.events()
            if found.subject in signals
        ]


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    """The events' types."""
    return [found["type"] for found in events]
