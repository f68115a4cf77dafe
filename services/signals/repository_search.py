"""The SQL of `q`: text in a signal's description, in the name of its facility, or in its metric's id or name.

Facilities and metrics are few: their names are looked through where the counts hold each once. The descriptions have
an index on groups of three letters or digits, so that a text without such a group is not looked for in them.
"""

import re
from dataclasses import dataclass
from typing import Final

from services.signals.repository_filters import Conditions
from shared.db import AnySession, raw_connection

# PostgreSQL knows letters beyond ASCII by the database's locale; with the one that is the same everywhere, only these.
_INDEXED: Final = re.compile(r"[A-Za-z0-9]{3}")

# What is appended and not folded yet belongs to the present signals as well.
_NAMES: Final = """
    WITH named AS (
        SELECT facet, value, count FROM option_counts WHERE facet IN ('facility', 'metric_id') AND value ILIKE $1
        UNION ALL SELECT facet, value, delta FROM option_deltas
            WHERE facet IN ('facility', 'metric_id') AND value ILIKE $1
    )
    SELECT ARRAY(SELECT DISTINCT value FROM named WHERE facet = 'facility') AS facilities, ARRAY(
        SELECT value FROM named WHERE facet = 'metric_id'
        UNION SELECT metric_id FROM metrics WHERE display_name ILIKE $1
    ) AS metrics, CAST(GREATEST(
        (SELECT sum(count) FROM named WHERE facet = 'facility'),
        (SELECT sum(count) FROM named WHERE facet = 'metric_id'),
        0
    ) AS bigint) AS at_least
"""


@dataclass(frozen=True, slots=True)
class Search:
    """What a text stands for: a pattern for descriptions, names of facilities, ids of metrics.

    ``at_least`` so many current signals have one of these facilities, or one of these metrics.
    """

    pattern: str | None
    facilities: list[str]
    metrics: list[str]
    at_least: int

    def add_to(self, conditions: Conditions) -> None:
        """Add that a signal is found by the text; without anything to find it by, that none is."""
        parts = []
        values: list[object] = []
        if self.pattern is not None:
            parts.append("s.description ILIKE {}")
            values.append(self.pattern)
        if self.facilities:
            parts.append("s.facility = ANY({}::text[])")
            values.append(self.facilities)
        if self.metrics:
            parts.append("s.metric_id = ANY({}::text[])")
            values.append(self.metrics)
        conditions.add("(" + (" OR ".join(parts) or "false") + ")", *values)


async def search(session: AnySession, text: str) -> Search:
    """What a text stands for now."""
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    connection = await raw_connection(session)
    names = await connection.fetchrow(_NAMES, pattern)
    return Search(pattern if _INDEXED.search(text) else None, names["facilities"], names["metrics"], names["at_least"])
