"""The live schema is the specification's, and the history leads there and back."""

import pytest
from alembic import command
from alembic.config import Config

from deploy.local.postgres import EmbeddedPostgres
from tests.support.service import ServiceUnderTest

USERS = {
    "id": "uuid",
    "email": "character varying(255)",
    "name": "character varying(255)",
    "hashed_password": "character varying(255)",
    "role": "user_role",
    "is_active": "boolean",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
}


async def test_users_are_as_specified(auth: ServiceUnderTest) -> None:
    columns = await auth.rows(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        "WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert {column["name"]: column["type"] for column in columns}.items() >= USERS.items()
    roles = await auth.rows("SELECT unnest(enum_range(NULL::user_role))::text AS role")
    assert [row["role"] for row in roles] == [
        *("admin", "clinical_leadership", "nursing_leadership", "administration", "viewer")
    ]


async def test_addresses_are_unique_whatever_their_letter_case(auth: ServiceUnderTest) -> None:
    constraints = await auth.rows(
        "SELECT conname AS name, pg_get_constraintdef(oid) AS rule FROM pg_constraint "
        "WHERE conrelid = 'users'::regclass"
    )
    rules = {row["name"]: row["rule"] for row in constraints}
    assert rules["uq_users_email"] == "UNIQUE (email)"
    assert "lower" in rules["ck_users_email_is_lower_case"]


def test_the_history_leads_to_the_models_and_back(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.create_database("auth_history")
    monkeypatch.setenv("COMPASS_MIGRATION_DATABASE_URL", postgres.owner_url("auth", "auth_history"))
    configuration = Config("alembic.ini", ini_section="auth")
    try:
        command.upgrade(configuration, "head")
        command.check(configuration)
        command.downgrade(configuration, "base")
        command.upgrade(configuration, "head")
    finally:
        postgres.drop_database("auth_history")
