"""People who read the feed and mark what they have read, the same person in two windows among them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Final
from uuid import UUID

from shared.events.vocabulary import ActivityEventType
from tests.faults.journal import Journal, Mark, Outcome
from tests.faults.person import Person

_PAGE: Final = 20


class Reader(Person):
    """Looks at what is unread, and marks one event, some, or all of a type up to where the feed ended."""

    def __init__(self, seed: int, window: int, name: str, url: str, journal: Journal) -> None:
        super().__init__(Random(f"reader {seed} {window}"), name, url, journal)  # noqa: S311 - to be the same again
        self._shown: list[UUID] = []
        self._position = 0

    def actions(self) -> Sequence[tuple[int, Callable[[], Awaitable[Any]]]]:
        """Each with its weight. Marking everything leaves the others nothing to do, so it is seldom."""
        return (
            (6, self._look),
            (4, self._mark_one),
            (4, self._mark_some),
            (2, self._mark_type),
            (1, self._mark_all),
            (1, self.log_in),
        )

    async def _look(self) -> None:
        page = await self.ask("GET", f"/api/feed?unread=true&limit={_PAGE}")
        if page is not None and page.status_code == 200:
            self._shown = [UUID(event["id"]) for event in page.json()["events"]]
            self._position = page.json()["position"]

    async def _mark_one(self) -> None:
        if self._shown:
            event = self._random.choice(self._shown)
            await self._mark(f"/api/feed/{event}/mark-read", None, events=[event])

    async def _mark_some(self) -> None:
        if self._shown:
            events = self._random.sample(self._shown, self._random.randint(1, len(self._shown)))
            await self._mark("/api/feed/mark-read", {"ids": [str(event) for event in events]}, events=events)

    async def _mark_type(self) -> None:
        kind = self._random.choice(list(ActivityEventType))
        body = {"up_to_position": self._position, "filters": {"event_type": [kind]}}
        await self._mark("/api/feed/mark-read", body, up_to=self._position, kind=kind)

    async def _mark_all(self) -> None:
        up_to = self._random.randint(0, self._position)
        await self._mark("/api/feed/mark-read", {"up_to_position": up_to}, up_to=up_to)

    async def _mark(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        events: Sequence[UUID] = (),
        up_to: int = 0,
        kind: ActivityEventType | None = None,
    ) -> None:
        """Marking again changes nothing, so that an answer speaks for the attempts before it, too."""
        user = self._me
        if user is None:
            return
        answer, unsure = await self.repeat("POST", path, body)
        outcome, marked = Outcome.UNKNOWN, None
        if answer is not None:
            outcome = Outcome.DONE if answer.status_code == 200 else Outcome.REFUSED
            marked = answer.json()["marked"] if outcome is Outcome.DONE and not unsure else None
        self._journal.marks.append(Mark(user, tuple(events), up_to, kind, outcome, marked))
