"""What the API of insights answers."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.signals import examples
from shared.pagination import NextCursor


class InsightView(BaseModel):
    """A text that the engine generated about a signal."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INSIGHT]})

    id: UUID = Field(description="Of the insight.")
    title: str = Field(description="One line.")
    text: str = Field(description="In the engine's words; plain text, to be shown as it is.")
    confidence: float = Field(description="The engine's own, 0 to 1.")
    received_at: AwareDatetime = Field(description="When it came.")


class InsightPage(BaseModel):
    """Insights on a signal, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INSIGHT_PAGE]})

    insights: list[InsightView] = Field(description="Newest first.")
    cursor: NextCursor
    has_more: bool = Field(description="There is a next page.")
