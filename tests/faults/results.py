"""What became of each seed: one line of JSON each, outside git, and a table for people."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

PLACE: Final = Path(__file__).resolve().parents[2] / "build" / "faults"
"""Where results are kept, and the logs of seeds that went red."""

_LINES: Final = PLACE / "results.jsonl"


class Result(Struct, frozen=True, kw_only=True):
    """One run of one seed."""

    seed: int
    mutation: str | None
    faults: list[str]
    left_out: list[str]
    """Faults of the schedule that this machine does not allow."""
    messages: int
    """How many messages of the engine Kafka acknowledged."""
    writes: dict[str, int]
    """How the writes of people ended."""
    events: int
    """How many events the services told."""
    seconds: float
    complaints: list[str]

    @property
    def is_green(self) -> bool:
        """Whether all that was promised was true."""
        return not self.complaints


def keep(result: Result) -> None:
    """Add a result to the file."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with _LINES.open("ab") as lines:
        lines.write(msgspec.json.encode(result) + b"\n")


def kept() -> dict[tuple[int, str | None], Result]:
    """The last result of each seed and mutation. A line that a crash cut off is no result."""
    if not _LINES.exists():
        return {}
    results = {}
    for line in _LINES.read_bytes().splitlines():
        try:
            result = msgspec.json.decode(line, type=Result)
        except msgspec.DecodeError:
            continue
        results[result.seed, result.mutation] = result
    return results


def table(results: Iterable[Result]) -> str:
    """A line for each seed, with its faults; complaints below it."""
    lines = []
    for result in sorted(results, key=lambda one: (one.mutation or "", one.seed)):
        verdict = "green" if result.is_green else "RED"
        counts = f"{result.messages} messages, {result.writes.get('done', 0)} writes, {result.events} events"
        faults = "; ".join(fault for fault in result.faults if fault not in result.left_out)
        broken = f"({result.mutation})  " if result.mutation else ""
        lines.append(f"{result.seed:>5}  {verdict:<5}  {result.seconds:>4.0f} s  {counts}  {broken}{faults}")
        lines += [f"{'':>7}left out: {fault}" for fault in result.left_out]
        lines += [f"{'':>7}{complaint}" for complaint in result.complaints]
    return "\n".join(lines)
