"""How many signals match, remembered for a moment where it is far more than a page ever says."""

from time import monotonic
from typing import Final

import msgspec

from services.signals import repository_totals
from services.signals.repository_filters import SignalFilters
from shared.db import AnySession
from shared.pagination import COUNT_CAP

# So many signals do not go away while one is remembered: what is answered, `total_is_capped`, stays exact.
_LARGE: Final = 2 * COUNT_CAP
_KEPT_SECONDS: Final = 2.0
_MOST: Final = 1000


class LargeTotals:
    """Large totals by filters: asking the database for each page costs a list more than a tenth of its time."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[float, int]] = {}

    async def known(self, session: AnySession, filters: SignalFilters) -> int | None:
        """How many signals match, where the counts know it without looking at one; a large total may be seconds old."""
        key = msgspec.json.encode(filters)
        until, total = self._kept.get(key, (0.0, 0))
        if until > monotonic():
            return total
        counted = await repository_totals.counted(session, filters)
        if counted is not None and counted >= _LARGE:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = (monotonic() + _KEPT_SECONDS, counted)
        return counted
