"""What the schema promises beyond the specification's data model."""

from tests.support.service import ServiceUnderTest


async def test_an_entity_has_one_current_row(service: ServiceUnderTest) -> None:
    rows = await service.rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_signals_current_entity'")
    assert rows[0]["indexdef"].endswith("(entity_id) WHERE is_current")
