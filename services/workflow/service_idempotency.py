"""A write that is sent again with the same Idempotency-Key is answered again, without a second effect.

The key is claimed in the write's own transaction: it is remembered exactly when the effect is. A request that fails
has no effect and leaves its key free. A second request that arrives while the first is at work waits for it.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from services.workflow import repository_idempotency
from shared.auth import User
from shared.errors import FieldProblem, InvalidError

_KEY: Final = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')


@dataclass(frozen=True, slots=True)
class Attempt:
    """A write, and the key under which the client sends it again; None where it does not want to."""

    key: str | None
    request: Request


async def _attempt(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Chosen by the client for one write, for example a UUID. Sent again within 24 hours, the same "
            "request gets the same answer without a second effect; another request with the same key is 422."
        ),
    ] = None,
) -> Attempt:
    if idempotency_key is None:
        return Attempt(None, request)
    match = _KEY.fullmatch(idempotency_key)
    if match is None:
        detail = "Idempotency-Key takes 1 to 255 visible ASCII characters, in quotes or without."
        raise InvalidError(detail, errors=[FieldProblem(pointer="/header/idempotency-key", detail=detail)])
    return Attempt(match[1] or match[2], request)


async def _fingerprint(request: Request) -> bytes:
    """What tells one write from another; called for a request that has been validated."""
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    if body := await request.body():
        # The same members in another order, or with other blanks between them, are the same request.
        digest.update(json.dumps(json.loads(body), sort_keys=True).encode())
    return digest.digest()


OnceOnly = Annotated[Attempt, Depends(_attempt)]
"""How a write declares that it takes an Idempotency-Key. Declared after the user, so that 401 and 403 come first."""


async def once(
    session: AsyncSession, user: User, attempt: Attempt, act: Callable[[], Awaitable[BaseModel]], status: int = 200
) -> Response:
    """Act and answer, or answer as the first time. A field ``etag`` of the answer is its ETag too.

    Raises:
        InvalidError: ``idempotency_key_reused`` for another request with the same key.
    """
    if attempt.key is None:
        return _answer(status, *_encode(await act()))
    fingerprint = await _fingerprint(attempt.request)
    if await repository_idempotency.claim(session, user.id, attempt.key, fingerprint):
        body, etag = _encode(await act())
        await repository_idempotency.remember(session, user.id, attempt.key, status, etag, body)
        return _answer(status, body, etag)
    first = await repository_idempotency.remembered(session, user.id, attempt.key)
    if first.fingerprint != fingerprint:
        raise InvalidError("This Idempotency-Key was used for another request.", "idempotency_key_reused")
    return _answer(first.status, first.body, first.etag)


def _encode(view: BaseModel) -> tuple[bytes, str | None]:
    return view.model_dump_json().encode(), getattr(view, "etag", None)


def _answer(status: int, body: bytes, etag: str | None) -> Response:
    return Response(body, status, {"etag": etag} if etag else None, media_type="application/json")
