"""Cursors come back as they went out, and nothing else passes for one."""

import base64
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidError
from shared.pagination import cut, decode_cursor, encode_cursor

Key = tuple[datetime, UUID]


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
