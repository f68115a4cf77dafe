"""Leaders with accounts of their own, made as an administrator makes them, and logged in once."""

import asyncio
from collections.abc import Sequence
from typing import Final

import httpx

from benchmarks.api_load.notes import Account
from deploy.local.stack import LocalStack
from shared.events.vocabulary import UserRole
from tests.support.eventually import eventually

ROLES: Final = (
    UserRole.CLINICAL_LEADERSHIP,
    UserRole.NURSING_LEADERSHIP,
    UserRole.ADMINISTRATION,
    UserRole.CLINICAL_LEADERSHIP,
    UserRole.NURSING_LEADERSHIP,
    UserRole.ADMINISTRATION,
    UserRole.CLINICAL_LEADERSHIP,
    UserRole.NURSING_LEADERSHIP,
    UserRole.VIEWER,
    UserRole.ADMIN,
)
"""Of each ten."""

ENVIRONMENT: Final = {"COMPASS_BCRYPT_COST": "4"}
"""Hundreds of passwords would be minutes of work; logins have a benchmark of their own, and nobody waits for one."""

_AT_ONCE: Final = 8
_PASSWORD: Final = "tidal-lantern-harbour"  # noqa: S105 - of accounts that live as long as a benchmark


async def make(stack: LocalStack, administrator: str, number: int) -> list[Account]:
    """So many accounts of the several roles; returns when the workflow service knows whom it may assign."""
    headers = {"authorization": f"Bearer {administrator}"}
    turns = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=60) as client:

        async def one(place: int) -> Account:
            async with turns:
                role = ROLES[place % len(ROLES)]
                new = {"email": f"leader-{place}@load.example", "name": f"Leader {place}", "role": role}
                made = (await client.post("/api/users", json=new, headers=headers)).raise_for_status().json()
                login = {"email": new["email"], "password": made["initial_password"], "new_password": _PASSWORD}
                granted = (await client.post("/api/auth/login", json=login)).raise_for_status().json()
                return Account(made["id"], role, granted["refresh_token"])

        accounts = await asyncio.gather(*(one(place) for place in range(number)))

        async def unknown() -> Sequence[str]:
            answer = (await client.get("/api/assignees", headers=headers)).raise_for_status().json()
            known = {person["id"] for person in answer["assignees"]}
            return [one.id for one in accounts if one.role != UserRole.VIEWER and one.id not in known]

        await eventually(unknown, lambda missing: not missing, seconds=60, every=0.5)
    return accounts
