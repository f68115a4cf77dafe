"""Bytes, documents and texts that nobody would send, made from good ones; how many is a matter of the profile.

`make test` takes few of them, the same each time; `make fuzz` many, and others with another SEED.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from shared.events.decoding import CODES, RejectedMessageError

Value = TypeVar("Value")

SHORT: Final = "short"
LONG: Final = "long"

_EXAMPLES: Final = int(os.environ.get("COMPASS_FUZZ_EXAMPLES", "10"))
_LONG_TIMES: Final = 20
"""Made values take no time beside requests: so many for each of those."""


def register_profiles() -> None:
    """Let `--hypothesis-profile` choose; the short one where nothing is chosen. Neither measures time."""
    # A service under test is one for all examples of a test, and says so where it matters.
    suppressed = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
    settings.register_profile(
        SHORT, max_examples=100, deadline=None, derandomize=True, suppress_health_check=suppressed
    )
    settings.register_profile(
        LONG,
        max_examples=_LONG_TIMES * _EXAMPLES,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=suppressed,
    )
    settings.load_profile(SHORT)


def taken(read: Callable[[], Value]) -> Value | None:
    """What is read of a message; None where it is refused with a declared code and a reason, as nothing else may be."""
    try:
        return read()
    except RejectedMessageError as error:
        refused = error
    assert refused.code in CODES
    assert refused.detail
    return None


# Numbers that some reader along the way cannot hold, beside those that all can.
_ODD_NUMBERS: Final = (2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400, -(2**63) - 1, 1e300, 5e-324, -0.0)
_ODD_TEXTS: Final = ("", "\0", "\ud800", "\udfff\ud800", "a\u202eb", "\uffff", "é", "e\u0301", "𝒳", "x" * 600)

numbers: Final = st.integers() | st.floats() | st.sampled_from(_ODD_NUMBERS)
texts: Final = st.text(max_size=20) | st.sampled_from(_ODD_TEXTS)
json_values: Final = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""What JSON can say, and more: NaN, halves of surrogate pairs, numbers of any size."""


def written(value: Any) -> bytes:
    """As JSON, or what looks like it: with NaN, and surrogates escaped."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some of them replaced, put in, cut off, doubled, or with single bits turned."""
    begin = draw(st.integers(0, len(good)))
    end = draw(st.integers(begin, min(len(good), begin + 20)))
    part = good[begin:end]
    return draw(
        st.one_of(
            st.binary(max_size=8).map(lambda other: good[:begin] + other + good[end:]),
            st.just(good[:end] + part + good[end:]),
            st.just(good[:begin]),
            st.sampled_from(_TOKENS).map(lambda token: good[:begin] + token + good[end:]),
            st.integers(0, 7).map(lambda bit: _turned(good, begin, bit)),
        )
    )


_TOKENS: Final = (
    *(b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"null", b"NaN", b"1e999", b"1e-20000", b"-0", b"0.1e1"),
    *(b"\\u0000", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\0", b"[" * 3000, b"9" * 5000, b" " * 50),
)


def _turned(good: bytes, place: int, bit: int) -> bytes:
    if not good:
        return good
    place %= len(good)
    return good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :]


@st.composite
def changed(draw: st.DrawFn, good: Mapping[str, Any], unknown: bool = True) -> dict[str, Any]:
    """A good document with a few of its values, at any depth, others, gone, or beside more of them."""
    document: dict[str, Any] = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        inside: Any = document
        while True:
            places: Sequence[Any] = sorted(inside) if isinstance(inside, dict) else range(len(inside))
            if not places:
                break
            place = draw(st.sampled_from(places))
            deeper = isinstance(inside[place], dict | list) and draw(st.booleans())
            if not deeper:
                if draw(st.integers(0, 4)) == 0:
                    del inside[place]
                else:
                    inside[place] = draw(_like(inside[place]))
                break
            inside = inside[place]
    if unknown and draw(st.integers(0, 4)) == 0:
        document[draw(texts)] = draw(json_values)
    return document


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Another value: often of the same kind, so that it gets further than the first look."""
    other = json_values
    if isinstance(value, bool):
        return st.booleans() | other
    if isinstance(value, str):
        return st.text(max_size=len(value) + 3) | st.just(value * 50) | st.just(value + "\n") | other
    if isinstance(value, int | float):
        near = st.sampled_from((-1, 0, 1, 99, 100, 101, 2**31 - 1)) | st.floats(-1e7, 1e7)
        return near | numbers | other
    if isinstance(value, list):
        return st.permutations(value) | st.just(value * 2) | other
    return other
