"""What is to be published: messages with their keys, and why others were left out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from deploy.demo.csv_source import read_csv
from deploy.demo.errors import InputError
from deploy.demo.figures import Figures
from deploy.demo.generated import FIRST_MONTH, MONTHS, generate
from deploy.demo.load import load
from deploy.demo.mapping import load_mapping
from deploy.demo.peers import find
from deploy.demo.signals import Message, message

_encode = msgspec.json.Encoder().encode


class Outgoing(NamedTuple):
    """One message, with what the summary counts it by. The key is the facility's id, or its name where it has none."""

    key: str
    value: bytes
    domain: str
    metric_id: str
    dimensions: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one run publishes. `month` is the last month of the figures, None where they are not known."""

    messages: Iterable[Outgoing]
    total: int
    month: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)


def from_generated(seed: int, as_of: int | None) -> Batch:
    """Signals of the generated figures."""
    return _from_figures(generate(seed), as_of)


def from_csv(path: Path, mapping: Path | None, as_of: int | None) -> Batch:
    """Signals of a CSV's figures; raises InputError for a file that is wrong anywhere."""
    return _from_figures(read_csv(path, load_mapping(mapping) if mapping else None), as_of)


def _from_figures(figures: Figures, as_of: int | None) -> Batch:
    month = figures.last_month if as_of is None else as_of
    found = find(figures, month)
    return Batch(
        messages=(_outgoing(message(finding)) for finding in found.findings),
        total=len(found.findings),
        month=month,
        left_out=Counter({str(reason): count for reason, count in found.left_out.items()}),
    )


def from_load(count: int, seed: int, as_of: int | None) -> Batch:
    """Signals of the load generator."""
    month = FIRST_MONTH + MONTHS - 1 if as_of is None else as_of
    return Batch(messages=map(_outgoing, load(count, seed, month)), total=count, month=month)


def _outgoing(signal: Message) -> Outgoing:
    return Outgoing(
        key=signal["facility_id"],
        value=_encode(signal),
        domain=signal["domain"],
        metric_id=signal["metric_id"],
        dimensions=_dimensions(signal.get("entity_dimensions")),
    )


def _dimensions(dimensions: dict[str, str] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (dimensions or {}).items()) or "total"


class _Line(msgspec.Struct):
    """The parts of a signal that publishing needs; the rest goes out as it stands."""

    facility: str
    domain: str
    metric_id: str
    facility_id: str | None = None
    entity_dimensions: dict[str, str] | None = None


def from_json_lines(path: Path) -> Batch:
    """The lines of a file as they stand; raises InputError for a line that is no signal, before any is published."""
    total = sum(1 for _ in _lines(path))
    if not total:
        raise InputError(f"{path}: there are no signals in the file")
    return Batch(messages=_lines(path), total=total)


def _lines(path: Path) -> Iterator[Outgoing]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if value := line.strip():
                    try:
                        signal = decoder.decode(value)
                    except (msgspec.DecodeError, UnicodeDecodeError) as error:
                        raise InputError(f"{path}, line {number}: no signal: {error}") from error
                    key = signal.facility_id or signal.facility
                    dimensions = _dimensions(signal.entity_dimensions)
                    yield Outgoing(key, value, signal.domain, signal.metric_id, dimensions)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
