"""All events of all services, by name: for documentation, contract tests and replay."""

from typing import Final

from shared.events import auth, operations, signals, workflow

ALL: Final = (*signals.EVENTS, *workflow.EVENTS, *auth.EVENTS, *operations.EVENTS)

BY_NAME: Final = {event.name: event for event in ALL}
