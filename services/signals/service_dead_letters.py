"""What this service could not process: pages, one of them, and replays."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.signals.schemas_dead_letters import (
    DeadLetterDetail,
    DeadLetterItem,
    DeadLetterPage,
    DeadLetterQuery,
    RefusedView,
    ReplayedView,
    ReplayRequest,
    ReplayView,
)
from shared import dead_letters_reading, dead_letters_replay
from shared.errors import NotFoundError
from shared.pagination import cut, decode_cursor


async def page(session: AsyncSession, query: DeadLetterQuery) -> DeadLetterPage:
    """A page of the list.

    Raises:
        InvalidError: for a cursor of another list.
    """
    after = None if query.cursor is None else decode_cursor(query.cursor, tuple[datetime, UUID])
    found = await dead_letters_reading.page(session, query.filters(), after, query.limit + 1)
    letters, cursor = cut(found, query.limit, lambda letter: (letter.rejected_at, letter.id))
    return DeadLetterPage(
        dead_letters=[DeadLetterItem.of(letter) for letter in letters],
        cursor=cursor,
        has_more=cursor is not None,
    )


async def one(session: AsyncSession, letter_id: UUID) -> tuple[DeadLetterDetail, str]:
    """A dead letter with its message, and its entity tag.

    Raises:
        NotFoundError: without the dead letter.
    """
    letter = await dead_letters_reading.one(session, letter_id)
    if letter is None:
        raise NotFoundError("There is no dead letter with this id.")
    tag = letter.replayed_at.isoformat() if letter.replayed_at else "not-replayed"
    return DeadLetterDetail.whole(letter), f'"{tag}"'


async def replay(session: AsyncSession, request: ReplayRequest) -> ReplayView:
    """Replay what the request names and nobody has replayed before."""
    if request.ids is not None:
        outcome = await dead_letters_replay.replay_ids(session, request.ids)
    else:
        outcome = await dead_letters_replay.replay_matching(session, request.filters())
    return ReplayView(
        replayed=[ReplayedView.model_validate(letter) for letter in outcome.replayed],
        already_replayed=outcome.already_replayed,
        unknown=outcome.unknown,
        refused=[RefusedView(id=letter_id, detail=reason) for letter_id, reason in outcome.refused.items()],
        has_more=outcome.has_more,
    )
