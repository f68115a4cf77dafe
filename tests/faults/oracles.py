"""The judges: each looks at what is there after a run and answers a sentence for everything that is wrong."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from shared.events.topics import ENGINE_INSIGHTS, ENGINE_SIGNALS
from tests.faults.journal import Journal
from tests.faults.model import Expected, expect
from tests.faults.observation import Observation
from tests.faults.oracles_events import EVENT_ORACLES
from tests.faults.oracles_signals import SIGNAL_ORACLES
from tests.faults.oracles_workflow import WORKFLOW_ORACLES

Oracle = Callable[[Observation, Journal, Expected], Iterable[str]]

ORACLES: Final[Sequence[Oracle]] = (*EVENT_ORACLES, *SIGNAL_ORACLES, *WORKFLOW_ORACLES)

_MOST_SENTENCES: Final = 5


def judge(seen: Observation, journal: Journal) -> list[str]:
    """Every complaint of every oracle, a few of each."""
    expected = expect(seen.records(ENGINE_SIGNALS.name), seen.records(ENGINE_INSIGHTS.name), journal.bad)
    return [sentence for oracle in ORACLES for sentence in _few(oracle, oracle(seen, journal, expected))]


def _few(oracle: Oracle, sentences: Iterable[str]) -> Iterator[str]:
    name = oracle.__name__.replace("_", " ")
    count = 0
    for count, sentence in enumerate(sentences, 1):
        if count <= _MOST_SENTENCES:
            yield f"{name}: {sentence}"
    if count > _MOST_SENTENCES:
        yield f"{name}: and {count - _MOST_SENTENCES} more"
