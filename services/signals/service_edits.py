"""The texts of a signal in a user's words."""

from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository, repository_archive, repository_ingest
from services.signals.schemas import SignalEdit
from services.signals.service_content import state_of
from services.signals.service_summaries import edited
from shared import outbox
from shared.auth import User
from shared.errors import FieldProblem, InvalidError, NotFoundError
from shared.events.signals import SIGNAL_CORRECTED, SignalChanged
from shared.preconditions import Precondition


async def edit(
    session: AsyncSession, user: User, signal_id: UUID, change: SignalEdit, if_match: Precondition | None
) -> tuple[str, str]:
    """Store what differs, tell of it, and answer the signal's JSON with its tag.

    A detection that is in the archive comes back for it, until the retention moves it again.

    Raises:
        InvalidError: for a change that names nothing, or a description of null.
        NotFoundError: without the signal.
        PreconditionFailedError: where it is not the version that the user saw.
    """
    wanted = change.model_dump(include=change.model_fields_set)
    if not wanted or wanted.get("description", "") is None:
        detail = "Name a description, which cannot be null, or a why_matters_narrative."
        raise InvalidError(detail, errors=[FieldProblem(pointer="/body", detail=detail)])
    row = await repository_ingest.locked(session, signal_id)
    if row is None:
        await repository_archive.restore(session, [signal_id])
        row = await repository_ingest.locked(session, signal_id)
    present = await repository.detail(session, signal_id)
    if row is None or row.content is None or present is None:
        raise NotFoundError("There is no signal with this id.")
    if if_match is not None:
        if_match.require(present[1])
    changed = [name for name, value in wanted.items() if getattr(row.content, name) != value]
    if not changed:
        return present
    row.content = msgspec.structs.replace(row.content, **wanted)
    row.event_sequence += 1
    await repository_ingest.write_texts(session, row, changed, user.id)
    metrics = await repository_ingest.metrics(session, [row.content.metric_id])
    await outbox.publish(
        session,
        outbox.Event(
            type=SIGNAL_CORRECTED,
            subject=row.signal_id,
            key=row.entity_id,
            sequence=row.event_sequence,
            actor_id=user.id,
            summary=edited(row.content, metrics.get(row.content.metric_id), changed, user.name),
            data=SignalChanged(
                signal=state_of(
                    row.content,
                    signal_id=row.signal_id,
                    entity_id=row.entity_id,
                    previous_signal_id=row.previous_signal_id,
                    is_current=row.is_current,
                    detected_at=row.detected_at,
                ),
                changed=changed,
            ),
        ),
    )
    after = await repository.detail(session, signal_id)
    if after is None:
        raise NotFoundError("There is no signal with this id.")
    return after
