"""Comments on a signal, shown along the chain of its entity's detections."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_comments, service_events
from services.workflow.models import Comment
from services.workflow.repository_comments import CommentRow
from services.workflow.schemas import CommentPage, CommentRequest, CommentView, PersonView
from services.workflow.service_desk import lock, not_known_yet
from shared import outbox
from shared.auth import User
from shared.db import AnySession
from shared.pagination import cut, decode_cursor


async def add(session: AsyncSession, user: User, signal_id: UUID, request: CommentRequest) -> CommentView:
    """Comment on a signal.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        ConflictError: ``superseded``.
    """
    work = (await lock(session, user, [signal_id])).work(signal_id)
    comment = Comment(
        id=uuid4(),
        signal_id=signal_id,
        entity_id=work.signal.entity_id,
        author_id=user.id,
        author_name=user.name,
        text=request.text,
        created_at=datetime.now(UTC),
    )
    await repository_comments.store(session, comment)
    await outbox.publish(session, service_events.commented(work.signal, comment))
    return _view(comment)


async def page(session: AnySession, signal_id: UUID, cursor: str | None, limit: int) -> CommentPage:
    """Comments, the newest first; the same for every detection of the entity.

    Raises:
        NotFoundError: ``signal_not_known_yet``.
        InvalidError: ``bad_cursor``.
    """
    after = decode_cursor(cursor, repository_comments.Key) if cursor else None
    found = await repository_comments.page(session, signal_id, after, limit + 1)
    if found is None:
        raise not_known_yet()
    comments, following = cut(found, limit, lambda comment: (comment.created_at, comment.id))
    return CommentPage(
        comments=[_view(comment) for comment in comments],
        limit=limit,
        cursor=following,
        has_more=following is not None,
    )


def _view(comment: Comment | CommentRow) -> CommentView:
    return CommentView(
        id=comment.id,
        signal_id=comment.signal_id,
        author=PersonView(id=comment.author_id, name=comment.author_name),
        text=comment.text,
        created_at=comment.created_at,
    )
