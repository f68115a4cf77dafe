"""The rules of reading signals: pages and their cursors."""

from typing import Any
from uuid import UUID

import msgspec

from services.signals import repository, repository_totals
from services.signals.repository import CURSORS, Place
from services.signals.repository_search import search
from services.signals.schemas import SignalQuery
from services.signals.service_totals import LargeTotals
from shared.db import AnySession
from shared.errors import FieldProblem, InvalidError
from shared.pagination import COUNT_CAP, cut, decode_cursor

_LARGEST_SEVERITY = 2**31 - 1


async def list_page(session: AnySession, totals: LargeTotals, query: SignalQuery, caller: UUID) -> bytes:
    """A page of the list, as the JSON of a `SignalPage`.

    Raises:
        InvalidError: for a cursor of another sort, or of no list at all.
    """
    filters = query.filters(caller)
    place = Place(offset=query.offset or 0) if query.cursor is None else _place(query)
    known = await totals.known(session, filters)
    found_by = None if filters.q is None else await search(session, filters.q)
    least = 0 if known is not None else await repository_totals.at_least(session, filters, found_by)
    many = least if known is None and least > repository.FEW else known
    found = await repository.page(
        session, filters, query.sort_by, query.sort_order, place, query.limit + 1, many, found_by
    )
    rows, cursor = cut(found, query.limit, lambda row: (query.sort_by, query.sort_order, *row.place))
    if query.cursor is None and cursor is None and (rows or not place.offset):
        total = place.offset + len(rows)
    elif known is not None:
        total = known
    elif least > COUNT_CAP:
        total = least
    else:
        total = await repository.count(session, filters, found_by, COUNT_CAP + 1)
    rest: dict[str, Any] = {
        "total_count": min(total, COUNT_CAP),
        "total_is_capped": total > COUNT_CAP,
        "limit": query.limit,
        "offset": place.offset if query.cursor is None else None,
        "cursor": cursor,
        "has_more": cursor is not None,
    }
    items = ",".join(row.item for row in rows)
    return f'{{"signals":[{items}],'.encode() + msgspec.json.encode(rest)[1:]


def _place(query: SignalQuery) -> Place:
    sort, order, *after = decode_cursor(query.cursor or "", CURSORS[query.sort_by])
    if (sort, order) != (query.sort_by, query.sort_order) or (
        type(after[0]) is int and abs(after[0]) > _LARGEST_SEVERITY
    ):
        detail = "The cursor belongs to another sort."
        raise InvalidError(detail, "bad_cursor", errors=[FieldProblem(pointer="/query/cursor", detail=detail)])
    return Place(tuple(after))
