"""Bytes and texts that nobody would send: each decoder answers with a value or with its own refusal, nothing else."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.signals.service_validation import identify
from shared.auth import decode_token
from shared.errors import InvalidError, UnauthenticatedError
from shared.events import envelope
from shared.events.decoding import RejectedMessageError
from shared.pagination import decode_cursor, encode_cursor
from tests.support.factories import engine_signal
from tests.support.service import AUDIENCE, ISSUER, SIGNING_KEY, token

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEYS = {"test-key": SIGNING_KEY}
bounded = settings(max_examples=300, deadline=None, derandomize=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
event_values: dict[str, Any] = {
    "specversion": "1.0",
    "id": str(UUID(int=1)),
    "source": "/services/workflow",
    "type": "compass.status.changed.v1",
    "subject": str(UUID(int=2)),
    "time": "2026-11-01T00:00:00Z",
    "datacontenttype": "application/json",
    "dataschema": "urn:quality-compass:status.changed.v1",
    "sequence": 1,
    "data": {},
}


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some of them replaced, put in or cut off."""
    begin = draw(st.integers(0, len(good)))
    end = draw(st.integers(begin, min(len(good), begin + 20)))
    return good[:begin] + draw(st.binary(max_size=8)) + good[end:]


@bounded
@given(st.none() | st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_engine_signal_or_refused(raw: bytes | None) -> None:
    with suppress(RejectedMessageError):
        identify(raw, NOW)


@bounded
@given(damaged(json.dumps(engine_signal()).encode()))
def test_a_damaged_engine_signal_is_read_or_refused(raw: bytes) -> None:
    with suppress(RejectedMessageError):
        identify(raw, NOW)


@bounded
@given(st.sampled_from(sorted(engine_signal())), json_values)
def test_any_value_in_any_field_of_a_signal_is_read_or_refused(name: str, value: Any) -> None:
    with suppress(RejectedMessageError):
        identify(json.dumps(engine_signal() | {name: value}).encode(), NOW)


@bounded
@given(damaged(json.dumps(event_values).encode()))
def test_a_damaged_event_is_read_or_refused(raw: bytes) -> None:
    with suppress(RejectedMessageError):
        envelope.decode(raw)


@bounded
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_cursor_or_refused(cursor: str) -> None:
    with suppress(InvalidError):
        decode_cursor(cursor, tuple[datetime, UUID])


@bounded
@given(json_values, st.sampled_from((tuple[datetime, UUID], tuple[str | None, datetime, UUID], tuple[int, UUID])))
def test_a_cursor_of_something_else_is_read_or_refused(key: Any, kind: Any) -> None:
    # Not everything that JSON can hold can be written as a cursor: a lone surrogate cannot.
    with suppress(InvalidError, msgspec.EncodeError, UnicodeEncodeError, OverflowError):
        decode_cursor(encode_cursor(key), kind)


@bounded
@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_comes_back_as_it_was(moment: datetime, row: UUID) -> None:
    assert decode_cursor(encode_cursor(moment, row), tuple[datetime, UUID]) == (moment, row)


@bounded
@given(st.text(max_size=200))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        decode_token(text, KEYS, ISSUER, AUDIENCE)


@bounded
@given(st.data())
def test_a_token_with_another_character_is_refused(data: st.DataObject) -> None:
    good = token("viewer")
    # The last character of a part may hold bits that are not read, and mean the same.
    place = data.draw(st.sampled_from([at for at in range(len(good) - 1) if good[at + 1] != "." and good[at] != "."]))
    other = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda character: character != good[place]))
    with pytest.raises(UnauthenticatedError):
        decode_token(good[:place] + other + good[place + 1 :], KEYS, ISSUER, AUDIENCE)
