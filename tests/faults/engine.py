"""What the engine of a fault run publishes: first detections, newer and older ones, corrections, repetitions, nonsense.

Every message is made from the seed alone: `EngineLoad.next` decides by what was made before, never by what became of
it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec

from shared.events.engine import dimensions_hash, entity_id
from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from tests.support.factories import engine_signal

FACILITIES: Final = 9
_FIRST_DETECTED: Final = datetime(2026, 3, 1, tzinfo=UTC)
_LONGEST_AGE_DAYS: Final = 200
_TWINS: Final = 3


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for Kafka. `partition` is given where another client's partitioner would have chosen another one."""

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    bad: bool = False
    """Whether it can never be processed; then its key or value are like no other message's."""


@dataclass(slots=True)
class _Entity:
    fields: dict[str, Any]
    detections: list[datetime] = field(default_factory=list)
    last: dict[str, Any] | None = None


class EngineLoad:
    """Makes the messages of one seed, a few at a time; messages of one call belong close together."""

    def __init__(self, seed: int, node: str) -> None:
        self._random = Random(f"engine {seed}")  # noqa: S311 - to be the same again
        self._node = node
        self._entities: list[_Entity] = []
        self._number = 0
        self.bad: set[tuple[bytes, bytes | None]] = set()
        """Key and value of the messages that can never be processed."""
        self._makers: list[tuple[int, Callable[[], list[Outgoing]]]] = [
            (5, self._first),
            (3, self._newer),
            (1, self._older),
            (6, self._corrections),
            (2, self._again),
            (1, self._bad),
            (2, self._insight),
            (2, self._twins),
        ]

    def next(self) -> list[Outgoing]:
        """The next messages."""
        if len(self._entities) < FACILITIES:
            return self._first()
        weights = [weight for weight, _ in self._makers]
        return self._random.choices([make for _, make in self._makers], weights)[0]()

    def signal_ids(self) -> list[dict[str, Any]]:
        """The last message of each entity, for who wants to work on what was detected."""
        return [entity.last for entity in self._entities if entity.last is not None]

    def _unique(self) -> int:
        self._number += 1
        return self._number

    def _first(self) -> list[Outgoing]:
        number = self._unique()
        facility = f"F{number % FACILITIES}"
        entity = _Entity(
            {
                "canonical_node_id": f"{self._node}:{number}",
                "metric_id": f"metric{number % 4}",
                "facility": f"Facility {facility}",
                "facility_id": facility,
                "entity_dimensions": {"department": str(number % 3)} if number % 2 else None,
            }
        )
        self._entities.append(entity)
        return [self._detection(entity, _FIRST_DETECTED + timedelta(hours=number))]

    def _newer(self) -> list[Outgoing]:
        entity = self._known()
        latest = max(entity.detections)
        return [self._detection(entity, latest + timedelta(hours=self._random.randint(1, 24)))]

    def _older(self) -> list[Outgoing]:
        entity = self._known()
        age = timedelta(days=self._random.randint(1, _LONGEST_AGE_DAYS), minutes=self._unique())
        return [self._detection(entity, min(entity.detections) - age)]

    def _corrections(self) -> list[Outgoing]:
        """The same detection with other values, there and back: stored again in another order they would show."""
        entity = self._known()
        detected_at = self._random.choice(entity.detections[-2:])
        return [self._detection(entity, detected_at) for _ in range(self._random.randint(2, 4))]

    def _again(self) -> list[Outgoing]:
        entity = self._known()
        return [_signal(entity.last)] * self._random.randint(1, 2) if entity.last else self._first()

    def _twins(self) -> list[Outgoing]:
        """New detections from an engine whose clients choose partitions differently: each comes in several at once."""
        twins = []
        for _ in range(4):
            number = self._unique()
            twin = _signal(
                self._message(
                    {
                        "canonical_node_id": f"{self._node}:twin:{number}",
                        "facility": "Twin",
                        "facility_id": f"T{number % 5}",
                    },
                    _FIRST_DETECTED + timedelta(hours=number),
                )
            )
            twins.append(twin)
        partitions = self._random.sample(range(ENGINE_SIGNALS.partitions), _TWINS)
        return [
            Outgoing(twin.topic, twin.key, twin.value, partition=partition)
            for partition in partitions
            for twin in twins
        ]

    def _insight(self) -> list[Outgoing]:
        number = self._unique()
        if number % 11 == 0:
            return [self._remember_bad(ENGINE_INSIGHTS.name, b'{"title": "No entity", "number": %d}' % number)]
        # Some come before their entity's first signal, which may never come.
        entity = self._known().fields
        if number % 7 == 0:
            entity = entity | {"canonical_node_id": f"{self._node}:{number + 20}"}
        names = ("canonical_node_id", "metric_id", "facility_id", "entity_dimensions")
        body = {name: entity.get(name) for name in names} | {
            "title": f"Insight {number}",
            "text": "The evening shift is short of nurses.",
            "confidence": 0.8,
        }
        key = str(entity["facility_id"]).encode()
        return [Outgoing(ENGINE_INSIGHTS.name, key, msgspec.json.encode(body))] * self._random.randint(1, 2)

    def _bad(self) -> list[Outgoing]:
        number = self._unique()
        template = self._message({"canonical_node_id": f"{self._node}:bad:{number}"}, _FIRST_DETECTED)
        bodies: list[bytes | None] = [
            b"{not json %d" % number,
            b"\xff\xfe%d" % number,
            None,
            msgspec.json.encode(template | {"metric_value": None}),
            msgspec.json.encode(template | {"detected_at": "2026-03-01T00:00:00"}),
            msgspec.json.encode(template | {"domain": "Cheerfulness"}),
        ]
        headers = ((f"h{number}", None), ("bytes", b"\xff\xfe")) if number % 2 else ()
        return [self._remember_bad(ENGINE_SIGNALS.name, self._random.choice(bodies), headers)]

    def _remember_bad(
        self, topic: str, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()
    ) -> Outgoing:
        key = f"bad-{self._unique()}".encode()
        self.bad.add((key, value))
        return Outgoing(topic, key, value, headers, bad=True)

    def _known(self) -> _Entity:
        """One of the entities; the first few are chosen most often."""
        few = self._entities[:FACILITIES]
        return self._random.choice(few if self._random.random() < 0.6 else self._entities)

    def _detection(self, entity: _Entity, detected_at: datetime) -> Outgoing:
        if detected_at not in entity.detections:
            entity.detections.append(detected_at)
        entity.last = self._message(entity.fields, detected_at)
        return _signal(entity.last)

    def _message(self, fields: dict[str, Any], detected_at: datetime) -> dict[str, Any]:
        number = self._unique()
        return engine_signal(
            **fields,
            detected_at=detected_at.isoformat(),
            description=f"Finding {number}.",
            metric_value=round(0.1 + number / 10_000, 4),
            percentile_rank=float(self._random.choice((55, 80, 90, 96, 99.5))),
        )


def _signal(message: dict[str, Any] | None) -> Outgoing:
    if message is None:
        raise ValueError("there is no message")
    return Outgoing(ENGINE_SIGNALS.name, str(message["facility_id"]).encode(), msgspec.json.encode(message))


def entity_of(message: dict[str, Any]) -> Any:
    """The id of the entity that a message of the engine is about."""
    dimensions = message.get("entity_dimensions_hash") or dimensions_hash(message.get("entity_dimensions"))
    return entity_id(message["canonical_node_id"], message["metric_id"], message.get("facility_id"), dimensions)
