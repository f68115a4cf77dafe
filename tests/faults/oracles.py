"""The judges of a run: those of any stack at rest, and those who know what was published and asked for."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from tests.faults.journal import Journal
from tests.faults.model import Expected, expect
from tests.faults.oracles_engine import ENGINE_ORACLES
from tests.faults.oracles_people import PEOPLE_ORACLES
from tests.faults.oracles_readers import READER_ORACLES
from tests.support.observation import Observation
from tests.support.oracles import EVERY_ORACLE, few

Oracle = Callable[[Observation, Journal, Expected], Iterable[str]]

ORACLES: Final[Sequence[Oracle]] = (*ENGINE_ORACLES, *PEOPLE_ORACLES, *READER_ORACLES)


def judge(seen: Observation, journal: Journal) -> list[str]:
    """Every complaint of every oracle, a few of each."""
    expected = expect(seen.records(ENGINE_SIGNALS.name), seen.records(ENGINE_INSIGHTS.name), journal.bad)
    found = [sentence for oracle in EVERY_ORACLE for sentence in few(oracle, oracle(seen))]
    return found + [sentence for oracle in ORACLES for sentence in few(oracle, oracle(seen, journal, expected))]
