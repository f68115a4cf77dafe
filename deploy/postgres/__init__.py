"""Roles and schemas: `database.sql` for the database, `service.sql` once per service; `init.sh` runs both with psql."""
