"""The auth service: accounts, sessions, and the keys that sign access tokens."""

from functools import partial

from fastapi import FastAPI

from services.auth import (
    endpoints,
    endpoints_documents,
    endpoints_keys,
    endpoints_sessions,
    endpoints_users,
    repository_keys,
    service_start,
)
from services.auth.service_tools import Tools
from services.auth.service_upkeep import upkeep
from services.auth.settings import AuthSettings
from shared.app import create_app, run
from shared.idempotency import forget_answers


def create(settings: AuthSettings) -> FastAPI:
    """The service with these settings."""
    tools = Tools.make(settings)
    app = create_app(
        settings,
        name="auth",
        description="Login, sessions, accounts and the public keys.",
        routers=[
            endpoints.router,
            endpoints_sessions.router,
            endpoints_users.router,
            endpoints_keys.router,
            endpoints_documents.router,
        ],
        workers=[upkeep, forget_answers],
        load_access=partial(repository_keys.load_access, token_lifetime=tools.longest_acceptance),
    )
    app.state.tools = tools
    return app


if __name__ == "__main__":
    service_start.run(AuthSettings)
    run(create, AuthSettings, lambda settings: settings.auth_port)
