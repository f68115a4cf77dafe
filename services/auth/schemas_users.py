"""What administrators send and get about accounts."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.auth.models import User
from services.auth.service_users import Change, Changed, Page
from services.auth.text import EmailAddress, PersonName
from shared.events.vocabulary import UserRole
from shared.pagination import NextCursor


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(_Request):
    """An account to make. It gets an initial password, which is in the answer and nowhere else."""

    email: EmailAddress = Field(description="Kept in lower case; unique.", examples=["ward@hospital.example"])
    name: PersonName = Field(examples=["Ward Manager"])
    role: UserRole = Field(examples=["clinical_leadership"])


class UserPatch(_Request):
    """What to change; what is left out stays as it is."""

    email: EmailAddress | None = Field(None, examples=["ward.manager@hospital.example"])
    name: PersonName | None = Field(None, examples=["Ward Manager"])
    role: UserRole | None = Field(None, description="Access tokens issued with the former role are refused.")
    is_active: bool | None = Field(None, strict=True, description="False ends all sessions; true lets log in again.")
    reset_password: bool = Field(
        False,
        strict=True,
        description="Make a new initial password, for somebody who forgot theirs; ends all sessions.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("names nothing to change")
        empty = [name for name in self.model_fields_set if getattr(self, name) is None]
        if empty:
            raise ValueError(f"null is no value of {', '.join(sorted(empty))}")
        return self

    def change(self) -> Change:
        """The change that it asks for."""
        return Change(**self.model_dump())


class UserItem(BaseModel):
    """An account."""

    id: UUID
    email: str = Field(examples=["ward@hospital.example"])
    name: str = Field(examples=["Ward Manager"])
    role: UserRole
    is_active: bool = Field(description="Whether the account may be used.")
    must_change_password: bool = Field(description="Whether it waits for its first login with an initial password.")
    created_at: datetime
    updated_at: datetime
    etag: str = Field(description="For `If-Match`, quotes included; the header `ETag` too.", examples=['"3"'])

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer for an account."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            is_active=user.is_active,
            must_change_password=user.initial_password_until is not None,
            created_at=user.created_at,
            updated_at=user.updated_at,
            etag=user.etag,
        )


class ChangedUser(UserItem):
    """An account after the change."""

    initial_password: str | None = Field(
        None,
        description="Shown this once, to be given to the person, who replaces it at the first login. Null where none "
        "was made, and in the answer to a repeated Idempotency-Key.",
        examples=["h7k2m-qx9ta-bn4vd-p3wsc"],
    )
    initial_password_until: datetime | None = Field(description="Until when the first login has to take place.")

    @classmethod
    def after(cls, changed: Changed) -> Self:
        """The answer to be remembered: without the initial password."""
        item = UserItem.of(changed.user)
        return cls(**item.model_dump(), initial_password_until=changed.user.initial_password_until)


class UserPage(BaseModel):
    """Accounts, the newest first."""

    users: list[UserItem]
    limit: int
    cursor: NextCursor
    has_more: bool
    total_count: int = Field(description="Accounts that match the filters, exact up to 10,000.")
    total_is_capped: bool = Field(description="Whether there are more than `total_count`.")

    @classmethod
    def of(cls, page: Page, limit: int) -> Self:
        """The answer for a page."""
        return cls(
            users=[UserItem.of(user) for user in page.users],
            limit=limit,
            cursor=page.cursor,
            has_more=page.cursor is not None,
            total_count=page.total_count,
            total_is_capped=page.total_is_capped,
        )
