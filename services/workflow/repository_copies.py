"""SQL of this service's own copies of signals and users, a batch at a time."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow.models import KnownSignal
from shared.events.auth import UserState
from shared.events.signals import SignalState


class Standing(NamedTuple):
    """Where a detection stands among those of its entity."""

    signal_id: UUID
    entity_id: UUID
    detected_at: datetime
    is_current: bool
    was_current: bool
    sequence: int


_STANDING = (
    KnownSignal.signal_id,
    KnownSignal.entity_id,
    KnownSignal.detected_at,
    KnownSignal.is_current,
    KnownSignal.was_current,
    KnownSignal.sequence,
)


async def lock_current(session: AsyncSession, entity_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """The current detection of each entity that has one here, locked: its assignment stays as it is until the end."""
    query = (
        select(*_STANDING)
        .where(KnownSignal.entity_id.in_(entity_ids), KnownSignal.is_current)
        .order_by(KnownSignal.signal_id)
        .with_for_update()
    )
    return {row.entity_id: Standing(*row) for row in await session.execute(query)}


async def standings(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Those of the detections that are known."""
    query = select(*_STANDING).where(KnownSignal.signal_id.in_(signal_ids))
    return {row.signal_id: Standing(*row) for row in await session.execute(query)}


async def signals(session: AsyncSession, signal_ids: Collection[UUID]) -> dict[UUID, KnownSignal]:
    """Known signals by id, as they are stored now."""
    query = select(KnownSignal).where(KnownSignal.signal_id.in_(signal_ids)).execution_options(populate_existing=True)
    return {signal.signal_id: signal for signal in (await session.execute(query)).scalars()}


async def demote(session: AsyncSession, signal_ids: Collection[UUID]) -> None:
    """Make detections superseded. Comes before the newer ones are stored, since an entity has one current at most."""
    await session.execute(
        update(KnownSignal)
        .where(KnownSignal.signal_id.in_(signal_ids))
        .values(is_current=False)
        .execution_options(synchronize_session=False)
    )


_SET_STANDING = text(
    """
    UPDATE known_signals SET is_current = standing.is_current, was_current = standing.was_current
    FROM unnest(CAST(:signal_id AS uuid[]), CAST(:is_current AS boolean[]), CAST(:was_current AS boolean[]))
        AS standing (signal_id, is_current, was_current)
    WHERE known_signals.signal_id = standing.signal_id
    """
)


async def set_standing(session: AsyncSession, changed: Sequence[Standing]) -> None:
    """Store only where detections stand, not what is known of them."""
    await session.execute(
        _SET_STANDING,
        {
            "signal_id": [standing.signal_id for standing in changed],
            "is_current": [standing.is_current for standing in changed],
            "was_current": [standing.was_current for standing in changed],
        },
    )


_STORE_SIGNALS = text(
    """
    INSERT INTO known_signals (
        signal_id, entity_id, detected_at, is_current, was_current, sequence, metric_id, domain, facility, facility_id,
        system_name, service_line, sub_service_line, group_value, description, metric_value, peer_mean, polarity,
        signal_type, severity, magnitude_tier
    )
    SELECT
        signal_id, entity_id, detected_at, is_current, was_current, sequence, metric_id, CAST(domain AS signal_domain),
        facility, facility_id, system_name, service_line, sub_service_line, group_value, description, metric_value,
        peer_mean, CAST(polarity AS metric_polarity), signal_type, severity, CAST(magnitude_tier AS magnitude_tier)
    FROM unnest(
        CAST(:signal_id AS uuid[]), CAST(:entity_id AS uuid[]), CAST(:detected_at AS timestamptz[]),
        CAST(:is_current AS boolean[]), CAST(:was_current AS boolean[]), CAST(:sequence AS integer[]),
        CAST(:metric_id AS text[]), CAST(:domain AS text[]), CAST(:facility AS text[]), CAST(:facility_id AS text[]),
        CAST(:system_name AS text[]), CAST(:service_line AS text[]), CAST(:sub_service_line AS text[]),
        CAST(:group_value AS text[]), CAST(:description AS text[]), CAST(:metric_value AS float8[]),
        CAST(:peer_mean AS float8[]), CAST(:polarity AS text[]), CAST(:signal_type AS text[]),
        CAST(:severity AS integer[]), CAST(:magnitude_tier AS text[])
    ) AS heard (
        signal_id, entity_id, detected_at, is_current, was_current, sequence, metric_id, domain, facility, facility_id,
        system_name, service_line, sub_service_line, group_value, description, metric_value, peer_mean, polarity,
        signal_type, severity, magnitude_tier
    )
    ON CONFLICT (signal_id) DO UPDATE SET
        is_current = excluded.is_current, was_current = excluded.was_current, sequence = excluded.sequence,
        metric_id = excluded.metric_id, domain = excluded.domain, facility = excluded.facility,
        facility_id = excluded.facility_id, system_name = excluded.system_name, service_line = excluded.service_line,
        sub_service_line = excluded.sub_service_line, group_value = excluded.group_value,
        description = excluded.description, metric_value = excluded.metric_value, peer_mean = excluded.peer_mean,
        polarity = excluded.polarity, signal_type = excluded.signal_type, severity = excluded.severity,
        magnitude_tier = excluded.magnitude_tier
    """
)


async def store_signals(session: AsyncSession, heard: Sequence[tuple[SignalState, Standing]]) -> None:
    """Store what was heard of each signal, once per signal, replacing what was known."""
    states = [state for state, _ in heard]
    standings_ = [standing for _, standing in heard]
    await session.execute(
        _STORE_SIGNALS,
        {
            "signal_id": [state.signal_id for state in states],
            "entity_id": [state.entity_id for state in states],
            "detected_at": [state.detected_at for state in states],
            "is_current": [standing.is_current for standing in standings_],
            "was_current": [standing.was_current for standing in standings_],
            "sequence": [standing.sequence for standing in standings_],
            "metric_id": [state.metric_id for state in states],
            "domain": [state.domain for state in states],
            "facility": [state.facility for state in states],
            "facility_id": [state.facility_id for state in states],
            "system_name": [state.system_name for state in states],
            "service_line": [state.service_line for state in states],
            "sub_service_line": [state.sub_service_line for state in states],
            "group_value": [state.group_value for state in states],
            "description": [state.description for state in states],
            "metric_value": [state.metric_value for state in states],
            "peer_mean": [state.peer_mean for state in states],
            "polarity": [state.polarity for state in states],
            "signal_type": [state.simplified_signal_type for state in states],
            "severity": [state.simplified_severity for state in states],
            "magnitude_tier": [state.magnitude_tier for state in states],
        },
    )


# A snapshot has the number of the last event, and is right where they differ: after a restore.
_STORE_USERS = text(
    """
    INSERT INTO known_users AS known (user_id, name, role, is_active, sequence)
    SELECT user_id, name, CAST(role AS user_role), is_active, sequence
    FROM unnest(
        CAST(:user_id AS uuid[]), CAST(:name AS text[]), CAST(:role AS text[]), CAST(:is_active AS boolean[]),
        CAST(:sequence AS integer[])
    ) AS heard (user_id, name, role, is_active, sequence)
    ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET
        name = excluded.name, role = excluded.role, is_active = excluded.is_active, sequence = excluded.sequence
    WHERE known.sequence <= excluded.sequence
    """
)


async def store_users(session: AsyncSession, heard: Mapping[UUID, tuple[int, UserState]]) -> None:
    """Store users with the sequence of the event that told of them, unless a later one is known."""
    users = list(heard.values())
    await session.execute(
        _STORE_USERS,
        {
            "user_id": [user.user_id for _, user in users],
            "name": [user.name for _, user in users],
            "role": [user.role for _, user in users],
            "is_active": [user.is_active for _, user in users],
            "sequence": [sequence for sequence, _ in users],
        },
    )
