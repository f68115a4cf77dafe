"""What a gateway would be if one wrote it in Python: FastAPI, httpx, and the token verified on the way.

Run by the gateway's benchmark: ``python -m benchmarks.proxy PORT UPSTREAM_URL``.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from joserfc.jwk import ECKey

from shared.auth import decode_token


def create(upstream: str) -> FastAPI:
    """Passes every request on to one service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=upstream, timeout=30) as client:
            app.state.client = client
            app.state.keys = {}
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def forward(request: Request, path: str) -> Response:
        state: Any = request.app.state
        if not state.keys:
            jwks = request.headers["x-benchmark-jwks"]
            state.keys = {jwk["kid"]: ECKey.import_key(jwk) for jwk in json.loads(jwks)["keys"]}
        token = request.headers["authorization"].removeprefix("Bearer ")
        decode_token(token, state.keys, "quality-compass", "quality-compass")
        headers = [(name, value) for name, value in request.headers.raw if name not in (b"host", b"x-benchmark-jwks")]
        answer = await state.client.request(
            request.method, f"/{path}", params=request.query_params, headers=headers, content=await request.body()
        )
        kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "connection")}
        return Response(answer.content, answer.status_code, kept)

    return app


if __name__ == "__main__":
    uvicorn.run(create(sys.argv[2]), port=int(sys.argv[1]), log_level="error", access_log=False, loop="uvloop")
