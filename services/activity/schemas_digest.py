"""What the digest answers."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.activity.schemas import Actor, FeedEvent, SignalLabel
from shared.events.vocabulary import UserRole
from shared.moments import Moment


class DigestQuery(BaseModel):
    """Since when somebody wants to know."""

    model_config = ConfigDict(extra="forbid")

    since: Moment | None = Field(None, description="24 hours ago unless given.", examples=["2026-07-01T06:00:00Z"])


class Section(BaseModel):
    """Events of one kind, the most severe first."""

    count: int = Field(description="How many there are, exact up to 10,000.")
    count_is_capped: bool
    events: list[FeedEvent] = Field(description="At most ten of them.")


class Overdue(BaseModel):
    """An open assignment past its date, as it was told last."""

    assignment_id: UUID
    signal_id: UUID
    signal: SignalLabel | None
    assignee: Actor | None
    role_type: str | None
    status: str
    due_at: datetime
    days_overdue: int = Field(description="Whole days.")
    is_mine: bool


class OverdueSection(BaseModel):
    """Overdue assignments, the longest overdue first."""

    count: int = Field(description="How many there are, exact up to 10,000.")
    count_is_capped: bool
    assignments: list[Overdue] = Field(description="At most ten of them.")


class Digest(BaseModel):
    """What a person of a role must know since then."""

    since: datetime
    until: datetime
    role: UserRole
    is_empty: bool = Field(description="Whether there is nothing to know.")
    position: int = Field(description="Of the feed's last event then: `up_to_position` for marking all as read.")
    new_critical: Section = Field(description="New signals with severity 91 or more, or of critical magnitude.")
    overdue: OverdueSection = Field(
        description="Open and past its date now, not put aside: for a leadership role its own and the caller's, for "
        "others all."
    )
    escalated_to_me: Section = Field(description="Overdue work of others that the caller should see to.")
    assigned_to_me: Section = Field(description="Given to the caller by others, and still theirs to do.")
    regressions: Section
    improvements: Section
    outcomes: Section = Field(description="Interventions whose outcome was measured.")
    technical_errors: Section | None = Field(description="For admins; null for others.")
    missing_sequences: int | None = Field(description="Events that the audit log lacks now. For admins.")
