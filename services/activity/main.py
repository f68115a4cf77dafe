"""The activity service: what it consumes, what it serves, what it does beside."""

from fastapi import FastAPI

from services.activity import endpoints, endpoints_audit, endpoints_digest, endpoints_stream
from services.activity.consumers import SUBSCRIPTIONS
from services.activity.service import group_older_events
from services.activity.service_audit import watch_gaps
from services.activity.service_export import Exports
from services.activity.service_hub import Hub
from services.activity.service_reads import follow_watermarks
from services.activity.settings import ActivitySettings
from shared.app import create_app, run


def create(settings: ActivitySettings) -> FastAPI:
    """Build the service."""
    hub = Hub()
    app = create_app(
        settings,
        name="activity",
        description="One feed of all that happens, and the audit log behind it.",
        routers=[endpoints.router, endpoints_stream.router, endpoints_digest.router, endpoints_audit.router],
        subscriptions=SUBSCRIPTIONS,
        workers=[follow_watermarks, watch_gaps, group_older_events, hub.run],
    )
    app.state.hub = hub
    app.state.exports = Exports(settings.export_limit)
    return app


if __name__ == "__main__":
    run(create, ActivitySettings, lambda settings: settings.activity_port)
