"""The SQL of the counts: folding what the triggers of `signals` appended, reading, and counting anew.

`option_deltas` holds what transactions changed, `option_counts` the sums; both together are exact at every moment, and
folding moves from one to the other in one transaction. `signals` itself is read only by `recount`.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db import raw_connection

_DELTAS_AT_ONCE: Final = 50_000

# Whoever does not get the lock has nothing to do: another instance folds.
_ALONE: Final = "SELECT pg_try_advisory_xact_lock(hashtext('compass.option-counts'), hashtext(current_schema()))"
_FOLD: Final = """
    WITH taken AS (
        DELETE FROM option_deltas WHERE ctid = ANY(ARRAY(SELECT ctid FROM option_deltas LIMIT $1)) RETURNING *
    ), folded AS (
        INSERT INTO option_counts AS known (id, facet, value, detail, domain, system_name, count)
        SELECT md5(json_build_array(facet, value, detail, domain, system_name)::text)::uuid,
            facet, value, detail, domain, system_name, sum(delta)
        FROM taken GROUP BY facet, value, detail, domain, system_name HAVING sum(delta) <> 0
        ON CONFLICT (id) DO UPDATE SET count = known.count + excluded.count
        RETURNING known.id, known.count
    )
    SELECT (SELECT count(*) FROM taken) AS taken, ARRAY(SELECT id FROM folded WHERE count = 0) AS gone
"""
_FORGET: Final = "DELETE FROM option_counts WHERE id = ANY($1)"

_LOCK_RECOUNT: Final = """
    SELECT pg_advisory_xact_lock(hashtext('compass.option-recount'), hashtext(current_schema())),
        set_config('statement_timeout', '0', true)
"""
# One statement sees one moment: what others commit meanwhile is in none of the three, and in none of the corrections.
_RECOUNT: Final = """
    WITH compared AS (
        SELECT facet, value, detail, domain, system_name, sum(stored) AS counted, sum(actual) AS found
        FROM (
            SELECT facet, value, detail, domain, system_name, count AS stored, 0 AS actual FROM option_counts
            UNION ALL SELECT facet, value, detail, domain, system_name, delta, 0 FROM option_deltas
            UNION ALL SELECT facet, value, detail, domain, system_name, 0, count FROM current_option_counts()
        ) AS one
        GROUP BY facet, value, detail, domain, system_name
    ), corrected AS (
        INSERT INTO option_deltas (facet, value, detail, domain, system_name, delta)
        SELECT facet, value, detail, domain, system_name, found - counted FROM compared WHERE found <> counted
    )
    SELECT facet, value, detail, CAST(domain AS text) AS domain, system_name,
        CAST(counted AS bigint) AS counted, CAST(found AS bigint) AS found
    FROM compared WHERE found <> counted OR facet = 'signal'
    ORDER BY facet, value, detail, domain, system_name
"""

_CHOSEN: Final = """
    (cardinality($1::text[]) = 0 OR domain::text = ANY($1)) AND (cardinality($2::text[]) = 0 OR system_name = ANY($2))
"""
# A list is narrowed by the other filters, never by its own: whoever chose a system still sees the other systems.
_OPTIONS: Final = f"""
    WITH chosen AS MATERIALIZED (
        SELECT facet, value, detail, count FROM option_counts WHERE {_CHOSEN}
    ), options AS (
        SELECT facet, CASE WHEN facet = 'dimension' THEN detail END AS name, value, NULL AS label, sum(count) AS count
        FROM chosen GROUP BY facet, name, value
        UNION ALL
        SELECT 'facility_id', NULL, detail, (array_agg(value ORDER BY count DESC, value))[1], sum(count)
        FROM chosen WHERE facet = 'facility' AND detail IS NOT NULL GROUP BY detail
        UNION ALL
        SELECT 'domain', NULL, domain::text, NULL, sum(count) FROM option_counts
        WHERE facet = 'signal' AND (cardinality($2::text[]) = 0 OR system_name = ANY($2)) GROUP BY domain
        UNION ALL
        SELECT 'system_name', NULL, system_name, NULL, sum(count) FROM option_counts
        WHERE facet = 'signal' AND (cardinality($1::text[]) = 0 OR domain::text = ANY($1)) GROUP BY system_name
    ), placed AS (
        SELECT *, row_number() OVER (PARTITION BY facet, name ORDER BY value IS NULL DESC, count DESC, value) AS place
        FROM options WHERE count > 0
    )
    SELECT facet, name, value, CAST(count AS bigint) AS count, CASE facet
        WHEN 'metric_id' THEN (SELECT display_name FROM metrics AS m WHERE m.metric_id = placed.value)
        WHEN 'assignee_id' THEN (SELECT u.name FROM users AS u WHERE u.id = CAST(placed.value AS uuid))
        ELSE label END AS label
    FROM placed WHERE place <= $3 ORDER BY facet, name, place
"""  # noqa: S608 - constants
_COUNTS: Final = f"""
    SELECT facet, value, CAST(sum(count) AS bigint) AS count, NULL AS name, NULL AS label
    FROM option_counts WHERE facet = ANY($3) AND {_CHOSEN} GROUP BY facet, value
    UNION ALL
    SELECT 'domain', domain::text, CAST(sum(count) AS bigint), NULL, NULL
    FROM option_counts WHERE facet = 'signal' AND {_CHOSEN} GROUP BY domain
"""  # noqa: S608 - constants
_FACILITIES: Final = f"""
    WITH chosen AS (
        SELECT system_name, value AS facility, detail AS facility_id, sum(count) AS count
        FROM option_counts
        WHERE facet = 'facility' AND {_CHOSEN}
            AND ($3::text IS NULL OR strpos(lower(value), lower($3)) > 0 OR strpos(lower(detail), lower($3)) > 0)
        GROUP BY system_name, facility, facility_id HAVING sum(count) > 0
    )
    SELECT system_name, facility, facility_id, CAST(count AS bigint) AS count,
        CAST(sum(count) OVER (PARTITION BY system_name) AS bigint) AS system_count, count(*) OVER () AS facilities
    FROM chosen ORDER BY system_name NULLS LAST, facility, facility_id NULLS LAST LIMIT $4
"""  # noqa: S608 - constants


class OptionCount(Struct, frozen=True):
    """How many current signals have a value. ``name`` is a dimension's, ``label`` what to show instead of an id."""

    facet: str
    name: str | None
    value: str | None
    label: str | None
    count: int


class FacilityCount(Struct, frozen=True):
    """How many current signals a facility has in a system, how many all of the system's, and how many facilities."""

    system_name: str | None
    facility: str
    facility_id: str | None
    count: int
    system_count: int
    facilities: int


class Recount(Struct, frozen=True):
    """What a count was and what counting anew found, of one value in one domain and system."""

    facet: str
    value: str | None
    detail: str | None
    domain: str
    system_name: str | None
    counted: int
    found: int


async def fold(session: AsyncSession) -> bool:
    """Add appended changes to the counts, unless another instance does; whether there may be more of them."""
    connection = await raw_connection(session)
    if not await connection.fetchval(_ALONE):
        return False
    folded = await connection.fetchrow(_FOLD, _DELTAS_AT_ONCE)
    if folded["gone"]:
        await connection.execute(_FORGET, folded["gone"])
    taken: int = folded["taken"]
    return taken == _DELTAS_AT_ONCE


async def recount(session: AsyncSession) -> list[Recount]:
    """Count the current signals themselves and correct what differs; the differences, and each number of signals.

    Writers go on meanwhile: corrections are added to what they append.
    """
    connection = await raw_connection(session)
    await connection.execute(_LOCK_RECOUNT)
    return [Recount(**record) for record in await connection.fetch(_RECOUNT)]


async def options(
    session: AsyncSession, domains: Sequence[str], systems: Sequence[str], most: int
) -> list[OptionCount]:
    """Up to so many values of each filter: NULL first, then the most frequent."""
    return await _counts(session, _OPTIONS, domains, systems, most)


async def counts(
    session: AsyncSession, domains: Sequence[str], systems: Sequence[str], facets: Sequence[str]
) -> list[OptionCount]:
    """Every value of some facets, and of the domain."""
    return await _counts(session, _COUNTS, domains, systems, facets)


async def facilities(
    session: AsyncSession, domains: Sequence[str], systems: Sequence[str], text: str | None, most: int
) -> list[FacilityCount]:
    """Up to so many facilities, whose name or id holds the text, in the order of systems and names."""
    connection = await raw_connection(session)
    records = await connection.fetch(_FACILITIES, list(domains), list(systems), text, most)
    return [FacilityCount(**record) for record in records]


async def _counts(session: AsyncSession, statement: str, *parameters: Any) -> list[OptionCount]:
    connection = await raw_connection(session)
    return [OptionCount(**record) for record in await connection.fetch(statement, *parameters)]
