"""Cursors that no list gave out, at every list: a page of what the caller may see all the same, or a refusal."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.stack import LocalStack
from tests.e2e.api import Api, api
from tests.fuzzing.document import DOCUMENT
from tests.support.fuzzing import damaged, json_values, texts, written

pytestmark = [pytest.mark.fuzzing, pytest.mark.timeout(900)]

FOR_ADMINS: Final = ("/api/audit", "/api/audit/gaps", "/api/dead-letters", "/api/users", "/api/ownership-rules")
WITHOUT_ROWS: Final = "/api/audit/gaps"
"""Nothing that is published makes one: a gap is a defect."""
SOME: Final = base64.urlsafe_b64encode(b'["2026-07-01T00:00:00Z","6c1f0b04-8a1b-4b52-9f6b-1a8f0b6d7c11"]').decode()
REQUESTS: Final = 40
"""A page takes a thousand times as long as a value that is made up."""


def lists() -> list[str]:
    """The paths of all that is read page by page."""
    paths = json.loads(DOCUMENT.read_text())["paths"]
    return sorted(
        path for path, item in paths.items() if any(one["name"] == "cursor" for one in _parameters(item.get("get")))
    )


def _parameters(operation: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if operation is None else operation.get("parameters", [])


LISTS: Final = lists()


class Reader:
    """Somebody who reads a list, and what there is in it for them."""

    def __init__(self, person: Api, path: str) -> None:
        self.person, self.path = person, path
        self.good = SOME
        """A cursor of this list, where it has any rows."""
        self.known: set[str] = set()

    async def get(self, cursor: str | None, **more: Any) -> httpx.Response:
        """A page of two."""
        query = urlencode({"limit": 2} | more)
        if cursor is not None:
            # As bytes that are no UTF-8, too.
            query += "&cursor=" + quote(cursor.encode(errors="surrogatepass"), safe="")
        answer = await self.person.client.get(f"{self.path}?{query}")
        if answer.status_code == 401:
            await self.person.login()
            answer = await self.person.client.get(f"{self.path}?{query}")
        return answer

    async def read_all(self) -> None:
        """Every page, as it is meant."""
        cursor: str | None = None
        while True:
            page = (await self.get(cursor, limit=100)).raise_for_status().json()
            self.known.update(rows_of(page))
            cursor = page["cursor"]
            if cursor is None:
                return


def rows_of(page: dict[str, Any]) -> list[str]:
    """What a page shows, by what stays the same of it."""
    (rows,) = (value for value in page.values() if isinstance(value, list))
    return [str(row.get("id") or row.get("position") or row.get("version") or sorted(row.items())) for row in rows]


@pytest.fixture
async def reader(
    stack: LocalStack, known_ids: dict[str, list[str]], request: pytest.FixtureRequest
) -> AsyncIterator[Reader]:
    person = api(stack, "admin")
    await person.login()
    path: str = request.param
    for name, ids in known_ids.items():
        path = path.replace(f"{{{name}}}", ids[0])
    reader = Reader(person, path)
    first = (await reader.get(None, limit=1)).raise_for_status().json()
    if path != WITHOUT_ROWS:
        reader.good = first["cursor"]
        assert reader.good is not None, "the list must have a second page"
    yield reader
    await person.client.aclose()


def cursors(good: str) -> st.SearchStrategy[str]:
    """Nearly this one, with other letters or another key in it, or something else."""
    content = base64.urlsafe_b64decode(good + "==")
    keys = damaged(content) | json_values.map(written) | st.lists(json_values, max_size=4).map(written)
    return (
        keys.map(lambda key: base64.urlsafe_b64encode(key).decode())
        | damaged(good.encode()).map(lambda raw: raw.decode("latin-1"))
        | texts
    )


@pytest.mark.parametrize("reader", LISTS, indirect=True, ids=LISTS)
@settings(max_examples=REQUESTS)
@given(data=st.data())
async def test_a_cursor_shows_a_page_of_this_list_or_is_refused(reader: Reader, data: st.DataObject) -> None:
    answer = await reader.get(data.draw(cursors(reader.good)))
    if answer.status_code != 200:
        # The gateway refuses by itself what is no request.
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return
    shown = rows_of(answer.json())
    assert len(shown) <= 2
    if not set(shown) <= reader.known:
        await reader.read_all()
    assert set(shown) <= reader.known


@pytest.mark.parametrize("reader", [path for path in LISTS if path.startswith(FOR_ADMINS)], indirect=True)
async def test_no_cursor_opens_what_a_role_may_not_see(reader: Reader, stack: LocalStack) -> None:
    viewer = api(stack, "viewer")
    await viewer.login()
    answer = await Reader(viewer, reader.path).get(reader.good)
    await viewer.client.aclose()
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
