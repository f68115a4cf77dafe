"""Text from outside is stored as it is, or refused."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.text import StorableText

text = TypeAdapter(StorableText)


@pytest.mark.parametrize("value", ["", "plain", "Ärzte 😀 \u200b", "\ufffd", "\x01\x7f"])
def test_what_postgresql_holds_passes_unchanged(value: str) -> None:
    assert text.validate_python(value) == value


@pytest.mark.parametrize("value", ["a\0b", "\0", "\ud800", "a\udfffb"])
def test_what_postgresql_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must not hold"):
        text.validate_python(value)


def test_json_with_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValidationError):
        text.validate_json('"\\ud800"')
