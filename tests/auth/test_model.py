"""Random lives of accounts and sessions, against the real service and a model of what is promised of them.

After every step each access token is good or refused, each list of sessions and each account is what the model says,
and the events of each account are numbered without a gap.
"""

import asyncio
import base64
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from deploy.local.postgres import EmbeddedPostgres
from services.auth import demo_users, service_upkeep
from services.auth.main import create
from services.auth.settings import AuthSettings
from shared.access import Access
from shared.auth import LEEWAY_SECONDS
from shared.events.vocabulary import UserRole
from tests.auth.conftest import CHEAP, bearer, login
from tests.support.service import service_under_test

Result = TypeVar("Result")

STEPS: Final = 25
SCENARIOS_PER_EXAMPLE: Final = 0.25
FREE_FAILURES: Final = 4
"""So many wrong passwords make nobody wait; `test_throttling.py` is about more of them."""

MOST_CHANGES: Final = LEEWAY_SECONDS - 2

KEEPER: Final = "admin@demo.example"
roles: Final = st.sampled_from(UserRole)
places: Final = st.integers(0, 5)


@dataclass
class Session:
    """One that began, and what it goes on with."""

    id: UUID
    access: str
    refresh: str
    before: list[str] = field(default_factory=list)
    """Refresh tokens that were turned in."""
    goes_on: bool = True
    is_refused: bool = False
    """Whether the access token is from before a change of the role."""
    was_retried: bool = False


@dataclass
class Account:
    """One that was made."""

    id: str
    email: str
    role: UserRole
    password: str
    is_initial: bool = True
    is_active: bool = True
    failures: int = 0
    changes: int = 0
    """Of the role. Tokens that follow many within a second say to be issued in the future, and wait for it."""
    sessions: list[Session] = field(default_factory=list)

    def end(self, *, but: Session | None = None) -> None:
        """All sessions are over, or all but one."""
        for session in self.sessions:
            session.goes_on = session.goes_on and session is but


class Accounts(RuleBasedStateMachine):
    """A few accounts, their people, and the administrator who keeps them."""

    def __init__(self, postgres: EmbeddedPostgres, runner: asyncio.Runner, reached: set[str]) -> None:
        super().__init__()
        self.reached, self.runner, self.left = reached, runner, AsyncExitStack()
        self.accounts: list[Account] = []
        self.numbers = count()
        self._run(self._begin(postgres))

    async def _begin(self, postgres: EmbeddedPostgres) -> None:
        under_test = service_under_test("auth", create, AuthSettings, postgres, **CHEAP)
        self.auth = await self.left.enter_async_context(under_test)
        await service_upkeep.once(self.auth.session_maker, self.auth.app.state.tools)
        await demo_users.make(self.auth.session_maker, self.auth.app.state.tools.passwords)
        access = Access(self.auth.settings, self.auth.session_maker, self.auth.app.state.access._load)
        self.auth.app.state.access = access
        await access.refresh()
        self.client = await self.left.enter_async_context(self.auth.client(None))
        tokens = (await login(self.client, KEEPER)).json()
        self.keeper = bearer(tokens["access_token"])
        self.keeper_id = (await self.client.get("/api/auth/me", headers=self.keeper)).json()["id"]

    def teardown(self) -> None:
        self._run(self.left.aclose())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def _call(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        headers = self.keeper if token is None else bearer(token)
        return self._run(self.client.request(method, path, headers=headers, **more))

    def _login(self, account: Account, password: str, **more: str) -> httpx.Response:
        body = {"email": account.email.upper(), "password": password} | more
        return self._run(self.client.post("/api/auth/login", json=body))

    def _expect(self, answer: httpx.Response, status: int, code: str | None = None) -> None:
        assert answer.status_code == status, answer.text
        if code is not None:
            assert answer.json()["code"] == code, answer.text
        self.reached.add(f"{answer.request.method} {answer.request.url.path.split('/')[2:4]} {status} {code or ''}")

    def _account(self, place: int) -> Account:
        return self.accounts[place % len(self.accounts)]

    def _password(self) -> str:
        return f"tidal-lantern-{next(self.numbers)}-harbour"

    @initialize(role=roles)
    def somebody_is_logged_in_twice(self, role: UserRole) -> None:
        self.make(role)
        self.log_in(0, chooses=True)
        self.log_in(0, chooses=False)

    # What the administrator does

    @precondition(lambda self: len(self.accounts) < 3)
    @rule(role=roles)
    def make(self, role: UserRole) -> None:
        email = f"person-{next(self.numbers)}@hospital.example"
        answer = self._call("POST", "/api/users", json={"email": email, "name": "Somebody", "role": role})
        self._expect(answer, 201)
        made = answer.json()
        self.accounts.append(Account(made["id"], email, role, made["initial_password"]))
        self._agree()

    @precondition(lambda self: self.accounts)
    @rule(place=places)
    def make_again(self, place: int) -> None:
        body = {"email": self._account(place).email.title(), "name": "Another", "role": "viewer"}
        self._expect(self._call("POST", "/api/users", json=body), 409, "email_taken")

    @precondition(lambda self: self.accounts)
    @rule(place=places, role=roles)
    def change_role(self, place: int, role: UserRole) -> None:
        account = self._account(place)
        if account.changes >= MOST_CHANGES:
            return
        self._expect(self._call("PATCH", f"/api/users/{account.id}", json={"role": role}), 200)
        if role is not account.role:
            account.role = role
            account.changes += 1
            for session in account.sessions:
                session.is_refused = True
        self._agree()

    @precondition(lambda self: self.accounts)
    @rule(place=places, active=st.booleans(), by_delete=st.booleans())
    def activate(self, place: int, active: bool, by_delete: bool) -> None:
        account = self._account(place)
        if by_delete and not active:
            self._expect(self._call("DELETE", f"/api/users/{account.id}"), 204)
        else:
            self._expect(self._call("PATCH", f"/api/users/{account.id}", json={"is_active": active}), 200)
        account.is_active = active
        if not active:
            account.end()
        self._agree()

    @precondition(lambda self: self.accounts)
    @rule(place=places)
    def reset_password(self, place: int) -> None:
        account = self._account(place)
        answer = self._call("PATCH", f"/api/users/{account.id}", json={"reset_password": True})
        self._expect(answer, 200)
        account.password, account.is_initial = answer.json()["initial_password"], True
        account.end()
        self._agree()

    @rule(by_delete=st.booleans())
    def leave_nobody_who_can_manage(self, by_delete: bool) -> None:
        others = [one for one in self.accounts if one.role is UserRole.ADMIN and one.is_active and not one.is_initial]
        if not others:
            path = f"/api/users/{self.keeper_id}"
            answer = self._call("DELETE", path) if by_delete else self._call("PATCH", path, json={"role": "viewer"})
            self._expect(answer, 409, "last_administrator")

    # What people do

    @precondition(lambda self: self.accounts)
    @rule(place=places, chooses=st.booleans())
    def log_in(self, place: int, chooses: bool) -> None:
        account = self._account(place)
        if account.failures >= FREE_FAILURES and not account.is_active:
            return
        chosen = self._password()
        answer = self._login(account, account.password, **({"new_password": chosen} if chooses else {}))
        if not account.is_active:
            account.failures += 1
            self._expect(answer, 401, "invalid_credentials")
        elif account.is_initial and not chooses:
            self._expect(answer, 403, "password_change_required")
        elif chooses and not account.is_initial:
            self._expect(answer, 422)
        else:
            self._expect(answer, 200)
            if account.is_initial:
                account.password, account.is_initial = chosen, False
                account.end()
            account.failures = 0
            account.sessions.append(self._begun(answer))
        self._agree()

    @precondition(lambda self: self.accounts)
    @rule(place=places)
    def log_in_wrongly(self, place: int) -> None:
        account = self._account(place)
        if account.failures < FREE_FAILURES:
            account.failures += 1
            self._expect(self._login(account, "no-password-of-theirs"), 401, "invalid_credentials")
            self._agree()

    @precondition(lambda self: any(account.sessions for account in self.accounts))
    @rule(place=places, which=places, back=st.integers(0, 2))
    def refresh(self, place: int, which: int, back: int) -> None:
        """With the present token, or one that was turned in: a retry of a lost answer, or somebody else's copy."""
        _, session = self._session(place, which)
        token = [session.refresh, *reversed(session.before)][min(back, len(session.before))]
        answer = self._run(self.client.post("/api/auth/refresh", json={"refresh_token": token}))
        if not session.goes_on:
            self._expect(answer, 401, "invalid_refresh_token")
        elif token == session.refresh:
            self._expect(answer, 200)
            session.before.append(token)
            session.access, session.refresh = answer.json()["access_token"], answer.json()["refresh_token"]
            session.is_refused = False
        elif token == session.before[-1]:
            self._expect(answer, 200)
            assert answer.json()["refresh_token"] == session.refresh, "a retry gets the same successor"
            session.access, session.is_refused = answer.json()["access_token"], False
        else:
            self._expect(answer, 401, "invalid_refresh_token")
            session.goes_on = False
        self._agree()

    @precondition(lambda self: any(account.sessions for account in self.accounts))
    @rule(place=places, which=places, is_copied=st.booleans())
    def lose_an_answer(self, place: int, which: int, is_copied: bool) -> None:
        """The same token again gets the same successor; once that was turned in, somebody holds a copy."""
        self.refresh(place, which, 0)
        self.refresh(place, which, 1)
        if is_copied:
            self.refresh(place, which, 0)
            self.refresh(place, which, 2)

    @precondition(lambda self: any(account.sessions for account in self.accounts))
    @rule(place=places, which=places)
    def log_in_elsewhere_and_choose_another_password(self, place: int, which: int) -> None:
        account, _ = self._session(place, which)
        self.log_in(self.accounts.index(account), chooses=account.is_initial)
        self.change_password(place, which, knows=True, chosen="good")

    @precondition(lambda self: any(account.sessions for account in self.accounts))
    @rule(place=places, which=places, end=places, how=st.sampled_from(["logout", "others", "one"]))
    def end_sessions(self, place: int, which: int, end: int, how: str) -> None:
        account, session = self._session(place, which)
        other = account.sessions[end % len(account.sessions)]
        method, path = {
            "logout": ("POST", "/api/auth/logout"),
            "others": ("DELETE", "/api/auth/sessions"),
            "one": ("DELETE", f"/api/auth/sessions/{other.id}"),
        }[how]
        answer = self._call(method, path, session.access)
        if not session.goes_on or session.is_refused:
            self._expect(answer, 401)
        elif how == "one" and not other.goes_on:
            self._expect(answer, 404)
        else:
            self._expect(answer, 204)
            if how == "others":
                account.end(but=session)
            else:
                (session if how == "logout" else other).goes_on = False
        self._agree()

    @precondition(lambda self: any(account.sessions for account in self.accounts))
    @rule(place=places, which=places, knows=st.booleans(), chosen=st.sampled_from(["good", "same", "short"]))
    def change_password(self, place: int, which: int, knows: bool, chosen: str) -> None:
        account, session = self._session(place, which)
        if not knows and account.failures >= FREE_FAILURES:
            return
        new = {"good": self._password(), "same": account.password, "short": "short"}[chosen]
        body = {"current_password": account.password if knows else "no-password-of-theirs", "new_password": new}
        answer = self._call("POST", "/api/auth/password", session.access, json=body)
        if not session.goes_on or session.is_refused:
            self._expect(answer, 401)
        elif chosen == "short":
            self._expect(answer, 422)
        elif not knows:
            account.failures += 1
            self._expect(answer, 422, "wrong_password")
        elif chosen == "same":
            self._expect(answer, 422, "refused_password")
        else:
            self._expect(answer, 204)
            account.password, account.failures = new, 0
            account.end(but=session)
        self._agree()

    def _session(self, place: int, which: int) -> tuple[Account, Session]:
        account = next(one for one in self.accounts[place % len(self.accounts) :] + self.accounts if one.sessions)
        return account, account.sessions[which % len(account.sessions)]

    @staticmethod
    def _begun(answer: httpx.Response) -> Session:
        tokens = answer.json()
        claims = json.loads(base64.urlsafe_b64decode(tokens["access_token"].split(".")[1] + "=="))
        return Session(UUID(claims["sid"]), tokens["access_token"], tokens["refresh_token"])

    # What must be so at any time

    def _agree(self) -> None:
        self._run(self.auth.app.state.access.refresh())
        for account in self.accounts:
            shown = self._call("GET", f"/api/users/{account.id}").json()
            assert (shown["role"], shown["is_active"]) == (account.role, account.is_active)
            assert shown["must_change_password"] == account.is_initial
            going_on = {str(session.id) for session in account.sessions if session.goes_on}
            for session in account.sessions:
                answer = self._call("GET", "/api/auth/sessions", session.access)
                if session.goes_on and not session.is_refused:
                    assert {one["id"] for one in answer.json()["sessions"]} == going_on, answer.text
                else:
                    assert answer.status_code == 401
        numbers: dict[UUID, list[int]] = {}
        for event in self._run(self.auth.events()):
            numbers.setdefault(event.subject, []).append(event.sequence)
        assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


EVERYTHING: Final = 14
"""Different ends that requests come to, among those that a run of ordinary length reaches."""


@pytest.mark.hypothesis
@pytest.mark.timeout(600)
def test_accounts_and_sessions_do_what_is_promised(postgres: EmbeddedPostgres) -> None:
    reached: set[str] = set()

    with asyncio.Runner() as runner:

        class Here(Accounts):
            def __init__(self) -> None:
                super().__init__(postgres, runner, reached)

        profile = settings()
        scenarios = max(10, int(profile.max_examples * SCENARIOS_PER_EXAMPLE))
        # A life of 25 steps can be read; looking for a shorter one takes minutes.
        chosen = settings(
            profile, max_examples=scenarios, stateful_step_count=STEPS, phases=[Phase.explicit, Phase.generate]
        )
        run_state_machine_as_test(Here, settings=chosen)
    assert len(reached) >= EVERYTHING, sorted(reached)
