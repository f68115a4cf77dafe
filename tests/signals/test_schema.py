"""The live schema beside the specification's tables, column by column."""

import pytest

from tests.support.service import ServiceUnderTest

# Column, type, whether it is required: ids, the unique key's columns but facility_id, and what an engine must send.
SPECIFIED = """
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
"""

INDEXES = {
    "ix_signals_domain": "btree (domain)",
    "ix_signals_facility": "btree (facility)",
    "ix_signals_system_name": "btree (system_name)",
    "ix_signals_service_line": "btree (service_line)",
    "ix_signals_detected_at": "btree (detected_at)",
    "ix_signals_metric_id": "btree (metric_id)",
    "ix_signals_entity_dimensions": "gin (entity_dimensions)",
    "ix_signals_simplified_signal_type": "btree (simplified_signal_type)",
    "ix_signals_simplified_severity": "btree (simplified_severity)",
}

ENUMS = {
    "signal_domain": ["Efficiency", "Safety", "Effectiveness"],
    "metric_polarity": ["lower_is_better", "higher_is_better", "target_range"],
    "magnitude_tier": ["critical", "severe", "elevated", "marginal", "expected", "favorable", "excellent"],
    "trajectory_tier": ["rapidly_deteriorating", "deteriorating", "stable", "improving", "rapidly_improving"],
    "consistency_tier": ["persistent", "variable", "transient"],
    "assignment_status": ["new", "assigned", "in_progress", "resolved", "closed"],
}


async def test_columns(service: ServiceUnderTest) -> None:
    rows = await service.rows(
        """
        SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required
        FROM pg_attribute WHERE attrelid = 'signals'::regclass AND attnum > 0 AND NOT attisdropped
        """
    )
    live = {row["name"]: (row["type"], row["required"]) for row in rows}
    for line in SPECIFIED.strip().splitlines():
        name, *described = line.split()
        required = described[-1] == "required"
        expected = " ".join(described[:-1] if required else described)
        assert live[name] == (expected, required), name


async def test_the_id_has_its_default(service: ServiceUnderTest) -> None:
    rows = await service.rows(
        "SELECT column_default AS d FROM information_schema.columns"
        " WHERE table_schema = 'signals' AND table_name = 'signals' AND column_name = 'id'"
    )
    assert rows == [{"d": "gen_random_uuid()"}]


@pytest.mark.parametrize("name", INDEXES)
async def test_indexes(service: ServiceUnderTest, name: str) -> None:
    [row] = await service.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'signals' AND indexname = :n", n=name)
    assert row["indexdef"].split(" USING ")[1] == INDEXES[name]


async def test_the_unique_constraint(service: ServiceUnderTest) -> None:
    rows = await service.rows(
        "SELECT pg_get_constraintdef(oid) AS d FROM pg_constraint"
        " WHERE conrelid = 'signals'::regclass AND contype = 'u'"
    )
    assert rows == [
        {
            "d": "UNIQUE NULLS NOT DISTINCT"
            " (canonical_node_id, metric_id, facility_id, entity_dimensions_hash, detected_at)"
        }
    ]


@pytest.mark.parametrize("name", ENUMS)
async def test_enums(service: ServiceUnderTest, name: str) -> None:
    rows = await service.rows(
        "SELECT enumlabel AS v FROM pg_enum WHERE enumtypid = CAST(:name AS regtype) ORDER BY enumsortorder", name=name
    )
    assert [row["v"] for row in rows] == ENUMS[name]


async def test_an_entity_has_one_current_row(service: ServiceUnderTest) -> None:
    rows = await service.rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_signals_current_entity'")
    assert rows[0]["indexdef"].endswith("(entity_id) WHERE is_current")
