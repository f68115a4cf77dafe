"""Monthly figures from a CSV file.

Nothing is guessed and nothing is passed over: a file that is wrong anywhere is refused with the line and the column.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from deploy.demo.errors import InputError
from deploy.demo.figures import Cases, Dimensions, Entity, Facility, Figures
from deploy.demo.mapping import Mapping, own_mapping_for
from deploy.demo.months import month_from_text

_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def read_csv(path: Path, mapping: Mapping | None = None) -> Figures:
    """Read a CSV with a header line, in UTF-8 (with or without BOM), whatever its line ends and common delimiter.

    Without a mapping the one that comes with the demo engine and fits the header is taken. Raises InputError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8") from error
    rows = _rows(text, path)
    _, header = next(rows, (1, []))
    if not header:
        raise InputError(f"{path}: the file is empty")
    mapping = mapping or own_mapping_for(header, path)
    return _Reader(path, header, mapping).read(rows)


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number (of the row's last line) and stripped cells of every row that is not blank."""
    first_line = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from error


class _Reader:
    def __init__(self, path: Path, header: Sequence[str], mapping: Mapping) -> None:
        for column in mapping.used_columns():
            if header.count(column) != 1:
                problem = "missing" if column not in header else "there more than once"
                raise InputError(f"{path}, line 1: column {column} is {problem}")
        self._path = path
        self._width = len(header)
        self._index = {column: header.index(column) for column in mapping.used_columns()}
        self._columns = mapping.columns
        self._dimensions = mapping.dimensions
        self._is_share = mapping.measure.is_share
        self._measure = mapping.as_measure()

    def read(self, rows: Iterator[tuple[int, list[str]]]) -> Figures:
        slices: dict[tuple[str, Dimensions], dict[int, Cases]] = defaultdict(dict)
        names: dict[str, tuple[int, str, str]] = {}
        lines: dict[tuple[str, Dimensions, int], int] = {}
        for line, row in rows:
            if len(row) != self._width:
                raise InputError(f"{self._path}, line {line}: {len(row)} columns where the header has {self._width}")
            month, facility_id = self._month(line, row), self._text(line, row, self._columns.facility_id, longest=50)
            dimensions = tuple((name, self._text(line, row, column)) for name, column in self._dimensions.items())
            earlier = lines.setdefault((facility_id, dimensions, month), line)
            if earlier != line:
                what = " ".join(
                    [row[self._index[self._columns.month]], facility_id, *(value for _, value in dimensions)]
                )
                raise self._error(line, self._columns.month, f"{what} is already in line {earlier}")
            slices[facility_id, dimensions][month] = self._cases(line, row)
            names[facility_id] = max(names.get(facility_id, (0, "", "")), (month, *self._names(line, row)))
        if not slices:
            raise InputError(f"{self._path}: there are no rows below the header")
        # A facility that was renamed goes by its latest name, wherever in the file that stands.
        facilities = {key: Facility(key, name, system or None) for key, (_, name, system) in names.items()}
        figures = Figures()
        for (facility_id, dimensions), months in slices.items():
            figures.by_entity[Entity(self._measure, facilities[facility_id], dimensions)] = months
        return figures

    def _names(self, line: int, row: Sequence[str]) -> tuple[str, str]:
        system = self._columns.system_name
        return self._text(line, row, self._columns.facility), self._text(line, row, system) if system else ""

    def _text(self, line: int, row: Sequence[str], column: str, longest: int = 255) -> str:
        text = row[self._index[column]]
        if not text:
            raise self._error(line, column, "is empty")
        if len(text) > longest:
            raise self._error(line, column, f"is longer than {longest} characters")
        if not text.isprintable():
            raise self._error(line, column, "has characters that cannot be printed")
        return text

    def _month(self, line: int, row: Sequence[str]) -> int:
        text = row[self._index[self._columns.month]]
        try:
            return month_from_text(text)
        except ValueError as error:
            raise self._error(line, self._columns.month, str(error)) from error

    def _cases(self, line: int, row: Sequence[str]) -> Cases:
        numerator = self._number(line, row, self._columns.numerator)
        denominator = self._number(line, row, self._columns.denominator)
        if self._is_share and numerator > denominator:
            raise self._error(
                line, self._columns.numerator, f"{numerator:g} is more than {self._columns.denominator} {denominator:g}"
            )
        return Cases(numerator, denominator)

    def _number(self, line: int, row: Sequence[str], column: str) -> float:
        text = row[self._index[column]]
        if not _NUMBER.fullmatch(text):
            raise self._error(line, column, f"{text!r} is not a number of 0 or more")
        return float(text) if "." in text else int(text)

    def _error(self, line: int, column: str, problem: str) -> InputError:
        return InputError(f"{self._path}, line {line}, column {column}: {problem}")
