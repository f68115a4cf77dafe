"""Command: publish the present state of all metrics and current signals, for a consumer that came late.

    python -m services.signals.snapshot
    python -m services.signals.snapshot --part history

The service has to run: it relays what this puts into the outbox. Current signals come before history, so that whoever
hears of an entity for the first time hears of its present first. The archive is not published.
"""

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals import repository_metrics, repository_states, service_metrics
from services.signals.repository_states import StoredSignal
from services.signals.settings import SignalsSettings
from shared.events.signals import SIGNAL_SNAPSHOT, SignalChanged
from shared.outbox import Event
from shared.snapshots import Count, Page, Part, ReadPage, main


async def _read_metrics(session: AsyncSession, after: str | None, rows: int) -> Page:
    found = await repository_metrics.page(session, after, rows)
    snapshots = [service_metrics.snapshot(metric) for metric in found]
    return Page(snapshots, found[-1].metric_id if len(found) == rows else None)


def _signals(*, current: bool) -> tuple[ReadPage, Count]:
    async def read(session: AsyncSession, after: str | None, rows: int) -> Page:
        found = await repository_states.page(session, current=current, after=UUID(after) if after else None, rows=rows)
        return Page(
            [signal_snapshot(signal) for signal in found], str(found[-1].signal_id) if len(found) == rows else None
        )

    async def count(session: AsyncSession) -> int:
        return await repository_states.count(session, current=current)

    return read, count


def signal_snapshot(signal: StoredSignal) -> Event:
    """The present state of a detection."""
    return Event(
        type=SIGNAL_SNAPSHOT,
        subject=signal.signal_id,
        key=signal.entity_id,
        sequence=signal.event_sequence,
        data=SignalChanged(signal=signal.state()),
    )


PARTS: Final = (
    Part("metrics", _read_metrics, repository_metrics.count),
    Part("signals", *_signals(current=True)),
    Part("history", *_signals(current=False), optional=True),
)

if __name__ == "__main__":
    raise SystemExit(main("signals", SignalsSettings, PARTS))
