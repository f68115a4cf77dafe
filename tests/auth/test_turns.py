"""Who is checked next where only a few can be at once."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.passwords import Passwords
from services.auth.turns import MOST_PER_PARTY, Caller, Turns
from shared.errors import TooManyRequestsError

OWNER = Caller("owner\n10.0.0.1", is_known=True)
ATTACKED = Caller("owner", is_known=False)


def stranger(number: int) -> Caller:
    return Caller(f"account {number}", is_known=False)


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_others_in_order() -> None:
    turns, served = Turns(2, 10), []

    async def visit(number: int) -> None:
        await turns.take(stranger(number))
        served.append(number)

    tasks = [asyncio.create_task(visit(number)) for number in range(4)]
    await settle()
    assert served == [0, 1]
    for number in range(4):
        turns.done(stranger(number))
        await settle()
    assert served == [0, 1, 2, 3]
    await asyncio.gather(*tasks)


async def test_the_known_go_before_strangers() -> None:
    turns, served = Turns(1, 10), []

    async def visit(caller: Caller) -> None:
        await turns.take(caller)
        served.append(caller)

    await turns.take(stranger(0))
    tasks = [asyncio.create_task(visit(caller)) for caller in (stranger(1), stranger(2), OWNER)]
    await settle()
    turns.done(stranger(0))
    await asyncio.wait_for(tasks[2], 5)
    assert served == [OWNER]
    for caller in (OWNER, stranger(1), stranger(2)):
        turns.done(caller)
    await asyncio.gather(*tasks)


async def test_a_turn_given_to_one_who_goes_away_is_passed_on() -> None:
    turns = Turns(1, 10)
    await turns.take(stranger(0))
    gone, following = [asyncio.create_task(turns.take(stranger(number))) for number in (1, 2)]
    await settle()
    turns.done(stranger(0))
    # It has the turn, and has not noticed yet.
    gone.cancel()
    await asyncio.wait_for(following, 5)
    assert gone.cancelled()
    turns.done(stranger(2))
    assert (turns._free, turns._present.total()) == (1, 0)


async def test_nobody_waits_without_end() -> None:
    turns = Turns(1, 10, longest_wait_seconds=0.01)
    await turns.take(stranger(0))
    with pytest.raises(TooManyRequestsError) as refused:
        await asyncio.wait_for(turns.take(stranger(1)), 5)
    assert refused.value.headers["retry-after"] == "2"
    turns.done(stranger(0))
    async with turns.turn(stranger(1)):
        assert turns._free == 0
    assert (turns._free, turns._present.total()) == (1, 0)


async def test_an_attack_on_one_account_leaves_room_for_the_others() -> None:
    turns = Turns(1, 20)
    attempts = [asyncio.create_task(turns.take(ATTACKED)) for _ in range(200)]
    await settle()
    refused = [task.exception() for task in attempts if task.done() and task.exception()]
    assert len(refused) == 200 - MOST_PER_PARTY
    assert {type(error) for error in refused} == {TooManyRequestsError}
    assert {error.headers["retry-after"] for error in refused if isinstance(error, TooManyRequestsError)} == {"2"}
    # Another account's stranger and the owner, from where they have been before, find room.
    others = [asyncio.create_task(turns.take(caller)) for caller in (stranger(1), OWNER)]
    await settle()
    assert not any(task.done() for task in others)
    turns.done(ATTACKED)
    await asyncio.wait_for(others[1], 5)
    for task in [*attempts, *others]:
        task.cancel()


async def test_strangers_to_all_accounts_leave_room_for_the_known() -> None:
    turns = Turns(1, 20)
    attempts = [asyncio.create_task(turns.take(stranger(number))) for number in range(200)]
    await settle()
    assert sum(not task.done() or not task.exception() for task in attempts) == 15
    owner = asyncio.create_task(turns.take(OWNER))
    await settle()
    turns.done(stranger(0))
    await asyncio.wait_for(owner, 5)
    for task in attempts:
        task.cancel()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["take", "done", "cancel"])), max_size=60))
async def test_turns_are_neither_lost_nor_doubled(steps: list[tuple[int, bool, str]]) -> None:
    """Whoever comes, is served or goes away while waiting, in whatever order."""
    turns, tasks = Turns(2, 6), list[tuple[Caller, asyncio.Task[None]]]()

    def served() -> list[tuple[Caller, asyncio.Task[None]]]:
        return [item for item in tasks if item[1].done() and not item[1].cancelled() and not item[1].exception()]

    for number, is_known, step in steps:
        caller = Caller(str(number), is_known)
        if step == "take":
            tasks.append((caller, asyncio.create_task(turns.take(caller))))
        elif step == "done" and served():
            item = served()[0]
            tasks.remove(item)
            turns.done(item[0])
        elif step == "cancel" and tasks:
            tasks[-1][1].cancel()
        await settle()
        assert len(served()) <= 2
        waiting = [task for _, task in tasks if not task.done()]
        assert not waiting or len(served()) == 2
    for _ in range(len(tasks)):
        for item in served():
            tasks.remove(item)
            turns.done(item[0])
        await settle()
    assert all(task.done() for _, task in tasks)
    assert (turns._free, turns._present.total()) == (2, 0)


async def verify(passwords: Passwords, caller: Caller = OWNER) -> bool:
    async with passwords.turn(caller) as turn:
        return await turn.verify("x", None)


async def test_who_would_wait_too_long_is_sent_away() -> None:
    passwords = Passwords(cost=8, workers=1, queue=2)
    calls = [verify(passwords, Caller(str(number), is_known=True)) for number in range(10)]
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(outcome is False for outcome in outcomes) == 3
    assert sum(isinstance(outcome, TooManyRequestsError) for outcome in outcomes) == 7
    assert await verify(passwords) is False


async def test_a_turn_lasts_as_long_as_the_thread_is_busy() -> None:
    """A caller who goes away leaves the thread at work: the next one must not begin beside it."""
    passwords = Passwords(cost=10, workers=1, queue=1)
    first = asyncio.create_task(verify(passwords))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert passwords._turns._free == 0
    assert await verify(passwords) is False
    await settle()
    assert passwords._turns._free == 1


@pytest.mark.parametrize("cost", [5, 7])
async def test_an_unknown_account_is_checked_against_a_hash_of_the_same_cost(
    monkeypatch: pytest.MonkeyPatch, cost: int
) -> None:
    costs: list[bytes] = []

    def note(_: bytes, hashed: bytes) -> bool:
        costs.append(hashed.split(b"$")[2])
        return True

    monkeypatch.setattr("pwdlib.hashers.bcrypt.bcrypt.checkpw", note)
    assert await verify(Passwords(cost, workers=1, queue=1)) is False
    assert costs == [b"%02d" % cost]
