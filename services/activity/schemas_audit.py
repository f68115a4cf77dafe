"""What the audit log's API takes and answers."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.activity.models import SequenceGap
from services.activity.repository_audit_pages import AuditFilters
from shared.moments import Moment
from shared.pagination import Cursor, Limit, NextCursor

# PostgreSQL takes no NUL in a text.
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class AuditQuery(BaseModel):
    """Which events of the audit log are meant; all given conditions hold together."""

    model_config = ConfigDict(extra="forbid")

    subject: UUID | None = Field(None, description="The signal, user or other thing that an event is about.")
    type: list[Name] = Field(
        [], max_length=50, description="CloudEvents types; repeatable.", examples=[["compass.login.failed.v1"]]
    )
    actor_id: UUID | None = Field(None, description="Only what this user did.")
    source: Name | None = Field(None, description="The producer.", examples=["/services/auth"])
    since: Moment | None = Field(None, alias="from", description="Only what happened at this time or later.")
    until: Moment | None = Field(None, alias="to", description="Only what happened before this time.")

    def chosen(self) -> AuditFilters:
        """The filters as the repository takes them."""
        types = tuple(dict.fromkeys(self.type))
        return AuditFilters(self.subject, types, self.actor_id, self.source, self.since, self.until)


class AuditPageQuery(AuditQuery):
    """A page of the audit log."""

    limit: Limit = 50
    cursor: Cursor = None


class ExportFormat(StrEnum):
    """How an export is written."""

    NDJSON = "ndjson"
    CSV = "csv"


class AuditExportQuery(AuditQuery):
    """An export of the audit log."""

    format: ExportFormat = Field(ExportFormat.NDJSON, description="One JSON object per line, or CSV (RFC 4180).")


class GapsQuery(BaseModel):
    """A page of the gaps."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: Cursor = None


class AuditEntry(BaseModel):
    """One event of any service, as it was recorded."""

    position: int = Field(description="In the order in which events were recorded, from 1 without gaps.")
    recorded_at: datetime
    event_id: UUID
    source: str
    subject: UUID
    sequence: int = Field(description="Per source and subject, from 1 without gaps.")
    type: str
    time: datetime = Field(description="When it happened.")
    actor_id: UUID | None = Field(description="Who did it; null for the system.")
    feed_type: str | None
    hash: str = Field(description="SHA-256 over the hash of the entry before and this entry, in hex.")
    envelope: Any = Field(description="The whole event.")

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row of the audit log by the names of its columns."""
        whole = {"hash": row["hash"].hex(), "envelope": msgspec.json.decode(row["envelope"])}
        return cls(**{**row, **whole})


class AuditPage(BaseModel):
    """Entries, the last recorded first."""

    entries: list[AuditEntry]
    cursor: NextCursor
    has_more: bool


class Gap(BaseModel):
    """Sequence numbers of one subject that have not come, though a later one has."""

    source: str
    subject: UUID
    first: int
    last: int
    noticed_at: datetime

    @classmethod
    def of(cls, row: SequenceGap) -> Self:
        """From a row of the table."""
        return cls(source=row.source, subject=row.subject, first=row.first, last=row.last, noticed_at=row.noticed_at)


class GapPage(BaseModel):
    """Gaps, those that were noticed first at the front. A gap goes by itself when its events come."""

    gaps: list[Gap]
    cursor: NextCursor
    has_more: bool
    missing: int = Field(description="Sequence numbers missing in all.")
    subjects: int = Field(description="Subjects of which at least one is missing.")
