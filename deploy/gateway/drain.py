"""Stopping a gateway so that nobody notices: no new connections, and those at work may finish."""

from pathlib import Path
from typing import Final

import httpx

from deploy.local.processes import poll_until

ADMIN_PATH_LIMIT: Final = 100
"""A Unix socket's path may have so many bytes on every system."""

_AT_WORK: Final = "http.gateway.downstream_rq_active"


def drain(admin: Path, seconds: float) -> bool:
    """Let Envoy close its listeners, and wait until no request is at work; False where some are after so long.

    ``admin`` is the Unix socket of its administration. Afterwards it can be ended. Streams go on for as long as they
    like and are among what is cut off then.

    Raises:
        httpx.TransportError: there is no Envoy at the socket.
    """
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin)), base_url="http://admin", timeout=5) as client:
        client.post("/drain_listeners").raise_for_status()
        return poll_until(lambda: _requests_at_work(client) == 0, seconds)


def _requests_at_work(client: httpx.Client) -> int:
    answer = client.get("/stats", params={"filter": f"^{_AT_WORK}$"}).raise_for_status()
    return int(answer.text.partition(":")[2] or 0)
