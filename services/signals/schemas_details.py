"""What the API answers about one signal: what came before, what belongs to it, its months, its classification."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.signals import examples
from services.signals.schemas import Derivation, Graded, SignalItem, example
from shared.events.vocabulary import MetricPolarity
from shared.pagination import NextCursor


class HistoryPage(BaseModel):
    """Earlier detections of a signal's entity, newest first, archived ones among them."""

    model_config = example(examples.HISTORY_PAGE)

    signals: list[SignalItem] = Field(description="Newest first.")
    cursor: NextCursor
    has_more: bool = Field(description="There is a next page.")


class Relatives(BaseModel):
    """Signals that belong to another one, worst first."""

    model_config = example(examples.RELATIVES)

    signals: list[SignalItem] = Field(description="Worst first.")


class ParentView(BaseModel):
    """The signal one dimension up."""

    model_config = example(examples.PARENT)

    signal: SignalItem | None = Field(description="Null where nothing is known one dimension up.")


class Contribution(BaseModel):
    """What one child adds to the parent's excess."""

    signal_id: UUID = Field(description="The child.")
    group_value: str | None = Field(description="What the child is called.")
    entity_dimensions: dict[str, str] = Field(description="The parent's dimensions and one more.")
    encounters: int | None = Field(description="The child's; without them it has no share.")
    share: float = Field(description="Of the encounters of all children, 0 to 1.")
    contribution: float = Field(description="share x (the child's value - the parent's peer mean), rounded.")


class Contributions(BaseModel):
    """A signal's excess over its peers, taken apart by its children."""

    model_config = example(examples.CONTRIBUTIONS)

    signal_id: UUID = Field(description="The parent.")
    excess: float | None = Field(description="metric_value - peer_mean; null without a peer_mean.")
    contributions: list[Contribution] = Field(description="Largest first; empty where the excess is not known.")
    unexplained: float | None = Field(description="Excess less all contributions: rounding, and children not known.")


class PeriodView(BaseModel):
    """One month: the metric's value, the peers' band and the engine's figures."""

    period: str = Field(description="Year and month.", examples=["2017-06"])
    value: float | None = Field(description="The metric's value; null where the month has none.")
    encounters: int | None = Field(description="Encounters of the month.")
    peers: dict[str, Any] | None = Field(description="`p10`, `p25`, `p50`, `p75`, `p90`, `mean`, `std`, `n`.")
    figures: dict[str, Any] | None = Field(description="Whatever else the engine sent for the month.")


class TemporalView(BaseModel):
    """A signal over time."""

    model_config = example(examples.TEMPORAL)

    signal_id: UUID = Field(description="The signal.")
    metric_id: str = Field(description="Its metric.")
    polarity: MetricPolarity | None = Field(description="Which direction of the metric is better.")
    trend_direction: str | None = Field(description="`increasing`, `decreasing` or `stable`.")
    temporal_node_id: str | None = Field(description="The engine's name of the figures over time.")
    periods: list[PeriodView] = Field(description="Every month that timeline, peers or figures name, oldest first.")


class TechnicalView(Derivation, Graded):
    """How a signal was classified."""

    model_config = example(examples.TECHNICAL)

    signal_id: UUID = Field(description="The signal.")
    zscore: float | None = Field(description="(metric_value - peer_mean) / peer_std, in the metric's own direction.")
