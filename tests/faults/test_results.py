"""What is told of seeds: what was brought and what was not, and that a run without a load is none."""

from typing import Any

import pytest

from tests.faults.results import Result, idleness, table, totals


def result(seed: int = 1, **values: Any) -> Result:
    usual: dict[str, Any] = {
        "faults": ["1s kill signals", "2s cut gateway-auth"],
        "left_out": [],
        "messages": 400,
        "writes": {"done": 30},
        "marks": {"done": 20},
        "events": 300,
        "seconds": 45.0,
        "complaints": [],
        "mutation": None,
    }
    return Result(seed=seed, **(usual | values))


def test_the_table_names_each_seed_with_its_faults_and_complaints() -> None:
    red = result(7, left_out=["1s kill signals"], seconds=60.2, complaints=["stored is published: something"])
    assert table([red]).splitlines() == [
        "    7  RED      60 s  400 messages, 30 writes, 20 marks, 300 events  2s cut gateway-auth",
        "       left out: 1s kill signals",
        "       stored is published: something",
    ]


def test_totals_count_what_was_brought_by_kind() -> None:
    results = [result(1), result(2, missed=["1s kill signals"]), result(3, complaints=["one", "two"])]
    assert totals(results).splitlines() == [
        "3 seeds, 2 green: 1200 messages, 90 writes, 60 marks, 900 events",
        "5 faults: 3 cut, 2 kill",
    ]


def test_a_fault_that_met_nothing_is_not_told_as_brought() -> None:
    first, *others = table([result(missed=["1s kill signals"])]).splitlines()
    assert first.endswith("events  2s cut gateway-auth")
    assert others == ["       missed: 1s kill signals"]


def test_seeds_with_a_load_are_no_idle_ones() -> None:
    assert idleness([result(seed, writes={"done": 30 * (seed % 2)}) for seed in range(6)]) == []
    assert idleness([result(writes={})]) == []


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"messages": 0}, "seed 0 had 0 messages"),
        ({"events": 3}, "seed 0 had 400 messages and 3 events"),
        ({"writes": {"done": 4, "refused": 80}}, "4.0 writes of people"),
        ({"writes": {"unknown": 80}}, "0.0 writes of people"),
        ({"marks": {"done": 4, "refused": 80}}, "4.0 marks of people"),
        ({"missed": ["1s kill signals", "2s cut gateway-auth"]}, "only 0 faults"),
    ],
)
def test_a_run_in_which_nothing_happens_is_not_green(values: dict[str, Any], complaint: str) -> None:
    assert idleness([result(seed, **values) for seed in range(5)])[0].startswith(complaint)
