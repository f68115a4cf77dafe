"""Which numbers have come: against the plain set of them, whatever the order and however often."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.activity.sequences import Gap, Received


@given(st.lists(st.integers(1, 30), max_size=60))
def test_it_agrees_with_a_set(numbers: list[int]) -> None:
    received, seen = Received(), set[int]()
    for number in numbers:
        assert received.take(number) == (number not in seen)
        seen.add(number)
        missing = {n for gap in received.gaps for n in range(gap.first, gap.last + 1)}
        assert received.last == max(seen)
        assert missing == set(range(1, received.last)) - seen
        assert sum(gap.last - gap.first + 1 for gap in received.gaps) == len(missing)


def test_a_jump_is_one_gap_however_wide() -> None:
    received = Received()
    assert received.take(2_147_483_647)
    assert received.gaps == [Gap(1, 2_147_483_646)]


def test_a_gap_that_is_split_is_as_old_as_it_was() -> None:
    noticed = datetime(2026, 7, 1, tzinfo=UTC)
    received = Received(9, [Gap(2, 8, noticed)])
    assert received.take(5)
    assert received.gaps == [Gap(2, 4, noticed), Gap(6, 8, noticed)]
