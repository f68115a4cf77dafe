"""What a leader does all day, for Locust: look for signals, take some, work on them, follow the feed.

Everything is about what an answer before it has shown, as with somebody in front of a page. What is refused by right is
counted apart from failures: what others were faster with (409, 412), and work on a signal so new that the workflow
service has not heard of it yet (404 `signal_not_known_yet`).
"""

from collections import Counter, deque
from random import Random
from time import monotonic
from typing import Any, ClassVar, Final
from urllib.parse import urlencode
from uuid import uuid4

import gevent
import msgspec
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, between, task

from benchmarks.api_load.notes import PATIENCE_SECONDS, Account
from benchmarks.api_load.streams import Stream

_REFRESH_BEFORE_SECONDS: Final = 30.0
_NOT_YET: Final = "404 signal_not_known_yet"
_VIEWER: Final = "viewer"
_FILTERS: Final = ("system_name", "service_line", "facility", "domain", "metric_id")
_STREAMS: Final = (
    "",
    "?event_type=assignment&event_type=status_change&event_type=comment",
    "?event_type=regression&event_type=insight",
    "?event_type=comment&event_type=status_change",
    "?event_type=assignment&event_type=technical_error",
    "?event_type=insight&event_type=intervention_outcome",
    "?user_id={me}",
    "?event_type=status_change",
    "?event_type=assignment&event_type=comment",
    "?event_type=regression&event_type=new_signal",
)
"""What the leaders of each ten follow: one everything, one all detections, most of them the work."""


class Refusals:
    """What was refused by right, by request and status."""

    counts: ClassVar[Counter[str]] = Counter()


class Leader(FastHttpUser):
    """One of the accounts; the next user takes the next."""

    wait_time = between(1, 5)
    network_timeout = PATIENCE_SECONDS
    connection_timeout = 10.0
    accounts: ClassVar[deque[tuple[int, Account]]] = deque()
    all_streams: ClassVar[list[tuple[str, Stream]]] = []

    def on_start(self) -> None:
        """Open the application: who may be assigned, what can be filtered by, the live feed."""
        self._number, self._account = self.accounts.popleft()
        self._random = Random(self._number)  # noqa: S311 - to be the same again
        self._refreshing = BoundedSemaphore()
        self._access_token, self._good_until = "", 0.0
        self._signals: list[dict[str, Any]] = []
        options = self._ask("GET", "/api/signals/filter-options") or {}
        self._values = {name: [one["value"] for one in options.get(name, [])] for name in _FILTERS}
        people = self._ask("GET", "/api/assignees") if self._writes else None
        self._people = (people or {}).get("assignees", [])
        query = _STREAMS[self._number % len(_STREAMS)].format(me=self._account.id)
        stream = Stream(self.host or "", query, self._token)
        self.all_streams.append((self._account.id, stream))
        self._reading = gevent.spawn(stream.run)

    def on_stop(self) -> None:
        """Close it."""
        self._reading.kill()

    @property
    def _writes(self) -> bool:
        return self._account.role != _VIEWER

    @task(30)
    def look(self) -> None:
        """List by what this leader cares for, turn some pages, open one."""
        query = self._selection()
        page = self._ask("GET", f"/api/signals?{urlencode(query, doseq=True)}", name="GET /api/signals first page")
        turned = 0
        while page and page["has_more"] and turned < 3 and self._random.random() < 0.3:
            query["cursor"] = page["cursor"]
            page = self._ask("GET", f"/api/signals?{urlencode(query, doseq=True)}", name="GET /api/signals next page")
            turned += 1
        if page and page["signals"]:
            self._signals = page["signals"]
            self._open(self._random.choice(self._signals)["id"])

    def _selection(self) -> dict[str, Any]:
        # A leader's own system and service line, so that not everybody looks at the same page.
        own = {name: self._own(name) for name in ("system_name", "service_line")}
        kind = self._random.randrange(10)
        if kind < 4:
            return own | {"status": "new", "sort_by": "priority"}
        if kind == 4:
            return own | {"unassigned": "true", "sort_by": "detected_at"}
        if kind == 5:
            return {"facility": self._random.sample(self._values["facility"], 2), "sort_by": "facility"}
        if kind == 6:
            return {"min_severity": 80, "domain": self._own("domain"), "sort_by": "priority"}
        if kind == 7:
            return {"metric_id": self._own("metric_id"), "status": ["assigned", "in_progress"], "limit": 50}
        if kind == 8:
            return {"assignee_id": "me", "sort_by": "detected_at"}
        return {"signal_type": "critical_trajectory", "system_name": self._own("system_name")}

    def _own(self, name: str) -> str:
        values: list[str] = self._values[name]
        return values[self._number % len(values)]

    @task(2)
    def search(self) -> None:
        """By words of a facility's name."""
        words = {"q": self._own("facility").rpartition(" ")[0], "sort_by": "priority"}
        self._ask("GET", f"/api/signals?{urlencode(words)}", name="GET /api/signals search")

    def _open(self, signal: str) -> None:
        """What the page of a signal asks for."""
        path, name = f"/api/signals/{signal}", "/api/signals/{id}"
        self._ask("GET", path, name=f"GET {name}")
        for part in ("assignment", "comments", self._random.choice(("temporal", "technical-details", "related"))):
            self._ask("GET", f"{path}/{part}", name=f"GET {name}/{part}")

    @task(8)
    def take(self) -> None:
        """Assign a new signal, most often to oneself."""
        free = [one["id"] for one in self._signals if one["workflow_status"] == "new"]
        if not self._writes or not free or not self._people:
            return
        signal = self._random.choice(free)
        shown = self._ask("GET", f"/api/signals/{signal}/assignment", name="GET /api/signals/{id}/assignment")
        if not shown or shown["status"] != "new":
            return
        mine = [one for one in self._people if one["id"] == self._account.id]
        who = mine[0] if mine and self._random.random() < 0.7 else self._random.choice(self._people)
        role = who["role"] if who["role"] != "admin" else "administration"
        body = {"assignee_id": who["id"], "role_type": role, "notes": "Please look at the evening shift."}
        self._write("POST", f"/api/signals/{signal}/assign", body, "POST /api/signals/{id}/assign")

    @task(10)
    def work(self) -> None:
        """Go on with what is one's own: begin it, say something, resolve it."""
        mine = self._ask("GET", "/api/assignments?assignee_id=me&status=assigned&status=in_progress&limit=25")
        if not self._writes or not mine or not mine["assignments"]:
            return
        one = self._random.choice(mine["assignments"])
        signal = one["signal_id"]
        self._open(signal)
        if one["status"] == "assigned":
            self._move(signal, {"status": "in_progress"})
        elif self._random.random() < 0.5:
            self._comment(signal)
        else:
            self._move(signal, {"status": "resolved", "resolution_notes": "A second nurse from 16:00 to midnight."})

    @task(3)
    def close(self) -> None:
        """Verify what somebody else has resolved."""
        found = self._ask("GET", "/api/assignments?status=resolved&limit=50", name="GET /api/assignments resolved")
        if not self._writes or not found or not found["assignments"]:
            return
        signal = self._random.choice(found["assignments"])["signal_id"]
        shown = self._ask("GET", f"/api/signals/{signal}/assignment", name="GET /api/signals/{id}/assignment")
        if shown and "closed" in shown["allowed_next_statuses"]:
            self._move(signal, {"status": "closed"})

    @task(5)
    def comment(self) -> None:
        """On what was looked at last."""
        if self._writes and self._signals:
            self._comment(self._random.choice(self._signals)["id"])

    @task(15)
    def follow(self) -> None:
        """The feed and how much of it is unread; now and then a page further, or all of it marked as read."""
        kind = self._random.choice(("", "&unread=true", "&event_type=regression", "&grouped=true"))
        page = self._ask("GET", f"/api/feed?limit=20{kind}", name="GET /api/feed first page")
        self._ask("GET", "/api/feed/unread-count")
        if page and page["has_more"] and self._random.random() < 0.3:
            path = f"/api/feed?limit=20{kind}&{urlencode({'cursor': page['cursor']})}"
            self._ask("GET", path, name="GET /api/feed next page")
        if page and page["events"] and self._random.random() < 0.3:
            some = {"ids": [event["id"] for event in page["events"][:5]]}
            everything = {"up_to_position": page["position"]}
            body = some if self._random.random() < 0.7 else everything
            self._write("POST", "/api/feed/mark-read", body, "POST /api/feed/mark-read")

    @task(3)
    def overview(self) -> None:
        """The numbers beside the filters, and the workload."""
        for path in ("/api/signals/filter-options", "/api/signals/summary", "/api/assignments/summary"):
            self._ask("GET", path)

    def _comment(self, signal: str) -> None:
        text = {"text": f"The evening shift was short of {self._random.randint(1, 5)} nurses."}
        self._write("POST", f"/api/signals/{signal}/comments", text, "POST /api/signals/{id}/comments")

    def _move(self, signal: str, body: dict[str, Any]) -> None:
        self._write("PATCH", f"/api/signals/{signal}/status", body, "PATCH /api/signals/{id}/status")

    def _write(self, method: str, path: str, body: dict[str, Any], name: str) -> None:
        headers = {"idempotency-key": str(uuid4())}
        self._ask(method, path, name=name, json=body, headers=headers, refusals=(409, 412))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        refusals: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any] | None:
        """The answer's JSON; None where there is none, which is noted."""
        name = name or f"{method} {path.partition('?')[0]}"
        sent = {"authorization": f"Bearer {self._token()}", **(headers or {})}
        with self.client.request(method, path, name=name, headers=sent, catch_response=True, **more) as answer:
            if not 200 <= answer.status_code < 300:
                what = f"{answer.status_code} {_code(answer.content)}"
                if answer.status_code in refusals or what == _NOT_YET:
                    Refusals.counts[f"{name}: {what}"] += 1
                    answer.success()
                else:
                    answer.failure(what)
                return None
            content: dict[str, Any] = msgspec.json.decode(answer.content)
            return content

    def _token(self) -> str:
        """An access token that is good for a while: the session goes on before it ends."""
        with self._refreshing:
            if monotonic() > self._good_until:
                body = {"refresh_token": self._account.refresh_token}
                with self.client.post(
                    "/api/auth/refresh", json=body, name="POST /api/auth/refresh", catch_response=True
                ) as answer:
                    if answer.status_code != 200:
                        answer.failure(f"{answer.status_code} {_code(answer.content)}")
                        return self._access_token
                    granted = msgspec.json.decode(answer.content)
                self._account = msgspec.structs.replace(self._account, refresh_token=granted["refresh_token"])
                self._access_token = granted["access_token"]
                self._good_until = monotonic() + granted["expires_in"] - _REFRESH_BEFORE_SECONDS
            return self._access_token


def _code(content: Any) -> str:
    """What a problem calls itself; the beginning of what is none."""
    try:
        return str(msgspec.json.decode(content)["code"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return repr(content)[:80]
