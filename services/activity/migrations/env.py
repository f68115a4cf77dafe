"""Alembic environment of the activity service."""

from services.activity.models import Base
from shared import migrations

migrations.run(Base.metadata, "activity")
