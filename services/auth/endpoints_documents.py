"""What describes the whole API, of all services: for programs and for people. Open to everybody.

The documents are committed files, made from the code of all services, so serving them knows of no other service. The
pages fetch nothing from elsewhere and hold no script of their own, so that a strict Content-Security-Policy fits.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import fastapi_offline
from fastapi import APIRouter, Header, Request, Response
from fastapi.staticfiles import StaticFiles

from services.auth import events_page

router: Final = APIRouter(include_in_schema=False)

_DOCUMENTS: Final = Path(__file__).resolve().parents[2] / "docs"
_ASSETS: Final = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
_CACHED: Final = "public, max-age=3600"
_REVALIDATED: Final = "public, no-cache"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts only from here. The page of the API sets styles on its elements, and has its icons in the style sheet."""

_PAGE: Final = events_page.html_page(
    "API",
    "swagger-ui.css",
    """\
<div id="api"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>""",
)

# Without a validator's address the page asks nobody outside whether the document is good.
_START: Final = """\
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
"""

IfNoneMatch = Annotated[str | None, Header(alias="if-none-match")]


@cache
def _file(name: str) -> bytes:
    return (_DOCUMENTS / name).read_bytes()


@cache
def _events() -> bytes:
    return events_page.render(json.loads(_file("asyncapi.json"))).encode()


@router.get("/api/openapi.json")
def openapi(known: IfNoneMatch = None) -> Response:
    """The merged OpenAPI document."""
    return _answer(_file("openapi.json"), "application/json", known)


@router.get("/api/asyncapi.json")
def asyncapi(known: IfNoneMatch = None) -> Response:
    """The AsyncAPI document of all topics."""
    return _answer(_file("asyncapi.json"), "application/json", known)


@router.get("/api/docs")
def page() -> Response:
    """The API to read and to try."""
    return _answer(_PAGE.encode(), "text/html; charset=utf-8")


@router.get("/api/docs/events")
def events() -> Response:
    """The topics and messages to read."""
    return _answer(_events(), "text/html; charset=utf-8")


@router.get("/api/docs/start.js")
def start() -> Response:
    """What makes the page of the API."""
    return _answer(_START.encode(), "text/javascript; charset=utf-8")


@router.get("/api/docs/events.css")
def events_style() -> Response:
    """How the page of the events looks."""
    return _answer(events_page.STYLE.encode(), "text/css; charset=utf-8")


@router.get("/api/docs/swagger-ui-bundle.js")
@router.get("/api/docs/swagger-ui.css")
@router.get("/api/docs/favicon.png")
async def asset(request: Request) -> Response:
    """A file of the page, from the package that carries it."""
    response = await _ASSETS.get_response(request.url.path.rsplit("/", 1)[1], request.scope)
    response.headers["cache-control"] = _CACHED
    return response


def _answer(content: bytes, media_type: str, known: str | None = None) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": _REVALIDATED, "content-security-policy": POLICY}
    if known is not None and tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
