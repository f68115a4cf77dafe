"""The live schemas beside the specification's data models: tables, columns, types, enums, indexes, constraints."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from deploy.local.postgres import EmbeddedPostgres
from tests.support.service import migrate

SERVICES = ("signals", "workflow", "activity", "auth")

# Column, type, whether it must not be NULL: ids, the unique key's columns but facility_id, what an engine must send,
# and what these services always write themselves.
TABLES = {
    ("signals", "signals"): """
        id                               uuid                      required
        canonical_node_id                character varying(255)    required
        metric_id                        character varying(100)    required
        domain                           signal_domain             required
        facility                         character varying(255)    required
        facility_id                      character varying(50)
        system_name                      character varying(255)
        service_line                     character varying(255)    required
        sub_service_line                 character varying(255)
        description                      text                      required
        metric_value                     numeric(10,4)             required
        peer_mean                        numeric(10,4)
        peer_std                         numeric(10,4)
        percentile_rank                  numeric(5,2)
        encounters                       integer
        detected_at                      timestamp with time zone  required
        created_at                       timestamp with time zone
        updated_at                       timestamp with time zone
        simplified_signal_type           character varying(50)
        simplified_severity              integer
        simplified_severity_range        jsonb
        simplified_inputs                jsonb
        simplified_indicators            jsonb
        simplified_reasoning             text
        simplified_severity_calculation  jsonb
        entity_dimensions                jsonb
        entity_dimensions_hash           character varying(32)     required
        groupby_label                    character varying(255)
        group_value                      character varying(500)
        temporal_node_id                 character varying(255)
        metric_trend_timeline            jsonb
        trend_direction                  character varying(20)
        metadata_per_period              jsonb
        peer_percentile_trends           jsonb
        annual_excess_cost               numeric(12,2)
        excess_los_days                  numeric(10,2)
        capacity_impact_bed_days         numeric(10,4)
        expected_metric_value            numeric(10,4)
        why_matters_narrative            text
    """,
    ("workflow", "assignments"): """
        id                uuid                      required
        signal_id         uuid                      required
        assignee_id       uuid
        assigner_id       uuid
        status            assignment_status
        role_type         role_type
        notes             text
        resolution_notes  text
        assigned_at       timestamp with time zone
        started_at        timestamp with time zone
        resolved_at       timestamp with time zone
        closed_at         timestamp with time zone
        created_at        timestamp with time zone
        updated_at        timestamp with time zone
    """,
    ("activity", "activity_events"): """
        id          uuid                      required
        event_type  activity_event_type
        signal_id   uuid
        user_id     uuid
        payload     jsonb
        read        boolean
        created_at  timestamp with time zone
    """,
    ("auth", "users"): """
        id               uuid                      required
        email            character varying(255)
        name             character varying(255)
        hashed_password  character varying(255)
        role             user_role
        is_active        boolean
        created_at       timestamp with time zone
        updated_at       timestamp with time zone
    """,
}

ENUMS = {
    ("signals", "signal_domain"): ["Efficiency", "Safety", "Effectiveness"],
    ("signals", "metric_polarity"): ["lower_is_better", "higher_is_better", "target_range"],
    ("signals", "magnitude_tier"): [
        *("critical", "severe", "elevated", "marginal", "expected", "favorable", "excellent")
    ],
    ("signals", "trajectory_tier"): [
        *("rapidly_deteriorating", "deteriorating", "stable", "improving", "rapidly_improving")
    ],
    ("signals", "consistency_tier"): ["persistent", "variable", "transient"],
    ("workflow", "assignment_status"): ["new", "assigned", "in_progress", "resolved", "closed"],
    ("workflow", "role_type"): ["clinical_leadership", "nursing_leadership", "administration"],
    ("activity", "activity_event_type"): [
        *("new_signal", "regression", "improvement", "insight", "technical_error"),
        *("assignment", "status_change", "comment", "intervention_activated", "intervention_outcome"),
    ],
    ("auth", "user_role"): ["admin", "clinical_leadership", "nursing_leadership", "administration", "viewer"],
}

INDEXES = {
    ("signals", "ix_signals_domain"): "ON signals.signals USING btree (domain)",
    ("signals", "ix_signals_facility"): "ON signals.signals USING btree (facility)",
    ("signals", "ix_signals_system_name"): "ON signals.signals USING btree (system_name)",
    ("signals", "ix_signals_service_line"): "ON signals.signals USING btree (service_line)",
    ("signals", "ix_signals_detected_at"): "ON signals.signals USING btree (detected_at)",
    ("signals", "ix_signals_metric_id"): "ON signals.signals USING btree (metric_id)",
    ("signals", "ix_signals_entity_dimensions"): "ON signals.signals USING gin (entity_dimensions)",
    ("signals", "ix_signals_simplified_signal_type"): "ON signals.signals USING btree (simplified_signal_type)",
    ("signals", "ix_signals_simplified_severity"): "ON signals.signals USING btree (simplified_severity)",
    ("activity", "ix_activity_events_unread"): (
        "ON activity.activity_events USING btree (read, created_at) WHERE (read = false)"
    ),
}

UNIQUE = {
    ("signals", "signals"): (
        "UNIQUE NULLS NOT DISTINCT (canonical_node_id, metric_id, facility_id, entity_dimensions_hash, detected_at)"
    ),
    ("workflow", "assignments"): "UNIQUE (signal_id)",
    ("auth", "users"): "UNIQUE (email)",
}


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """The test server with every schema at head."""
    for service in SERVICES:
        migrate(service, postgres.owner_url(service))
    connection = await asyncpg.connect(postgres.admin_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("place", TABLES, ids=".".join)
async def test_every_column_is_there_with_its_type(database: asyncpg.Connection, place: tuple[str, str]) -> None:
    rows = await database.fetch(
        "SELECT attname, replace(format_type(atttypid, atttypmod), $2, '') AS type, attnotnull FROM pg_attribute "
        "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        ".".join(place),
        f"{place[0]}.",
    )
    live = {row["attname"]: (row["type"], row["attnotnull"]) for row in rows}
    for line in TABLES[place].strip().splitlines():
        name, *described = line.split()
        required = described[-1] == "required"
        assert live[name][0] == " ".join(described[:-1] if required else described), name
        # What the specification leaves nullable a service may require of itself; the reverse would lose a promise.
        assert live[name][1] or not required, name


@pytest.mark.parametrize("place", TABLES, ids=".".join)
async def test_ids_are_generated_by_postgresql(database: asyncpg.Connection, place: tuple[str, str]) -> None:
    default = await database.fetchval(
        "SELECT column_default FROM information_schema.columns "
        "WHERE table_schema = $1 AND table_name = $2 AND column_name = 'id'",
        *place,
    )
    assert default == "gen_random_uuid()"


@pytest.mark.parametrize("place", ENUMS, ids=".".join)
async def test_every_enum_has_its_values(database: asyncpg.Connection, place: tuple[str, str]) -> None:
    rows = await database.fetch(
        "SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype($1) ORDER BY enumsortorder", ".".join(place)
    )
    assert [row["enumlabel"] for row in rows] == ENUMS[place]


@pytest.mark.parametrize("place", INDEXES, ids=".".join)
async def test_every_index_is_there(database: asyncpg.Connection, place: tuple[str, str]) -> None:
    definition = await database.fetchval(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = $1 AND indexname = $2", *place
    )
    assert definition == f"CREATE INDEX {place[1]} {INDEXES[place]}"


@pytest.mark.parametrize("place", UNIQUE, ids=".".join)
async def test_every_unique_constraint_is_there(database: asyncpg.Connection, place: tuple[str, str]) -> None:
    rows = await database.fetch(
        "SELECT pg_get_constraintdef(oid) AS rule FROM pg_constraint "
        "WHERE conrelid = to_regclass($1) AND contype = 'u'",
        ".".join(place),
    )
    assert UNIQUE[place] in {row["rule"] for row in rows}


@pytest.mark.parametrize("service", SERVICES)
def test_the_history_leads_to_the_models_and_back(
    service: str, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{service}_history"
    postgres.create_database(name)
    monkeypatch.setenv("COMPASS_MIGRATION_DATABASE_URL", postgres.owner_url(service, name))
    configuration = Config("alembic.ini", ini_section=service)
    try:
        command.upgrade(configuration, "head")
        command.check(configuration)
        command.downgrade(configuration, "base")
        command.upgrade(configuration, "head")
    finally:
        postgres.drop_database(name)
