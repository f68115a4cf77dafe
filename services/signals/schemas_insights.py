"""What the API of insights answers."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class InsightView(BaseModel):
    """A text that the engine generated about a signal."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "91523685-0351-52c0-864c-e321e9fc231d",
                    "title": "Evening arrivals",
                    "text": "Most breaches fall between 18:00 and 23:00.",
                    "confidence": 0.82,
                    "received_at": "2026-07-02T09:00:00Z",
                }
            ]
        }
    )

    id: UUID
    title: str
    text: str
    confidence: float = Field(description="The engine's own, 0 to 1.")
    received_at: AwareDatetime


class InsightPage(BaseModel):
    """Insights on a signal, newest first."""

    insights: list[InsightView]
    cursor: str | None = Field(description="For the next page; null on the last.")
    has_more: bool
