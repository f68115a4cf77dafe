"""The command of every service that keeps dead letters: list, show and replay them, without the service's API.

python -m services.workflow.dead_letters list --code future_version
python -m services.workflow.dead_letters show ID
python -m services.workflow.dead_letters replay --topic compass.signals.v1 --from 2026-07-01T00:00:00Z
python -m services.workflow.dead_letters replay ID ID
"""

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from shared import commands, dead_letters_reading, dead_letters_replay
from shared.db import SessionMaker
from shared.dead_letters_reading import DeadLetter, DeadLetterFilters, readable
from shared.dead_letters_replay import Replay
from shared.settings import ServiceSettings, load

_ROWS_AT_ONCE: Final = 500


def main(service: str, settings_class: type[ServiceSettings], arguments: Sequence[str] | None = None) -> int:
    """The command of a service; answers the exit status."""
    parser = _parser(service)
    chosen = parser.parse_args(arguments)
    if chosen.action == "replay" and bool(chosen.ids) == bool(_filters(chosen).conditions()):
        parser.error("replay: name either ids or what to replay by (--topic, --code, --group, --from, --to)")
    settings = load(settings_class)

    async def work() -> int:
        async with commands.database(settings, service) as maker:
            if chosen.action == "list":
                return await _list(maker, _filters(chosen))
            if chosen.action == "show":
                return await _show(maker, chosen.id)
            return await _replay(maker, chosen.ids, _filters(chosen))

    return commands.run(work())


def _parser(service: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}.dead_letters",
        description=f"Messages that the {service} service could not process.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    filters = argparse.ArgumentParser(add_help=False)
    for option, name, what in (
        ("--topic", "topics", "stood on this topic"),
        ("--code", "codes", "rejected for this reason, for example future_version"),
        ("--group", "consumer_groups", "rejected by this consumer group"),
    ):
        filters.add_argument(
            option, dest=name, action="append", default=[], help=f"{what}; several times for any of them"
        )
    filters.add_argument(
        "--from", dest="rejected_from", type=commands.moment, help="rejected at this time (RFC 3339) or later"
    )
    filters.add_argument("--to", dest="rejected_to", type=commands.moment, help="rejected before this time (RFC 3339)")

    listing = actions.add_parser("list", parents=[filters], help="one line for each, latest first")
    listing.add_argument(
        "--replayed", action=argparse.BooleanOptionalAction, help="only those that were replayed, or were not"
    )
    showing = actions.add_parser("show", help="one of them, whole")
    showing.add_argument("id", type=UUID)
    replaying = actions.add_parser(
        "replay", parents=[filters], help="put messages on their topic again; those replayed before are left alone"
    )
    replaying.add_argument("ids", nargs="*", type=UUID, metavar="ID")
    return parser


def _filters(chosen: argparse.Namespace) -> DeadLetterFilters:
    return DeadLetterFilters(
        chosen.topics,
        chosen.codes,
        chosen.consumer_groups,
        chosen.rejected_from,
        chosen.rejected_to,
        getattr(chosen, "replayed", None),
    )


async def _list(maker: SessionMaker, filters: DeadLetterFilters) -> int:
    after: tuple[datetime, UUID] | None = None
    while True:
        async with maker() as session:
            rows = await dead_letters_reading.page(session, filters, after, _ROWS_AT_ONCE)
        for row in rows:
            commands.tell(_line(row))
        if len(rows) < _ROWS_AT_ONCE:
            return 0
        after = (rows[-1].rejected_at, rows[-1].id)


def _line(row: DeadLetter) -> str:
    state = f"replayed {row.replayed_at:%Y-%m-%dT%H:%M:%SZ}" if row.replayed_at else "not replayed"
    place = f"{row.topic}/{row.partition}/{row.offset}"
    return f"{row.id}  {row.rejected_at:%Y-%m-%dT%H:%M:%SZ}  {row.consumer_group}  {place}  {row.code}  {state}"


async def _show(maker: SessionMaker, letter_id: UUID) -> int:
    async with maker() as session:
        row = await dead_letters_reading.one(session, letter_id)
    if row is None:
        commands.say("There is no dead letter with this id.")
        return 1
    commands.tell(_line(row))
    commands.tell(f"reason: {row.detail}")
    commands.tell(f"appended: {row.appended_at.isoformat()}")
    for name, header in row.headers:
        commands.tell(f"header {name}: {_shown(header)}")
    commands.tell(f"key: {_shown(row.key)}")
    commands.tell(f"value, {row.size:,} bytes: {_shown(row.value)}")
    return 0


def _shown(content: bytes | None) -> str:
    found = readable(content)
    if found is None:
        return "(none)"
    encoding, text = found
    return text if encoding == "utf-8" else f"({encoding}) {text}"


async def _replay(maker: SessionMaker, ids: Sequence[UUID], filters: DeadLetterFilters) -> int:
    """Transaction after transaction, each told once it is committed: an interrupted replay is simply begun again."""

    async def step() -> Replay:
        async with maker() as session, session.begin():
            if ids:
                return await dead_letters_replay.replay_ids(session, ids)
            return await dead_letters_replay.replay_matching(session, filters)

    total, passed_over = 0, 0
    first = True
    while True:
        outcome = await commands.persist(step)
        total += len(outcome.replayed)
        for letter in outcome.replayed:
            commands.tell(f"{letter.id}  {letter.topic}/{letter.partition}/{letter.offset} for {letter.consumer_group}")
        if first:
            for unknown in outcome.unknown:
                commands.say(f"{unknown}: there is no dead letter with this id")
            for already in outcome.already_replayed:
                commands.say(f"{already}: was replayed before")
            for refused, reason in outcome.refused.items():
                commands.say(f"{refused}: {reason}")
            passed_over = len(outcome.unknown) + len(outcome.refused)
        first = False
        if not outcome.has_more:
            commands.tell(f"{total:,} dead letters replayed")
            return 1 if passed_over else 0
