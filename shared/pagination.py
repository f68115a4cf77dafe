"""Keyset pages: a cursor names the last row seen by its sort key and id, so that no row is skipped or repeated."""

import base64
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Query
from pydantic import Field

from shared.errors import FieldProblem, InvalidError

COUNT_CAP: Final = 10_000
"""`total_count` is exact up to here and stops; counting further costs more than anybody gains by it."""

Limit = Annotated[int, Query(ge=1, le=100, description="Rows per page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="From the page before; opaque, valid with the same filters and sort."),
]
NextCursor = Annotated[str | None, Field(description="For the next page; null on the last.")]

Row = TypeVar("Row")

_encode: Final = msgspec.json.Encoder().encode


def encode_cursor(*key: Any) -> str:
    """A cursor for the row with this sort key, safe in a URL."""
    return base64.urlsafe_b64encode(_encode(key)).rstrip(b"=").decode()


def cut(found: Sequence[Row], limit: int, place: Callable[[Row], Iterable[Any]]) -> tuple[Sequence[Row], str | None]:
    """The rows of a page, of which one more than ``limit`` was asked for, and the next page's cursor; None on the last.

    ``place`` tells what of a row its cursor holds.
    """
    if len(found) <= limit:
        return found, None
    shown = found[:limit]
    return shown, encode_cursor(*place(shown[-1]))


def decode_cursor(cursor: str, key_type: Any) -> Any:
    """The sort key in a cursor, as a value of the type given, for example ``tuple[datetime, UUID]``.

    Raises:
        InvalidError: for anything that `encode_cursor` did not make for this sort.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=key_type)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _bad_cursor() from None
    for part in key if isinstance(key, tuple) else (key,):
        # PostgreSQL stores neither a NUL nor a moment without an offset, nor does UTC have one before the year 1.
        if (isinstance(part, str) and "\0" in part) or (isinstance(part, datetime) and not _is_moment(part)):
            raise _bad_cursor()
    return key


def _is_moment(value: datetime) -> bool:
    try:
        return value.tzinfo is not None and value.astimezone(UTC) is not None
    except OverflowError:
        return False


def _bad_cursor() -> InvalidError:
    detail = "The cursor is not one that this list gave out."
    return InvalidError(detail, "bad_cursor", errors=[FieldProblem(pointer="/query/cursor", detail=detail)])
