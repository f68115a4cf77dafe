"""Fixtures for all tests."""

import os

import structlog

from tests.support.fuzzing import register_profiles

register_profiles()

# Brokers live for a minute here: compiling their code twice takes half of what their start costs the machine.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

pytest_plugins = ["tests.support.stack"]

# A traceback as Python prints it: the default renders every local variable, for seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
