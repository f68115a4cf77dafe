"""The closed sets of values that events, tables and the API share.

Every member's value is the text on the wire and in PostgreSQL's enum types; the order is the order of the
specification's data models, which the enum types keep.
"""

from enum import StrEnum


class SignalDomain(StrEnum):
    """Quality domain of a signal."""

    EFFICIENCY = "Efficiency"
    SAFETY = "Safety"
    EFFECTIVENESS = "Effectiveness"


class MetricPolarity(StrEnum):
    """Which direction of a metric is clinically desirable."""

    LOWER_IS_BETTER = "lower_is_better"
    HIGHER_IS_BETTER = "higher_is_better"
    TARGET_RANGE = "target_range"


class MagnitudeTier(StrEnum):
    """How far the figure lies from the peers, worst first."""

    CRITICAL = "critical"
    SEVERE = "severe"
    ELEVATED = "elevated"
    MARGINAL = "marginal"
    EXPECTED = "expected"
    FAVORABLE = "favorable"
    EXCELLENT = "excellent"


class TrajectoryTier(StrEnum):
    """Direction and speed of change over time, worst first."""

    RAPIDLY_DETERIORATING = "rapidly_deteriorating"
    DETERIORATING = "deteriorating"
    STABLE = "stable"
    IMPROVING = "improving"
    RAPIDLY_IMPROVING = "rapidly_improving"


class ConsistencyTier(StrEnum):
    """Stability of the timeline's values."""

    PERSISTENT = "persistent"
    VARIABLE = "variable"
    TRANSIENT = "transient"


class SignalType(StrEnum):
    """The nine classifications of a signal, in the order in which their rules are tried."""

    SUSPECT_DATA = "suspect_data"
    CRITICAL_TRAJECTORY = "critical_trajectory"
    CHRONIC_UNDERPERFORMER = "chronic_underperformer"
    VOLATILITY_ALERT = "volatility_alert"
    RECOVERING = "recovering"
    SUSTAINED_EXCELLENCE = "sustained_excellence"
    IMPROVING_LEADER = "improving_leader"
    EMERGING_RISK = "emerging_risk"
    BASELINE = "baseline"


class UserRole(StrEnum):
    """What a user may do; the permissions of each role are in `shared.access`."""

    ADMIN = "admin"
    CLINICAL_LEADERSHIP = "clinical_leadership"
    NURSING_LEADERSHIP = "nursing_leadership"
    ADMINISTRATION = "administration"
    VIEWER = "viewer"


class RoleType(StrEnum):
    """The leadership role in which somebody is assigned a signal."""

    CLINICAL_LEADERSHIP = "clinical_leadership"
    NURSING_LEADERSHIP = "nursing_leadership"
    ADMINISTRATION = "administration"


class AssignmentStatus(StrEnum):
    """Workflow status of a signal's assignment."""

    NEW = "new"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


class ActivityEventType(StrEnum):
    """The ten kinds of event that the activity feed shows (`feedtype` of an event)."""

    NEW_SIGNAL = "new_signal"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    INSIGHT = "insight"
    TECHNICAL_ERROR = "technical_error"
    ASSIGNMENT = "assignment"
    STATUS_CHANGE = "status_change"
    COMMENT = "comment"
    INTERVENTION_ACTIVATED = "intervention_activated"
    INTERVENTION_OUTCOME = "intervention_outcome"
