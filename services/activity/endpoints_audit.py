"""The audit log: pages, export, and what is missing in it."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.activity import repository_audit_pages as repository
from services.activity import service_export
from services.activity.schemas_audit import (
    AuditEntry,
    AuditExportQuery,
    AuditPage,
    AuditPageQuery,
    ExportFormat,
    Gap,
    GapPage,
    GapsQuery,
)
from shared.auth import Permission, User, require
from shared.db import DbReading, DbSession
from shared.pagination import cut, decode_cursor

router = APIRouter(prefix="/api/audit", tags=["Activity"])

Auditor = Annotated[User, require(Permission.READ_AUDIT)]

_MEDIA_TYPES: Final = {ExportFormat.CSV: "text/csv; charset=utf-8", ExportFormat.NDJSON: "application/x-ndjson"}


@router.get("", response_model=AuditPage)
async def audit(_: Auditor, session: DbReading, query: Annotated[AuditPageQuery, Query()]) -> Response:
    """Every event of every service, the last recorded first."""
    before = None if query.cursor is None else decode_cursor(query.cursor, tuple[repository.Position])[0]
    rows = await repository.page(session, query.chosen(), before, query.limit + 1)
    shown, cursor = cut(rows, query.limit, lambda row: (row["position"],))
    page = AuditPage(
        entries=[AuditEntry.of(row) for row in shown],
        cursor=cursor,
        has_more=cursor is not None,
    )
    # A model that is returned is validated once more on its way out.
    return Response(page.model_dump_json(), media_type="application/json")


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}, "text/csv": {}}}},
)
async def export(_: Auditor, request: Request, query: Annotated[AuditExportQuery, Query()]) -> StreamingResponse:
    """All events that match, in the order of recording, streamed: as of the moment when the export began.

    In CSV a text that a spreadsheet would take for a formula stands behind an apostrophe; lines end with a line feed.
    """
    state = request.app.state
    state.exports.check()
    lines = service_export.export(state.exports, state.session_maker, query.chosen(), query.format)
    media_type = _MEDIA_TYPES[query.format]
    headers = {"content-disposition": f'attachment; filename="audit.{query.format}"', "cache-control": "no-store"}
    return StreamingResponse(lines, media_type=media_type, headers=headers)


@router.get("/gaps")
async def gaps(_: Auditor, session: DbSession, query: Annotated[GapsQuery, Query()]) -> GapPage:
    """Sequence numbers that have not come, though later ones of the same subject have."""
    after = None if query.cursor is None else decode_cursor(query.cursor, repository.GapPlace)
    rows = await repository.gaps(session, after, query.limit + 1)
    subjects, missing = await repository.count_missing(session)
    shown, cursor = cut(rows, query.limit, lambda row: (row.noticed_at, row.subject, row.first, row.source))
    return GapPage(
        gaps=[Gap.of(row) for row in shown],
        cursor=cursor,
        has_more=cursor is not None,
        missing=missing,
        subjects=subjects,
    )
