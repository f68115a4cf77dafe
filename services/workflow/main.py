"""The workflow service: `python -m services.workflow.main`."""

from fastapi import FastAPI

from services.workflow import (
    endpoints,
    endpoints_assignments,
    endpoints_comments,
    endpoints_interventions,
    endpoints_rules,
    endpoints_snooze,
)
from services.workflow.consumers import subscriptions
from services.workflow.service_due import keep_dates
from services.workflow.service_outcomes import measure_outcomes
from services.workflow.settings import WorkflowSettings
from shared.access import access_subscription
from shared.app import create_app, run
from shared.idempotency import forget_answers


def create(settings: WorkflowSettings) -> FastAPI:
    """The application."""
    return create_app(
        settings,
        name="workflow",
        description="Who works on which signal, and how far it is.",
        routers=[
            endpoints.router,
            endpoints_assignments.router,
            endpoints_comments.router,
            endpoints_interventions.router,
            endpoints_rules.router,
            endpoints_snooze.router,
        ],
        subscriptions=[*subscriptions(settings), access_subscription("workflow")],
        workers=[measure_outcomes, keep_dates, forget_answers],
    )


if __name__ == "__main__":
    run(create, WorkflowSettings, lambda settings: settings.workflow_port)
