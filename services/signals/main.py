"""The signals service: `python -m services.signals.main`."""

from fastapi import FastAPI

from services.signals import (
    endpoints,
    endpoints_dead_letters,
    endpoints_details,
    endpoints_drilldown,
    endpoints_insights,
    endpoints_metrics,
    endpoints_options,
)
from services.signals.consumers import subscriptions
from services.signals.service_answers import Answers
from services.signals.service_options import keep_option_counts
from services.signals.service_recompute import follow_registry
from services.signals.service_totals import LargeTotals
from services.signals.settings import SignalsSettings
from shared.access import access_subscription
from shared.app import create_app, run
from shared.idempotency import forget_answers


def create(settings: SignalsSettings) -> FastAPI:
    """The application."""
    app = create_app(
        settings,
        name="signals",
        description="What the analytics engine found, classified, with its history.",
        routers=[
            endpoints_options.router,  # before /signals/{signal_id}
            endpoints.router,
            endpoints_details.router,
            endpoints_drilldown.router,
            endpoints_insights.router,
            endpoints_metrics.router,
            endpoints_dead_letters.router,
        ],
        subscriptions=[*subscriptions(settings), access_subscription("signals")],
        workers=[keep_option_counts, follow_registry, forget_answers],
    )
    app.state.answers = Answers()
    app.state.large_totals = LargeTotals()
    return app


if __name__ == "__main__":
    run(create, SignalsSettings, lambda settings: settings.signals_port)
