"""Down and up along the dimensions: children, the parent, and what each child adds to the parent's excess."""

from collections.abc import Awaitable, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from services.signals import repository
from services.signals.repository import Row
from services.signals.schemas_details import Contribution, Contributions
from shared.db import AnySession
from shared.errors import NotFoundError

_MOST_CHILDREN: Final = 1000
_QUANTUM: Final = Decimal("0.0001")  # what the figures themselves are rounded to


async def relatives(session: AnySession, signal_id: UUID, found: Awaitable[Sequence[Row]]) -> bytes:
    """The JSON of `Relatives`.

    Raises:
        NotFoundError: without the signal.
    """
    rows = await found
    if not rows:
        await _require(session, signal_id)
    return f'{{"signals":[{",".join(row.item for row in rows)}]}}'.encode()


async def parent(session: AnySession, signal_id: UUID) -> bytes:
    """The JSON of `ParentView`.

    Raises:
        NotFoundError: without the signal.
    """
    row = await repository.parent(session, signal_id)
    if row is None:
        await _require(session, signal_id)
    return f'{{"signal":{row.item if row else "null"}}}'.encode()


async def contributions(session: AnySession, signal_id: UUID) -> Contributions:
    """The parent's excess by its children: the child's share of the encounters times its own distance.

    A child without encounters has no share. Figures are rounded like the values; what that leaves is unexplained.

    Raises:
        NotFoundError: without the signal.
    """
    found = await repository.fields(session, signal_id, ("metric_value", "peer_mean"))
    if found is None:
        raise NotFoundError("There is no signal with this id.")
    if found["peer_mean"] is None:
        return Contributions(signal_id=signal_id, excess=None, contributions=[], unexplained=None)
    mean = _decimal(found["peer_mean"])
    excess = _decimal(found["metric_value"]) - mean
    rows = await repository.children(session, signal_id, _MOST_CHILDREN)
    children: list[dict[str, Any]] = [msgspec.json.decode(row.item) for row in rows]
    total = sum(child["encounters"] or 0 for child in children)
    parts = []
    explained = Decimal(0)
    for child in children:
        share = Decimal(child["encounters"] or 0) / total if total else Decimal(0)
        part = (share * (_decimal(child["metric_value"]) - mean)).quantize(_QUANTUM)
        explained += part
        parts.append(
            Contribution(
                signal_id=child["id"],
                group_value=child["group_value"],
                entity_dimensions=child["entity_dimensions"] or {},
                encounters=child["encounters"],
                share=float(share),
                contribution=float(part),
            )
        )
    parts.sort(key=lambda part: -part.contribution)
    return Contributions(
        signal_id=signal_id, excess=float(excess), contributions=parts, unexplained=float(excess - explained)
    )


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


async def _require(session: AnySession, signal_id: UUID) -> None:
    if not await repository.exists(session, signal_id):
        raise NotFoundError("There is no signal with this id.")
