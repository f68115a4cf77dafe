"""What became of each seed: one line of JSON each, outside git, and a table for people."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

PLACE: Final = Path(__file__).resolve().parents[2] / "build" / "faults"
"""Where results are kept, and the logs of seeds that went red."""

_LEAST: Final = 50
_LEAST_DONE: Final = 5
_SEVERAL: Final = 5

_LINES: Final = PLACE / "results.jsonl"


class Result(Struct, frozen=True, kw_only=True):
    """One run of one seed."""

    seed: int
    mutation: str | None
    faults: list[str]
    left_out: list[str]
    """Faults of the schedule that this machine does not allow."""
    missed: list[str] = []
    """Faults that met nothing: the process was down already, or nobody could join."""
    messages: int
    """How many messages of the engine Kafka acknowledged."""
    writes: dict[str, int]
    """How the writes of people ended."""
    marks: dict[str, int]
    """How the marking as read of readers ended."""
    events: int
    """How many events the services told."""
    seconds: float
    complaints: list[str]

    @property
    def brought(self) -> list[str]:
        """The faults that something met."""
        return [fault for fault in self.faults if fault not in self.left_out and fault not in self.missed]

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


def idleness(results: Sequence[Result]) -> list[str]:
    """What there was too little of: where nobody asks and nothing breaks, everything holds.

    One seed may hit those who would let people in. Of several, what people did is looked at all together.
    """
    found = [
        f"seed {result.seed} had {result.messages} messages and {result.events} events, {_LEAST} at least"
        for result in results
        if min(result.messages, result.events) < _LEAST
    ]
    if len(results) >= _SEVERAL:
        for name, asked in (("writes", [one.writes for one in results]), ("marks", [one.marks for one in results])):
            done = sum(each.get("done", 0) for each in asked) / len(results)
            if done < _LEAST_DONE:
                found.append(f"{done:.1f} {name} of people were done in a seed, {_LEAST_DONE} at least")
        brought = sum(len(result.brought) for result in results)
        if brought < sum(len(result.faults) for result in results) / 2:
            found.append(f"only {brought} faults were brought")
    return found


def table(results: Iterable[Result]) -> str:
    """A line for each seed, with its faults; complaints below it."""
    lines = []
    for result in sorted(results, key=lambda one: (one.mutation or "", one.seed)):
        verdict = "green" if result.is_green else "RED"
        counts = _counts([result])
        broken = f"({result.mutation})  " if result.mutation else ""
        lines.append(
            f"{result.seed:>5}  {verdict:<5}  {result.seconds:>4.0f} s  {counts}  {broken}{'; '.join(result.brought)}"
        )
        lines += [f"{'':>7}left out: {fault}" for fault in result.left_out]
        lines += [f"{'':>7}missed: {fault}" for fault in result.missed]
        lines += [f"{'':>7}{complaint}" for complaint in result.complaints]
    return "\n".join(lines)


def totals(results: Sequence[Result]) -> str:
    """All of them together, and how many faults of each kind were brought."""
    green = sum(result.is_green for result in results)
    kinds = Counter(fault.split()[1] for result in results for fault in result.brought)
    by_kind = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return f"{len(results)} seeds, {green} green: {_counts(results)}\n{kinds.total()} faults: {by_kind}"


def _counts(results: Iterable[Result]) -> str:
    """What there was to go wrong; of what people asked for, what was answered with success."""
    sums = Counter[str]()
    for result in results:
        sums += Counter(messages=result.messages, events=result.events)
        sums += Counter(writes=result.writes.get("done", 0), marks=result.marks.get("done", 0))
    return ", ".join(f"{sums[name]} {name}" for name in ("messages", "writes", "marks", "events"))
