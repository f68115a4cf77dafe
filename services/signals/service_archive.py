"""What the archive of old history means for ingest: a detection that is in it is known, not new."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_archive
from services.signals.service_content import Past
from services.signals.service_validation import Identity


async def recall(session: AsyncSession, identities: Sequence[Identity], past: Past) -> None:
    """Complete what is known of a batch by the detections that are in the archive.

    Only what is older than its entity's current detection can be there, so that nothing is asked for a batch of new
    ones. The same message again leaves a row in the archive; another one brings it back to be corrected.
    """
    late = {
        identity.signal_id
        for identity in identities
        if identity.signal_id not in past.rows
        and (current := past.currents.get(identity.entity_id)) is not None
        and identity.detected_at < current.detected_at
    }
    if not late:
        return
    archived = await repository_archive.find(session, late)
    changed = {
        identity.signal_id
        for identity in identities
        if (row := archived.get(identity.signal_id)) is not None and row.digest != identity.digest
    }
    if changed:
        await repository_archive.restore(session, changed)
    past.rows.update(archived)
