"""Alembic's entry for the schema `auth`."""

from services.auth.models import Base
from shared import migrations

migrations.run(Base.metadata, "auth")
