"""The Alembic history of the signals schema."""
