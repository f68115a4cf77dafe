"""Fixtures: every overlay, rendered once."""

import pytest

from deploy.kubernetes import rendering
from deploy.kubernetes.places import OVERLAYS
from tests.kubernetes.manifests import Overlay


def rendered(name: str) -> Overlay:
    """An overlay; skips the test, with one line, where nothing can render it."""
    try:
        return Overlay(name, rendering.manifests(name))
    except rendering.NoRendererError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay."""
    return rendered(request.param)


@pytest.fixture(scope="session")
def production() -> Overlay:
    """The one for production."""
    return rendered("production")
