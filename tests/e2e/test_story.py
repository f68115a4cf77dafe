"""One signal's way from the engine to the feed, as the people who use it see it, on the embedded stack."""

from collections.abc import Iterable
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from tests.e2e import stories
from tests.e2e.api import send


class OfStack:
    """The embedded stack as a place for stories."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    @property
    def gateway_url(self) -> str:
        return self._stack.gateway_url

    async def send(self, signals: Iterable[dict[str, Any]]) -> None:
        await send(self._stack, signals)


@pytest.fixture
def place(stack: LocalStack) -> OfStack:
    return OfStack(stack)


async def test_from_the_engine_to_the_feed(place: OfStack) -> None:
    await stories.from_the_engine_to_the_feed(place)


async def test_an_open_assignment_follows_the_newer_detection(place: OfStack) -> None:
    await stories.an_open_assignment_follows_the_newer_detection(place)


async def test_publishing_again_changes_nothing(place: OfStack) -> None:
    await stories.publishing_again_changes_nothing(place)


async def test_who_may_not(place: OfStack) -> None:
    await stories.who_may_not(place)
