"""Cursors come back as they went out, and nothing else passes for one."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidError
from shared.pagination import cut, decode_cursor, encode_cursor
from tests.support.fuzzing import damaged, json_values, written

Key = tuple[datetime, UUID]
KINDS: tuple[Any, ...] = (Key, tuple[str | None, datetime, UUID], tuple[int, UUID], tuple[datetime])


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_comes_back_to_the_microsecond(moment: datetime, number: UUID) -> None:
    cursor = encode_cursor(moment, number)
    assert decode_cursor(cursor, Key) == (moment, number)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?# ")


@given(st.text(max_size=200))
def test_any_other_text_is_refused_as_bad_input(cursor: str) -> None:
    with pytest.raises(InvalidError) as refused:
        decode_cursor(cursor, Key)
    assert refused.value.code == "bad_cursor"


@given(
    json_values.map(written) | damaged(b'["2026-01-01T00:00:00Z","6c1f0b04-8a1b-4b52-9f6b-1a8f0b6d7c11"]'), st.data()
)
def test_whatever_a_cursor_holds_is_a_key_or_refused(content: bytes, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    with suppress(InvalidError):
        key = decode_cursor(base64.urlsafe_b64encode(content).decode(), kind)
        # Whoever writes it again gets the same key: nothing of it was misread.
        assert decode_cursor(encode_cursor(*key), kind) == key
        assert len(key) == len(json.loads(content))


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'["2026-01-01T00:00:00", "6c1f0b04-8a1b-4b52-9f6b-1a8f0b6d7c11"]',
        b'["2026-01-01T00:00:00Z", "6c1f0b04-8a1b-4b52-9f6b-1a8f0b6d7c11", 1]',
        b'["2026-01-01T00:00:00Z", 7]',
        b"[" * 5000,
        b"\xff",
    ],
)
def test_content_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidError):
        decode_cursor(base64.urlsafe_b64encode(content).decode(), Key)


def test_a_text_key_may_hold_no_nul() -> None:
    with pytest.raises(InvalidError):
        decode_cursor(encode_cursor("a\0b", uuid4()), tuple[str, UUID])


@pytest.mark.parametrize(("found", "shown", "following"), [(0, 0, None), (2, 2, None), (3, 3, None), (4, 3, 2)])
def test_a_page_has_a_cursor_of_its_last_row_while_there_is_more(found: int, shown: int, following: int | None) -> None:
    rows, cursor = cut(list(range(found)), 3, lambda number: (number, "place"))
    assert list(rows) == list(range(shown))
    assert cursor == (None if following is None else encode_cursor(following, "place"))
