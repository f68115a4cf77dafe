"""The invented hospital group of the generated figures: who is in it, and what is measured there."""

from dataclasses import dataclass

from deploy.demo.figures import Facility, Measure
from shared.events.vocabulary import MetricPolarity, SignalDomain

_SYSTEMS = {
    "Northmoor Health": ("Alderbrook", "Brackenfield", "Coldwater", "Dunmere", "Eastholm", "Farrowdale", "Glenhaven"),
    "Calder Valley Care": ("Ashcombe", "Birchover", "Cressing", "Dovermill", "Elmsworth", "Fernhurst", "Greystoke"),
    "Silverlake Partners": ("Ambermere", "Bluewater", "Clearbrook", "Deerfield", "Edgewater", "Foxhollow", "Goldcrest"),
    "St. Auberon Group": (
        "Harrowgate Hill",
        "Ivybridge",
        "Juniper Bay",
        "Kingsmere",
        "Larkspur",
        "Maplewick",
        "Norcross",
    ),
    "Tamarind Coast Health": ("Oakhaven", "Pelican Point", "Quarry Bay", "Redcliff", "Sandmere", "Thornbury Cove"),
    "Wexmoor Alliance": ("Umberleigh", "Vale Royal", "Westerby", "Yarrowfield", "Zennorford", "Wrenfield"),
}
_KINDS = ("General Hospital", "Medical Center", "Community Hospital", "Memorial Hospital", "Regional Hospital")

CARDIOLOGY, ORTHOPEDICS, SURGERY = "Cardiology", "Orthopedics", "General Surgery"
MATERNITY, EMERGENCY, MEDICINE = "Maternity", "Emergency Medicine", "Internal Medicine"
SERVICE_LINES = (CARDIOLOGY, ORTHOPEDICS, SURGERY, MATERNITY, EMERGENCY, MEDICINE)

ADMISSION_TYPES = ("planned", "unplanned")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with the typical figures that values are drawn around.

    `cases` are a hospital's typical monthly cases per service line; `is_split` metrics are reported by admission type.
    """

    metric_id: str
    name: str
    domain: SignalDomain
    polarity: MetricPolarity
    service_lines: tuple[str, ...]
    typical: float
    cases: int
    is_share: bool = True
    is_split: bool = True
    target_range: tuple[float, float] | None = None

    def measure(self, service_line: str) -> Measure:
        """The metric in one service line."""
        node = f"demo:{self.metric_id}:{service_line.lower().replace(' ', '-')}"
        return Measure(
            metric_id=self.metric_id,
            name=f"{self.name} in {service_line}",
            domain=self.domain,
            polarity=self.polarity,
            service_line=service_line,
            canonical_node_id=node,
            temporal_node_id=f"{node}:monthly",
            target_range=self.target_range,
            as_percentage=self.is_share,
        )


_LOWER, _HIGHER, _TARGET = MetricPolarity
_EFFICIENCY, _SAFETY, _EFFECTIVENESS = SignalDomain

METRICS = (
    Metric(
        "lengthOfStayDays", "Length of stay (days)", _EFFICIENCY, _LOWER,
        (CARDIOLOGY, ORTHOPEDICS, SURGERY, MEDICINE), typical=4.8, cases=160, is_share=False,
    ),
    Metric(
        "dischargeBeforeNoonRate", "Discharge before noon", _EFFICIENCY, _HIGHER,
        (CARDIOLOGY, ORTHOPEDICS, MEDICINE), typical=0.24, cases=160,
    ),
    Metric(
        "bedOccupancyRate", "Bed occupancy", _EFFICIENCY, _TARGET,
        (CARDIOLOGY, SURGERY, MATERNITY, MEDICINE), typical=0.84, cases=900, is_split=False,
    ),
    Metric(
        "inpatientFallRate", "Inpatient falls", _SAFETY, _LOWER,
        (CARDIOLOGY, ORTHOPEDICS, MEDICINE), typical=0.028, cases=240,
    ),
    Metric(
        "surgicalSiteInfectionRate", "Surgical site infections", _SAFETY, _LOWER,
        (ORTHOPEDICS, SURGERY, MATERNITY), typical=0.031, cases=130,
    ),
    Metric(
        "handHygieneRate", "Hand hygiene compliance", _SAFETY, _HIGHER,
        SERVICE_LINES, typical=0.86, cases=320, is_split=False,
    ),
    Metric(
        "readmission30DayRate", "Readmission within 30 days", _EFFECTIVENESS, _LOWER,
        (CARDIOLOGY, SURGERY, EMERGENCY, MEDICINE), typical=0.118, cases=170,
    ),
    Metric(
        "ctImagingRate", "CT imaging", _EFFECTIVENESS, _TARGET,
        (SURGERY, EMERGENCY), typical=0.33, cases=420,
    ),
)  # fmt: skip


def facilities() -> tuple[Facility, ...]:
    """The 40 hospitals, always the same. Their ids lie outside of what Medicare gives out."""
    return tuple(
        Facility(f"99{number:04}", f"{town} {_KINDS[number % len(_KINDS)]}", system)
        for number, (town, system) in enumerate(
            ((town, system) for system, towns in _SYSTEMS.items() for town in towns), start=1
        )
    )
