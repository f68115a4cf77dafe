"""Alembic's entry for the schema `workflow`."""

from services.workflow.models import Base
from shared import migrations

migrations.run(Base.metadata, "workflow")
