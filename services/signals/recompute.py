"""Command: classify stored signals again after thresholds (settings) or the metric registry changed.

    python -m services.signals.recompute
    python -m services.signals.recompute --metric losIndex

Restart the service with the new settings first: what it ingests meanwhile is classified by its own. Runs beside ingest
and beside others of its kind. Interrupted, the same command goes on where it was.
"""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from services.signals import repository_metrics, repository_recompute, repository_states, service_recompute
from services.signals.classification import ClassificationSettings
from services.signals.service_recompute import ALL_SIGNALS, BATCH_SIZE, Turn
from services.signals.settings import SignalsSettings
from shared import commands
from shared.db import SessionMaker
from shared.settings import load

_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 10.0


async def recompute(
    maker: SessionMaker,
    settings: ClassificationSettings,
    metric_id: str | None,
    report: Callable[[str], None],
    rows: int = BATCH_SIZE,
) -> None:
    """Classify all signals, or those of one metric, again; goes on with what was interrupted."""
    scope = ALL_SIGNALS if metric_id is None else service_recompute.scope_of(metric_id)

    async def begin() -> int:
        async with maker() as session, session.begin():
            metric = None if metric_id is None else await repository_metrics.one(session, metric_id)
            version = service_recompute.version_of(settings)
            if metric_id is not None:
                version = str(metric.event_sequence if metric else 0)
            job = await repository_recompute.lock(session, scope)
            if job is None or job.finished_at is not None or job.version != version:
                await repository_recompute.request(session, scope, metric_id, version)
            else:
                report(f"going on after {job.examined:,} signals")
            return sum(
                [
                    await repository_states.count(session, current=current, metric_id=metric_id)
                    for current in (True, False)
                ]
            )

    async def step() -> tuple[Turn, str]:
        async with maker() as session, session.begin():
            job = await repository_recompute.lock(session, scope)
            if job is None:
                raise RuntimeError(f"the recomputation {scope} was removed")
            outcome = await service_recompute.turn(session, job, settings, rows)
            await session.refresh(job)
            which = "history" if job.history else "current"
            return outcome, f"{which}: {job.examined:,} of {total:,} looked at, {job.changed:,} changed"

    total = await commands.persist(begin)
    told = monotonic()
    while True:
        outcome, progress = await commands.persist(step)
        if outcome is Turn.WAITING:
            if monotonic() - told > _PATIENCE_SECONDS:
                commands.say("waiting for transactions that began before, which may still classify by what was")
                told = monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        report(progress)
        if outcome is Turn.FINISHED:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services.signals.recompute",
        description="Classify stored signals again, after thresholds or the metric registry changed.",
    )
    parser.add_argument("--metric", metavar="ID", help="only signals of this metric")
    chosen = parser.parse_args(arguments)
    settings = load(SignalsSettings)

    async def work() -> int:
        async with commands.database(settings, "signals") as maker:
            await recompute(maker, settings.classification, chosen.metric, commands.tell)
        commands.tell("done")
        return 0

    return commands.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
