"""Alembic's entry for the signals service."""

from services.signals.models import Base
from shared.migrations import run

run(Base.metadata, "signals")
