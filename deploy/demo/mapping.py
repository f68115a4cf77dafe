"""Mapping files: which columns of a CSV are what, and the constants of the signals made from it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from deploy.demo.errors import InputError
from deploy.demo.figures import Measure
from shared.events.vocabulary import MetricPolarity, SignalDomain

_OWN_MAPPINGS = Path(__file__).parent / "mappings"

Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Part):
    """Names of the CSV's columns. Numerator and denominator make the metric; the denominator is the number of cases."""

    month: Name
    facility_id: Name
    facility: Name
    numerator: Name
    denominator: Name
    system_name: Name | None = None


class MeasureConstants(_Part):
    """What is the same for every signal of the file."""

    metric_id: Annotated[str, Field(min_length=1, max_length=100)]
    name: Name
    domain: SignalDomain
    polarity: MetricPolarity
    service_line: Name
    canonical_node_id: Name
    temporal_node_id: Name | None = None
    target_range: tuple[FiniteFloat, FiniteFloat] | None = None
    is_share: bool = True
    """Whether the numerator is a part of the denominator, so that it cannot exceed it and reads as a percentage."""

    @field_validator("target_range")
    @classmethod
    def _in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("lowest first")
        return value


class Mapping(_Part):
    """One mapping file. `dimensions` gives each dimension's name its column."""

    columns: Columns
    measure: MeasureConstants
    dimensions: dict[Name, Name] = Field(default_factory=dict)

    def used_columns(self) -> list[str]:
        """Every column that must be in the CSV, each once."""
        columns = [*self.columns.model_dump(exclude_none=True).values(), *self.dimensions.values()]
        return list(dict.fromkeys(columns))

    def as_measure(self) -> Measure:
        """The measure whose figures the file holds."""
        constants = self.measure.model_dump(exclude={"is_share"})
        return Measure(**constants, as_percentage=self.measure.is_share)


def load_mapping(path: Path) -> Mapping:
    """Read one mapping file; raises InputError in one line when it cannot be used."""
    try:
        return Mapping.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}, {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def own_mapping_for(header: Sequence[str], source: Path) -> Mapping:
    """The mapping that comes with the demo engine and fits this header; raises InputError where none or several do."""
    paths = sorted(_OWN_MAPPINGS.glob("*.toml"))
    fitting = [mapping for mapping in map(load_mapping, paths) if set(mapping.used_columns()) <= set(header)]
    if len(fitting) == 1:
        return fitting[0]
    known = "; ".join(f"{path.name}: {', '.join(load_mapping(path).used_columns())}" for path in paths)
    found = "several mappings fit" if fitting else "no mapping fits"
    raise InputError(f"{source}, line 1: {found} the columns {', '.join(header)}: name one with --mapping ({known})")
