"""Parts of a running stack with other settings for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from deploy.local.stack import READY_SECONDS, LocalStack


@contextmanager
def reconfigured(stack: LocalStack, services: Sequence[str], **environment: str) -> Iterator[None]:
    """Start these services and the gateway anew with these variables; as they were, afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            # The gateway's configuration is made in this process.
            patch.setenv(name, value)
        _restart(stack, services, environment)
        try:
            yield
        finally:
            patch.undo()
            _restart(stack, services, {})


def _restart(stack: LocalStack, services: Sequence[str], environment: dict[str, str]) -> None:
    stack.gateway.stop()
    for name in services:
        process = stack.service(name).process
        process.stop()
        process.command = replace(process.command, environment=stack.service_environment(name) | environment)
        process.start()
    for name in services:
        stack.service(name).wait_until_ready(READY_SECONDS)
    stack.gateway.start()
