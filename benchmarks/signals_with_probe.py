"""The signals service with one more endpoint: what any authenticated request costs before it does anything."""

from fastapi import APIRouter, FastAPI

from services.signals import main
from services.signals.endpoints import Reader
from services.signals.settings import SignalsSettings
from shared.app import run

PROBE = "/api/metrics/probe/nothing"

_router = APIRouter()


@_router.get(PROBE)
async def nothing(_: Reader) -> dict[str, str]:
    """Who asks is known and may read; that is all."""
    return {"status": "ok"}


def create(settings: SignalsSettings) -> FastAPI:
    """The service as it is, and the endpoint."""
    app = main.create(settings)
    app.include_router(_router)
    return app


if __name__ == "__main__":
    run(create, SignalsSettings, lambda settings: settings.signals_port)
