"""From the raw bytes of a message to a validated contract, or to a reason that a person understands."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import msgspec

from shared.events.topics import MAX_MESSAGE_BYTES

Contract = TypeVar("Contract")

_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


DEEPEST: Final = 180
"""Objects and lists within each other. Readers of what is stored have limits of their own, the nearest known at 200."""

# A number has so many decimal places in PostgreSQL, and no more. JSON can say more, which is 0 for a reader of doubles.
_MOST_PLACES: Final = 16_383
# Each begins with letters that are looked for fast; most of what they find is in a text.
_ODD_NUMBERS: Final = (
    *(re.compile(rb"e-[0-9]{3}"), re.compile(rb"E-[0-9]{3}")),
    *(re.compile(rb"0e\+?[0-9]{6}"), re.compile(rb"0E\+?[0-9]{6}")),
)
# With an exponent of two digits it may come to as many.
_MANY_PLACES: Final = re.compile(rb"\.[0-9]{%d}" % (_MOST_PLACES - 99))

CODES: Final = (
    *("empty_message", "too_large", "invalid_json", "invalid_utf8", "invalid_unicode", "not_an_object"),
    *("duplicate_key", "nul_character", "number_out_of_range", "number_too_large", "invalid_field", "invalid_key"),
    *("invalid_classification", "detected_in_future", "periods_out_of_order", "future_version", "processing_failed"),
)
"""All that messages are rejected for."""


class RejectedMessageError(Exception):
    """A message that can never be processed as it is.

    ``code`` is a stable word to filter by (``invalid_json``), ``detail`` one sentence for the person who looks
    into the dead letters.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def decode_object(raw: bytes | None) -> dict[str, Any]:
    """Decode one JSON object, stricter than RFC 8259 where PostgreSQL or a reader would be misled.

    Refused besides malformed JSON: a null value, more than 1 MiB, duplicate keys (RFC 8785 needs unique ones and the
    last would silently win), NUL characters and lone surrogates (PostgreSQL stores neither), numbers out of range or
    with more decimal places than PostgreSQL has, and more than `DEEPEST` objects and lists within each other.

    Raises:
        RejectedMessageError: with the reason.
    """
    if raw is None:
        raise RejectedMessageError("empty_message", "The message has no value.")
    if len(raw) > MAX_MESSAGE_BYTES:
        raise RejectedMessageError(
            "too_large", f"The message has {len(raw):,} bytes; at most {MAX_MESSAGE_BYTES:,} are processed."
        )
    try:
        document = _decode_any(raw)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectedMessageError(*_why_not_json(raw, error)) from None
    if type(document) is not dict:
        raise RejectedMessageError("not_an_object", f"The message is a JSON {_json_type(document)}, not an object.")
    _refuse_duplicate_keys(raw, document)
    if b"\\u0000" in raw:
        _refuse_nul(document)
    if may_be_deep(raw):
        _refuse_depth(document)
    if any(odd.search(raw) for odd in _ODD_NUMBERS) or (len(raw) > _MOST_PLACES and _MANY_PLACES.search(raw)):
        _refuse_odd_numbers(raw)
    return document


def may_be_deep(raw: bytes) -> bool:
    """Whether there are enough objects and lists for too many within each other. Most messages have fewer."""
    return raw.count(b"{") + raw.count(b"[") > DEEPEST


def convert(document: dict[str, Any], contract: type[Contract]) -> Contract:
    """Validate a decoded object against a contract, without coercion between JSON types.

    Raises:
        RejectedMessageError: naming the field and what is wrong with it.
    """
    try:
        return msgspec.convert(document, contract)
    except msgspec.ValidationError as error:
        raise RejectedMessageError("invalid_field", f"{error}.") from None


def _why_not_json(raw: bytes, error: Exception) -> tuple[str, str]:
    try:
        raw.decode()
    except UnicodeDecodeError as invalid:
        return (
            "invalid_utf8",
            f"The message is not valid UTF-8: byte {invalid.start} is 0x{raw[invalid.start]:02x}.",
        )
    if isinstance(error, msgspec.ValidationError):
        return "number_out_of_range", "A number is too large for a double-precision value."
    if b"\\u" in raw and _has_lone_surrogate(raw):
        return "invalid_unicode", "A string holds half of a surrogate pair, which is no character."
    return "invalid_json", f"The message is not JSON: {error}."


def _has_lone_surrogate(raw: bytes) -> bool:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse_duplicate_keys(raw: bytes, document: dict[str, Any]) -> None:
    """Tell a duplicate key from the number of quotation marks, and look closer only where that cannot tell.

    Without a backslash in the message every string has exactly two of them, so that the decoded object, written
    again, has as many as the message unless a key was dropped.
    """
    if b"\\" not in raw and raw.count(b'"') == _encode(document).count(b'"'):
        return

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for name, value in pairs:
            if name in names:
                raise RejectedMessageError("duplicate_key", f"The key {name!r} stands twice in one object.")
            names[name] = value
        return names

    json.loads(raw, object_pairs_hook=unique)


def _too_deep() -> RejectedMessageError:
    return RejectedMessageError("invalid_json", "The JSON is nested too deeply.")


def _refuse_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise _too_deep()


def _refuse_odd_numbers(raw: bytes) -> None:
    def look(text: str) -> float:
        try:
            exponent = Decimal(text).as_tuple().exponent
        except InvalidOperation:  # beyond what even a Decimal has
            exponent = "n"
        if isinstance(exponent, str) or abs(exponent) > _MOST_PLACES:
            shown = text if len(text) <= 20 else f"{text[:20]}…"
            raise RejectedMessageError("number_out_of_range", f"The number {shown} has too many places to be stored.")
        return 0.0

    json.loads(raw, parse_float=look)


def _refuse_nul(document: object) -> None:
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise RejectedMessageError("nul_character", "A string holds a NUL character, which cannot be stored.")
        elif isinstance(value, dict):
            pending.extend(value)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _json_type(value: object) -> str:
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
