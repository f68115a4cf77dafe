"""Which passwords are refused although they are long enough: the ones that are guessed first.

What counts is how many guesses a password would stand, as zxcvbn estimates it from a list of 30,000 passwords found in
breaches, names, words, dates, keyboard patterns and repetitions; what an attacker knows of the person, and the name of
this product, count as words of the list. No rule asks for kinds of characters, nor for a change after some time.
"""

import re
from typing import Final

from zxcvbn import zxcvbn

PRODUCT_WORDS: Final = ("quality", "compass")
"""Words of the context that a password may not rest on (the documented list that OWASP ASVS 6.2.11 asks for)."""

_LOWEST_SCORE: Final = 3
"""At least 10^8 guesses; with bcrypt at cost 12, years of a fast machine."""

_FEWEST_OTHER_CHARACTERS: Final = 6
_PARTS: Final = re.compile(r"[^\W_]+")
_SHORTEST_PART: Final = 3


def complaint(password: str, email: str, name: str) -> str | None:
    """Why the password of a person with this address and name is refused; None for one that is good.

    Takes milliseconds of a core, for contrived passwords most of a second: call it in a thread.
    """
    known = [*PRODUCT_WORDS, *_parts(email), *_parts(name)]
    whole = rest = "".join(_PARTS.findall(password)).casefold()
    for word in sorted(known, key=len, reverse=True):
        rest = rest.replace(word, "")
    if rest != whole and len(rest) < _FEWEST_OTHER_CHARACTERS:
        return "must be more than your name, your address or the name of this product"
    if int(zxcvbn(password, user_inputs=[*known, email, name])["score"]) < _LOWEST_SCORE:
        return "is too easy to guess: it is common, or made of common words, names, dates or patterns"
    return None


def _parts(given: str) -> list[str]:
    return [part.casefold() for part in _PARTS.findall(given) if len(part) >= _SHORTEST_PART]
