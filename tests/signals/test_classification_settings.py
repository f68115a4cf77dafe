"""The thresholds: changeable one by one, refused where they contradict each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.signals.classification import Figures, classify
from services.signals.classification_settings import ClassificationSettings, TypeThresholds
from shared.events.engine import ClassificationInputs


def test_one_threshold_can_be_changed_by_its_path() -> None:
    settings = ClassificationSettings.model_validate({"types": {"critical_zscore_above": 1.2}})
    inputs = ClassificationInputs(1.2465, 90.83, None, 0.409, 1.677)
    assert classify(Figures(0.1, inputs=inputs), settings).simplified_signal_type == "critical_trajectory"
    assert settings.types.chronic_zscore_above == 1.0


def test_settings_cannot_change_while_the_service_runs() -> None:
    settings = ClassificationSettings()
    with pytest.raises(ValidationError):
        setattr(settings, "types", TypeThresholds())  # noqa: B010 - the type checker knows that it is frozen
    with pytest.raises(ValidationError):
        setattr(settings.types, "minimum_periods", 4)  # noqa: B010


def test_steps_come_from_json() -> None:
    settings = ClassificationSettings.model_validate_json('{"refinements": {"slope_below": [[50, -5]]}}')
    inputs = ClassificationInputs(slope_percentile=49.0)
    assert classify(Figures(0.1, inputs=inputs), settings).simplified_severity == 37


@pytest.mark.parametrize(
    "broken",
    [
        {"magnitude": {"severe": 99.0}},
        {"magnitude": {"favorable": 30.0}},
        {"magnitude": {"critical": 101.0}},
        {"trajectory": {"stable": 70.0}},
        {"indicators": {"normal_up_to": 1.5}},
        {"indicators": {"stable_below": 20.0}},
        {"ranges": {"baseline": [59, 26]}},
        {"ranges": {"baseline": [26, 101]}},
        {"ranges": {"baseline": [-1, 50]}},
        {"refinements": {"slope_below": [[40, -1], [20, -2]]}},
        {"refinements": {"slope_below": []}},
        {"refinements": {"risk_acceleration_above": [[0.005, 1], [0.01, 2]]}},
        {"types": {"chronic_zscore_above": float("nan")}},
        {"types": {"no_such_threshold": 1.0}},
    ],
)
def test_contradictions_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClassificationSettings.model_validate(broken)


@pytest.mark.parametrize(
    "at_the_limit",
    [
        {"ranges": {"baseline": [0, 100]}},
        {"ranges": {"baseline": [0, 0]}},
        {"ranges": {"baseline": [100, 100]}},
        {"trajectory": {"improving": 0.0}},
        {"magnitude": {"critical": 100.0, "critical_zscore": 0.0}},
        {"inputs": {"quartiles_per_std": 0.5}},
    ],
)
def test_limits_themselves_are_allowed(at_the_limit: dict[str, Any]) -> None:
    settings = ClassificationSettings.model_validate(at_the_limit).model_dump()
    for group, values in at_the_limit.items():
        for name, value in values.items():
            assert settings[group][name] == (tuple(value) if isinstance(value, list) else value)
