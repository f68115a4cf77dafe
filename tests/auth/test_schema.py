"""What the schema promises beyond the specification's data model."""

from tests.support.service import ServiceUnderTest


async def test_addresses_are_unique_whatever_their_letter_case(auth: ServiceUnderTest) -> None:
    constraints = await auth.rows(
        "SELECT conname AS name, pg_get_constraintdef(oid) AS rule FROM pg_constraint "
        "WHERE conrelid = 'users'::regclass"
    )
    rules = {row["name"]: row["rule"] for row in constraints}
    assert rules["uq_users_email"] == "UNIQUE (email)"
    assert "lower" in rules["ck_users_email_is_lower_case"]
