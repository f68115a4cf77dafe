"""The API's own description, as it is served."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from services.auth import events_page
from services.auth.endpoints_documents import POLICY
from shared.events import asyncapi
from tests.support.service import ServiceUnderTest

DOCUMENTS = Path(__file__).parents[2] / "docs"


class References(HTMLParser):
    """What a page loads, links to, and has as text; scripts and styles of its own among it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.inline: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        if tag == "a" and (target := values.get("href")):
            self.links.append(target)
        elif source := values.get("src") or values.get("href"):
            self.loaded.append(source)
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
async def test_the_committed_documents_are_served_without_a_token(auth: ServiceUnderTest, name: str) -> None:
    async with auth.client(None) as client:
        answer = await client.get(f"/api/{name}.json")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == (DOCUMENTS / f"{name}.json").read_bytes()
        again = await client.get(f"/api/{name}.json", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get(f"/api/{name}.json", headers={"if-none-match": '"another"'})
        assert other.status_code == 200


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/events"])
async def test_a_page_loads_only_what_is_served_here_and_holds_no_script(auth: ServiceUnderTest, path: str) -> None:
    async with auth.client(None) as client:
        page = await client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"] == POLICY
        found = References(page.text)
        assert found.loaded
        assert found.inline == []
        for source in found.loaded:
            assert source.startswith("/api/docs/")
            assert (await client.get(source)).status_code == 200, source
        for link in found.links:
            if link.startswith("/"):
                assert (await client.get(link)).status_code == 200, link


async def test_the_page_of_the_api_asks_nobody_outside(auth: ServiceUnderTest) -> None:
    async with auth.client(None) as client:
        start = (await client.get("/api/docs/start.js")).text
        style = (await client.get("/api/docs/swagger-ui.css")).text
        script = await client.get("/api/docs/swagger-ui-bundle.js")
    assert "validatorUrl: null" in start
    assert "http" not in start
    assert not re.search(r"url\(['\"]?(https?:)?//", style)
    assert "cache-control" in script.headers
    assert "javascript" in script.headers["content-type"]


async def test_nothing_else_lies_below_the_page(auth: ServiceUnderTest) -> None:
    async with auth.client(None) as client:
        for path in ("/api/docs/redoc.standalone.js", "/api/docs/../main.py", "/api/docs/%2e%2e%2fcore.py"):
            assert (await client.get(path)).status_code == 404, path


def test_the_page_of_the_events_tells_of_every_topic_message_and_field() -> None:
    document = asyncapi.document()
    page = References(events_page.render(document))
    names = [*document["channels"], *document["components"]["messages"], *document["components"]["schemas"]]
    for name in names:
        assert name in page.text, name
    for described in _descriptions(document):
        assert described in page.text, described
    anchors = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert anchors <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def _descriptions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "description" and isinstance(value, str):
                yield value
            elif key not in ("default", "examples"):
                yield from _descriptions(value)
    elif isinstance(part, list):
        for item in part:
            yield from _descriptions(item)


def test_what_a_contract_says_cannot_become_a_part_of_the_page() -> None:
    evil = "<script>alert(1)</script>\" onload='x'"
    document = asyncapi.document()
    document["info"]["description"] = evil
    channel = next(iter(document["channels"].values()))
    channel["description"] = evil
    message = next(iter(document["components"]["messages"].values()))
    message |= {"summary": evil, "description": evil, "contentType": evil}
    document["components"]["schemas"][evil] = {
        "description": evil,
        "properties": {evil: {"type": evil, "format": evil, "description": evil}, "b": {"enum": [evil]}},
    }
    document["components"]["schemas"]["Other"] = {"anyOf": [{"const": evil}, {"$ref": f"#/x/{evil}"}]}
    page = References(events_page.render(document))
    assert "script" not in page.tags
    assert page.inline == []
