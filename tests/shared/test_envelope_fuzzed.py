"""Events that nobody would send: read or refused, and what is read is written and read again as the same."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.events import envelope, registry
from shared.events.decoding import DEEPEST, RejectedMessageError, decode_object
from shared.events.envelope import Envelope
from tests.support.fuzzing import changed, damaged, json_values, taken, written

EXAMPLES: Final = Path(__file__).parents[1] / "contracts" / "examples"
CONTRACTS: Final = {event.name: event for event in registry.ALL}
EVENTS: Final = {name: json.loads((EXAMPLES / f"{name}.json").read_bytes()) for name in sorted(CONTRACTS)}

bases: Final = st.sampled_from(list(EVENTS.values()))
events: Final = bases.flatmap(changed).map(written) | bases.flatmap(lambda good: damaged(written(good)))
anything: Final = st.none() | st.binary(max_size=200) | json_values.map(written)


def read(raw: bytes | None) -> Envelope | None:
    return taken(lambda: envelope.decode(raw))


@given(anything | events)
# No NUL, but the letters of one: looked at more closely, and no event all the same.
@example(rb'{"x": "\\u0000"}')
@example(b'{"data": "\xff"}')
def test_any_bytes_are_an_event_or_refused(raw: bytes | None) -> None:
    if (event := read(raw)) is None:
        return
    assert event.sequence >= 1
    assert event.time.tzinfo is not None
    assert read(envelope.encode(event)) == event


@given(events)
@example(written(EVENTS["compass.status.changed.v1"]).replace(b'"facility": "', b'"facility": "\xff'))
def test_what_an_event_carries_is_read_or_refused(raw: bytes) -> None:
    event = read(raw)
    if event is None or (contract := CONTRACTS.get(event.type)) is None:
        return
    data = event.data_as
    taken(lambda: data(contract.data))


@given(bases, st.data())
def test_attributes_that_nobody_knows_change_nothing(good: dict[str, Any], data: st.DataObject) -> None:
    more = data.draw(st.dictionaries(st.text("abcxyz", min_size=1), json_values, max_size=3))
    raw = written(good | {f"x{name}": value for name, value in more.items()})
    if (event := read(raw)) is not None:
        assert event == read(written(good))


@pytest.mark.parametrize("text", ["1e-20000", "0." + "0" * 17_000 + "1", "1E-16384", "0e99999999999", "1e-" + "9" * 30])
def test_a_number_with_more_places_than_can_be_stored_is_refused(text: str) -> None:
    raw = f'{{"x": [{text}]}}'.encode()
    with pytest.raises(RejectedMessageError) as refused:
        decode_object(raw)
    assert refused.value.code == "number_out_of_range"
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize("text", ['"550e-4000"', "1e-300", "0e1000", "0." + "1" * 16_000, '"' + "1" * 17_000 + '"'])
def test_what_only_looks_like_such_a_number_is_taken(text: str) -> None:
    decode_object(f'{{"x": {text}}}'.encode())


@pytest.mark.parametrize(("opening", "closing"), [('{"x":', "}"), ("[", "]"), ('[0,{"x":', "}]")])
def test_only_so_many_objects_and_lists_lie_within_each_other(opening: str, closing: str) -> None:
    levels = (DEEPEST - 1) // (opening.count("{") + opening.count("["))

    def deep(more: int) -> bytes:
        return f'{{"x":{opening * (levels + more)}0{closing * (levels + more)}}}'.encode()

    decode_object(deep(0))
    with pytest.raises(RejectedMessageError, match="nested too deeply"):
        decode_object(deep(1))


def test_many_objects_beside_each_other_are_not_deep() -> None:
    months = [{"period": str(number)} for number in range(3 * DEEPEST)]
    assert decode_object(written({"x": months})) == {"x": months}
