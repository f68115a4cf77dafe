"""What the API of dead letters takes and answers."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.signals import examples_operations
from services.signals.schemas import Request, example
from shared.dead_letters_reading import DeadLetter, DeadLetterFilters, WholeDeadLetter, readable
from shared.dead_letters_replay import MOST_AT_ONCE
from shared.moments import Moment
from shared.pagination import Cursor, Limit, NextCursor
from shared.text import StorableText

_Name = Annotated[StorableText, StringConstraints(min_length=1, max_length=249)]
_Names = Annotated[list[_Name], Field(max_length=100)]


class DeadLetterQuery(BaseModel):
    """Filters and page of the list. A filter given several times matches any of its values."""

    model_config = ConfigDict(extra="forbid")

    topic: _Names = Field([], description="Where the message stood.", examples=[["engine.signals.v1"]])
    code: _Names = Field(
        [], description="The reason: `invalid_field`, `future_version` and others.", examples=[["future_version"]]
    )
    consumer_group: _Names = Field([], description="Who rejected it.", examples=[["signals.ingest"]])
    rejected_from: Moment | None = Field(None, alias="from", description="Rejected at this time or later.")
    rejected_to: Moment | None = Field(None, alias="to", description="Rejected before this time.")
    replayed: bool | None = Field(None, description="True: only those that were replayed; false: only the others.")
    limit: Limit = 25
    cursor: Cursor = None

    def filters(self) -> DeadLetterFilters:
        """The filters as the shared part takes them."""
        return DeadLetterFilters(
            self.topic, self.code, self.consumer_group, self.rejected_from, self.rejected_to, self.replayed
        )


class DeadLetterItem(BaseModel):
    """A message that could not be processed, and why."""

    model_config = example(examples_operations.DEAD_LETTER)

    id: UUID = Field(description="Of the dead letter.")
    consumer_group: str = Field(description="Who rejected it.")
    topic: str = Field(description="Where the message stood.")
    partition: int = Field(description="Of the topic.")
    offset: int = Field(description="The message's place in the partition.")
    code: str = Field(description="A stable word to filter by.")
    detail: str = Field(description="The reason in one sentence.")
    appended_at: AwareDatetime = Field(description="When the broker took the message.")
    rejected_at: AwareDatetime = Field(description="When it was rejected.")
    replayed_at: AwareDatetime | None = Field(description="Null while nobody has replayed it.")
    size: int = Field(description="Bytes of the message's value.")

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        """A dead letter as the API shows it."""
        return cls(**{name: getattr(letter, name) for name in cls.model_fields})


class DeadLetterPage(BaseModel):
    """Dead letters, latest first."""

    model_config = example(examples_operations.DEAD_LETTERS)

    dead_letters: list[DeadLetterItem] = Field(description="Latest first.")
    cursor: NextCursor
    has_more: bool = Field(description="There is a next page.")


class Content(BaseModel):
    """Bytes: as text where they are UTF-8."""

    encoding: Literal["utf-8", "base64"] = Field(description="How `text` shows the bytes.")
    text: str = Field(description="The bytes, shown.")

    @classmethod
    def of(cls, content: bytes | None) -> Self | None:
        """Bytes as the API shows them; None for none."""
        found = readable(content)
        return None if found is None else cls.model_validate({"encoding": found[0], "text": found[1]})


class HeaderView(BaseModel):
    """A header of the message."""

    name: str = Field(description="The header's name; one name may come several times.")
    value: Content | None = Field(description="Null where the header has none.")


class DeadLetterDetail(DeadLetterItem):
    """A dead letter with the message as it came."""

    model_config = example(examples_operations.WHOLE_DEAD_LETTER)

    key: Content | None = Field(description="Null where the message has none.")
    value: Content | None = Field(description="The message itself; null where it has none.")
    headers: list[HeaderView] = Field(description="In the message's order.")

    @classmethod
    def whole(cls, letter: WholeDeadLetter) -> Self:
        """A dead letter as the API shows it."""
        return cls(
            **DeadLetterItem.of(letter).model_dump(),
            key=Content.of(letter.key),
            value=Content.of(letter.value),
            headers=[HeaderView(name=name, value=Content.of(value)) for name, value in letter.headers],
        )


class ReplayRequest(Request):
    """Which dead letters to replay: by ids, or by any of the other fields, all of which must match."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ids": ["0d0c5f0e-2a9b-5d51-8d6c-3d1d2f1f7a11"]},
                {"code": "future_version", "from": "2026-07-01T00:00:00Z"},
            ]
        },
    )

    ids: Annotated[
        Annotated[list[Annotated[UUID, Field(strict=False)]], Field(min_length=1, max_length=MOST_AT_ONCE)] | None,
        Field(description="Of dead letters; then no other field."),
    ] = None
    topic: _Name | None = Field(None, description="Where the messages stood.")
    code: _Name | None = Field(None, description="The reason.")
    consumer_group: _Name | None = Field(None, description="Who rejected them.")
    rejected_from: Annotated[Moment | None, Field(alias="from", description="Rejected at this time or later.")] = None
    rejected_to: Annotated[Moment | None, Field(alias="to", description="Rejected before this time.")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by = (self.topic, self.code, self.consumer_group, self.rejected_from, self.rejected_to)
        if (self.ids is None) == all(value is None for value in by):
            raise ValueError("name either ids or what to replay by: topic, code, consumer_group, from, to")
        return self

    def filters(self) -> DeadLetterFilters:
        """What to replay by, where it is not ids."""
        return DeadLetterFilters(
            [self.topic] if self.topic is not None else (),
            [self.code] if self.code is not None else (),
            [self.consumer_group] if self.consumer_group is not None else (),
            self.rejected_from,
            self.rejected_to,
        )


class ReplayedView(BaseModel):
    """A dead letter whose message is on its way again."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Of the dead letter.")
    consumer_group: str = Field(description="Whom the message is for.")
    topic: str = Field(description="Where it stood, and is put again.")
    partition: int = Field(description="Where it stood.")
    offset: int = Field(description="Where it stood.")


class RefusedView(BaseModel):
    """A dead letter whose message cannot be put on its topic again."""

    id: UUID = Field(description="Of the dead letter.")
    detail: str = Field(description="Why, in a sentence.")


class ReplayView(BaseModel):
    """What a replay came to."""

    model_config = example(examples_operations.REPLAY)

    replayed: list[ReplayedView] = Field(description="In the order in which the messages are sent.")
    already_replayed: list[UUID] = Field(description="Of the ids: replayed before, and left alone.")
    unknown: list[UUID] = Field(description="Of the ids: there is no such dead letter.")
    refused: list[RefusedView] = Field(description="Of the ids: cannot be put on its topic again.")
    has_more: bool = Field(description="More match: the same request, with another Idempotency-Key, replays them.")
