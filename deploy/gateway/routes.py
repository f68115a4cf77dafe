"""Which service answers which path: the one table behind every way of running the gateway.

What is not listed is not reachable from outside, the services' `/healthz`, `/readyz` and `/metrics` among it.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

_SUBTREE: Final = "/**"
_PARAMETER: Final = re.compile(r"\{\w+\}")


class Limit(Enum):
    """Which rate limit a path has beside the ones that all have."""

    NONE = "none"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Route:
    """Paths that go to one service.

    ``path`` is exact, has parameters that stand for one segment each (`/api/signals/{id}/assign`), or ends in `/**`
    for a path and everything below it. ``public`` paths need no access token. ``streaming`` answers go on for as long
    as both sides like; all others have ``timeout_seconds``.
    """

    path: str
    service: str
    public: bool = False
    streaming: bool = False
    timeout_seconds: int = 35
    limit: Limit = Limit.NONE

    @property
    def is_subtree(self) -> bool:
        """Whether it takes everything below its path, too."""
        return self.path.endswith(_SUBTREE)

    @property
    def base(self) -> str:
        """The path without the mark of a subtree."""
        return self.path.removesuffix(_SUBTREE)

    @property
    def has_parameters(self) -> bool:
        """Whether a segment of the path may be anything."""
        return _PARAMETER.search(self.path) is not None

    @property
    def regex(self) -> str:
        """A regular expression (RE2 and Python) that the whole path matches."""
        fixed = [re.escape(part) for part in _PARAMETER.split(self.base)]
        return "[^/]+".join(fixed) + ("(/.*)?" if self.is_subtree else "")


def _of(service: str, *paths: str) -> list[Route]:
    return [Route(path, service) for path in paths]


# The API's own description, and the page that shows it.
_DOCUMENTS: Final = (
    "/api/openapi.json",
    "/api/asyncapi.json",
    "/api/docs",
    "/api/docs/events",
    "/api/docs/events.css",
    "/api/docs/favicon.png",
    "/api/docs/start.js",
    "/api/docs/swagger-ui-bundle.js",
    "/api/docs/swagger-ui.css",
)

_TABLE: Final = [
    *(Route(path, "auth", public=True) for path in _DOCUMENTS),
    Route("/.well-known/jwks.json", "auth", public=True),
    Route("/api/auth/login", "auth", public=True, limit=Limit.LOGIN),
    Route("/api/auth/refresh", "auth", public=True),
    *_of("auth", "/api/auth/**", "/api/users/**"),
    *_of("signals", "/api/signals/**", "/api/metrics/**", "/api/dead-letters/**"),
    *_of(
        "workflow",
        "/api/signals/{id}/assign",
        "/api/signals/{id}/assignment/**",
        "/api/signals/{id}/status",
        "/api/signals/{id}/snooze",
        "/api/signals/{id}/comments/**",
        "/api/signals/{id}/interventions/**",
        "/api/assignments/**",
        "/api/assignees",
        "/api/ownership-rules/**",
        "/api/interventions/**",
    ),
    Route("/api/feed/stream", "activity", streaming=True),
    Route("/api/audit/export", "activity", streaming=True),
    *_of("activity", "/api/feed/**", "/api/audit/**"),
]


def _precedence(route: Route) -> tuple[bool, bool, int]:
    return route.is_subtree and not route.has_parameters, route.has_parameters, -len(route.path)


ROUTES: Final = tuple(sorted(_TABLE, key=_precedence))
"""In the order in which they are tried: exact paths, paths with parameters, subtrees; the longer ones first."""

SERVICES: Final = tuple(sorted({route.service for route in ROUTES}))


def find(path: str) -> Route | None:
    """The route that takes a path, already normalised; None for an unknown path."""
    return next((route for route in ROUTES if re.fullmatch(route.regex, path)), None)
