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


@stories.each
async def test_it_goes_as_told(place: OfStack, story: stories.Story) -> None:
    await story(place)
