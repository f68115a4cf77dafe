"""``ETag`` and ``If-Match``: a write says which version of a resource it was decided on."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Request

from shared.errors import FieldProblem, InvalidError, PreconditionFailedError

# RFC 9110: a list of entity tags; what stands between the quotes has no quote, no space and no control character.
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"\s*{_TAG}\s*(?:,\s*{_TAG}\s*)*")


@dataclass(frozen=True, slots=True)
class Precondition:
    """What ``If-Match`` asks for: one of these tags, or with None (``*``) any version."""

    tags: frozenset[str] | None

    def require(self, etag: str) -> None:
        """Compare with the present version's tag, quotes included. Weak tags never match, as RFC 9110 says.

        Raises:
            PreconditionFailedError: for another version.
        """
        if self.tags is not None and etag not in self.tags:
            raise PreconditionFailedError("It has changed since the version that If-Match names. Read it again.")


def parse_if_match(header: str) -> Precondition:
    """What the header's text asks for.

    Raises:
        ValueError: it is neither ``*`` nor a list of entity tags.
    """
    if header.strip() == "*":
        return Precondition(None)
    if not _TAGS.fullmatch(header):
        raise ValueError('If-Match takes "*" or entity tags in quotes.')
    return Precondition(frozenset(re.findall(_TAG, header)))


def _if_match(
    request: Request,
    if_match: Annotated[  # noqa: ARG001 - for the documentation; the header may come in several lines
        str | None, Header(description='The `ETag` that the change was decided on, quotes included, or `*`: `"3"`.')
    ] = None,
) -> Precondition | None:
    header = ",".join(request.headers.getlist("if-match"))
    if not header:
        return None
    try:
        return parse_if_match(header)
    except ValueError as error:
        raise InvalidError(str(error), errors=[FieldProblem(pointer="/header/if-match", detail=str(error))]) from None


IfMatch = Annotated[Precondition | None, Depends(_if_match)]
"""The precondition of a write, None without one. Declared after the user, so that 401 and 403 come first."""
