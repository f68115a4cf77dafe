"""The typed client, made from the API document alone, does a leader's work on the stack."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import httpx
import pytest
from compass_client import AuthenticatedClient, Client
from compass_client.api.auth import get_me, login
from compass_client.api.feed import list_feed
from compass_client.api.signals import get_signal, list_signals
from compass_client.api.workflow import assign_signal, change_status, get_assignment
from compass_client.models import (
    AssignmentView,
    AssignRequest,
    FeedPage,
    Login,
    Me,
    Problem,
    SignalDetail,
    SignalPage,
    StatusRequest,
    Tokens,
)

from deploy.local.processes import poll_until
from deploy.local.stack import LocalStack
from tests.e2e.api import PASSWORD, id_of, send
from tests.e2e.stories import new_signal

Answer = TypeVar("Answer")


@pytest.fixture
def nurse(stack: LocalStack) -> AuthenticatedClient:
    """Somebody who leads nursing, logged in through the client itself."""
    open_client = Client(base_url=stack.gateway_url)
    tokens = login.sync(client=open_client, body=Login(email="nursing@demo.example", password=PASSWORD))
    assert isinstance(tokens, Tokens)
    return AuthenticatedClient(base_url=stack.gateway_url, token=tokens.access_token, timeout=httpx.Timeout(30))


def wait_for(ask: Callable[[], object], kind: type[Answer], until: Callable[[Answer], bool] = bool) -> Answer:
    """The answer once it is of this kind and the condition holds."""
    seen: list[Answer] = []

    def holds() -> bool:
        answer = ask()
        if isinstance(answer, kind) and until(answer):
            seen.append(answer)
        return bool(seen)

    assert poll_until(holds, 20, interval=0.1)
    return seen[0]


async def test_a_signal_is_found_taken_and_begun(stack: LocalStack, nurse: AuthenticatedClient) -> None:
    signal = new_signal()
    await send(stack, [signal])
    page = wait_for(
        lambda: list_signals.sync(client=nurse, facility=[signal["facility"]]),
        SignalPage,
        lambda page: page.total_count == 1,
    )
    assert page.signals[0].id == id_of(signal)
    found = page.signals[0].id

    me = get_me.sync(client=nurse)
    assert isinstance(me, Me)
    body = AssignRequest(assignee_id=me.id, role_type="nursing_leadership", notes="Mine.")
    assigned = wait_for(lambda: assign_signal.sync(found, client=nurse, body=body), AssignmentView)
    assert assigned.status == "assigned"

    begun = change_status.sync_detailed(
        found, client=nurse, body=StatusRequest(status="in_progress"), if_match=assigned.etag
    )
    assert begun.status_code == 200
    assert isinstance(begun.parsed, AssignmentView)
    assert begun.headers["etag"] == begun.parsed.etag

    feed = wait_for(lambda: list_feed.sync(client=nurse, signal_id=found), FeedPage, lambda feed: len(feed.events) == 3)
    assert [event.event_type for event in feed.events] == ["status_change", "assignment", "new_signal"]
    wait_for(
        lambda: get_signal.sync(found, client=nurse),
        SignalDetail,
        lambda detail: detail.workflow_status == "in_progress",
    )


def test_failures_are_typed_too(stack: LocalStack, nurse: AuthenticatedClient) -> None:
    nobody = UUID(int=0)
    missing = get_assignment.sync_detailed(nobody, client=nurse)
    assert isinstance(missing.parsed, Problem)
    assert missing.status_code == missing.parsed.status == 404
    unknown = get_me.sync(client=AuthenticatedClient(base_url=stack.gateway_url, token="x"))
    assert isinstance(unknown, Problem)
    assert unknown.code == "invalid_token"
    invalid = list_signals.sync(client=nurse, limit=1000)
    assert isinstance(invalid, Problem)
    assert invalid.errors
    assert invalid.errors[0].pointer == "/query/limit"
