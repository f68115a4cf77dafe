"""One seed from its start to its verdict."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import asyncpg
import msgspec

from deploy.local.processes import PROJECT_ROOT
from deploy.local.service import module_command
from tests.faults.engine import EngineLoad
from tests.faults.injection import Injector
from tests.faults.journal import Journal, ended
from tests.faults.load import Engine, Leader
from tests.faults.mutations import SQL, Mutation
from tests.faults.oracles import judge
from tests.faults.quiescence import RestlessError, rest
from tests.faults.reader import Reader
from tests.faults.results import PLACE, Result
from tests.faults.schedule import LOAD_SECONDS, Fault, schedule
from tests.faults.stack import FaultyStack, copy_state, mutated_command, remove_state
from tests.support.observation import EVENT_TOPICS, Observation, Places, observe
from tests.support.stack import free_settings

_LEADERS: Final = ("admin", "clinical", "nursing", "administration")
_READERS: Final = ("nursing", "nursing", "clinical")
_MESSAGES_EVERY_SECONDS: Final = 0.08
_WRITES_EVERY_SECONDS: Final = 0.1
_MARKS_EVERY_SECONDS: Final = 0.3
_PEACE_SECONDS: Final = 2.0
_REST_SECONDS: Final = 120.0
_SLOWEST_COMMAND_SECONDS: Final = 60.0


class Notes:
    """What the harness did and when, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = monotonic()

    def __call__(self, text: str) -> None:
        """Add a line."""
        with self._path.open("a") as file:
            file.write(f"{monotonic() - self._began:7.2f}  {text}\n")


async def run(
    seed: int, prepared: Path, mutation: Mutation | None = None, faults: Sequence[Fault] | None = None
) -> Result:
    """Run a seed on a copy of the prepared state. What a red one leaves is in `results.PLACE`."""
    began = monotonic()
    faults = schedule(seed) if faults is None else faults
    folder = Path(tempfile.mkdtemp(prefix=f"compass-faults-{seed}-"))
    notes = Notes(folder / "harness.log")
    try:
        small_disks = copy_state(prepared, folder)
        stack = FaultyStack(free_settings(folder), mutated_command(mutation) if mutation else module_command)
        journal, seen, left_out, complaints = Journal(), Observation(), [str(fault) for fault in faults], list[str]()
        missed: list[str] = []
        try:
            await stack.start_copy(notes)
            await _break(stack, mutation)
            notes("started")
            injector = Injector(stack, small_disks=small_disks, note=notes)
            left_out = [str(fault) for fault in faults if fault.kind in injector.left_out]
            seen, complaints = await _rehearse(seed, stack, injector, faults, journal, notes)
            missed = [str(fault) for fault in injector.missed]
        finally:
            await stack.stop_all()
            notes("stopped")
        result = Result(
            seed=seed,
            mutation=mutation,
            faults=[str(fault) for fault in faults],
            left_out=left_out,
            missed=missed,
            messages=len(journal.acknowledged),
            writes=ended(journal.writes),
            marks=ended(journal.marks),
            events=len(seen.records(*EVENT_TOPICS)),
            seconds=round(monotonic() - began, 1),
            complaints=complaints,
        )
        if not result.is_green:
            _keep(folder, result, journal, seen)
        return result
    except BaseException:
        _keep_logs(folder, _place(seed, mutation))
        raise
    finally:
        remove_state(folder)


async def _rehearse(
    seed: int, stack: FaultyStack, injector: Injector, faults: Sequence[Fault], journal: Journal, notes: Notes
) -> tuple[Observation, list[str]]:
    """Load and faults at once, then rest, a little peace, rest again, and the verdict."""
    load = EngineLoad(seed, f"faults:{seed}")
    journal.bad = load.bad
    engine = Engine(stack.kafka.bootstrap_servers, load, journal)
    supervision = asyncio.create_task(stack.supervise())
    restless: list[str] = []
    calm: Places = {}
    try:
        async with asyncio.TaskGroup() as at_once:
            at_once.create_task(engine.run(LOAD_SECONDS, _MESSAGES_EVERY_SECONDS))
            at_once.create_task(injector.run(faults))
            for name in _LEADERS:
                leader = Leader(seed, name, stack.gateway_url, load, journal)
                at_once.create_task(leader.run(LOAD_SECONDS, _WRITES_EVERY_SECONDS))
            for window, name in enumerate(_READERS):
                reader = Reader(seed, window, name, stack.gateway_url, journal)
                at_once.create_task(reader.run(LOAD_SECONDS, _MARKS_EVERY_SECONDS))
        notes(f"the load is over: {len(journal.acknowledged)} messages, answers {journal.statuses}")
        try:
            calm = await rest(stack, _REST_SECONDS)
            notes("at rest")
            await engine.run(_PEACE_SECONDS, _MESSAGES_EVERY_SECONDS)
            await rest(stack, _REST_SECONDS)
        except RestlessError as error:
            restless = [str(error)]
        notes("looking at everything")
        seen = await observe(stack.postgres.admin_url, stack.kafka.bootstrap_servers)
        seen.calm = calm
        seen.verified = await asyncio.to_thread(_complaint_of, "activity", "verify", stack)
        seen.recounted = await asyncio.to_thread(_complaint_of, "signals", "recount", stack)
    finally:
        supervision.cancel()
        with suppress(asyncio.CancelledError):
            await supervision
    return seen, restless + judge(seen, journal)


async def _break(stack: FaultyStack, mutation: Mutation | None) -> None:
    """What of a mutation is in the database."""
    statements = SQL.get(mutation, ()) if mutation else ()
    connection = await asyncpg.connect(stack.postgres.admin_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _complaint_of(service: str, command: str, stack: FaultyStack) -> str | None:
    """What a command for operators says where it is not content."""
    ran = subprocess.run(
        [sys.executable, "-m", f"services.{service}.{command}"],
        env=stack.service_environment(service),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=_SLOWEST_COMMAND_SECONDS,
        check=False,
    )
    return None if ran.returncode == 0 else (ran.stdout + ran.stderr).strip()[-1000:]


def _place(seed: int, mutation: Mutation | None) -> Path:
    return PLACE / (f"seed-{seed}" if mutation is None else f"{mutation}-{seed}")


def _keep(folder: Path, result: Result, journal: Journal, seen: Observation) -> None:
    place = _keep_logs(folder, _place(result.seed, Mutation(result.mutation) if result.mutation else None))
    for name, content in (("result", result), ("journal", journal), ("observation", seen)):
        (place / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(content, enc_hook=_plain)))


def _plain(value: object) -> object:
    """Tuples as keys and what else JSON has no form for."""
    return repr(value)


def _keep_logs(folder: Path, place: Path) -> Path:
    """Every log of every process, and the harness's own."""
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    for log in (*folder.glob("*.log"), *folder.glob("logs/*"), *folder.glob("second-*/logs/*")):
        kept = place / log.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
    return place


def allow_everything() -> None:
    """Take the gateway's limits of rate away: all people of a run come from one address."""
    from tests.support.stack import UNLIMITED  # pytest's fixtures come with it

    os.environ.update(UNLIMITED)
