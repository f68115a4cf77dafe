"""The signals service: `python -m services.signals.main`."""

from fastapi import FastAPI

from services.signals import endpoints, endpoints_details, endpoints_drilldown, endpoints_metrics
from services.signals.consumers import USERS, WORKFLOW_STATES, engine_signals
from services.signals.settings import SignalsSettings
from shared.access import access_subscription
from shared.app import create_app, run


def create(settings: SignalsSettings) -> FastAPI:
    """The application."""
    return create_app(
        settings,
        name="signals",
        description="What the analytics engine found, classified, with its history.",
        routers=[endpoints.router, endpoints_details.router, endpoints_drilldown.router, endpoints_metrics.router],
        subscriptions=[engine_signals(settings), WORKFLOW_STATES, USERS, access_subscription("signals")],
    )


if __name__ == "__main__":
    run(create, SignalsSettings, lambda settings: settings.signals_port)
