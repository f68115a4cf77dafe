"""Fixtures for all tests."""

import structlog

pytest_plugins = ["tests.support.stack"]

# A traceback as Python prints it: the default renders every local variable, for seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
