"""The canonical sample: all of it loads, and means what the design says it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalayer.core.check import Action, NotNull, Range, References, Unique
from metalayer.core.model import Ingest, Kind
from metalayer.core.names import Layer, TableName
from metalayer.core.project import Project
from metalayer.core.schema import parse_type
from metalayer.project import load
from metalayer.sources import registered
from metalayer.sources.databases import DatabaseOptions

HERE = Path(__file__).parent / "canonical"
ORDERS = TableName(Layer.BRONZE, "orders")
CRM = TableName(Layer.BRONZE, "crm_customers")
SILVER_ORDERS = TableName(Layer.SILVER, "orders")
CUSTOMERS = TableName(Layer.SILVER, "customers")
DAILY = TableName(Layer.GOLD, "daily_sales")


@pytest.fixture(scope="module")
def sample() -> Project:
    return load(HERE, sources=registered())


def test_every_table_stands_after_what_it_needs(sample: Project) -> None:
    assert tuple(sample.models) == (CRM, ORDERS, CUSTOMERS, SILVER_ORDERS, DAILY)
    assert not sample.warnings


def test_a_source_carries_its_options_key_and_pinned_columns(sample: Project) -> None:
    model = sample.models[ORDERS]
    assert isinstance(model.query, Ingest)
    assert model.query.type == "csv"
    assert model.query.options.path == ("data/orders/*.csv",)
    assert model.query.options.dialect.timestamp == "%d.%m.%Y %H:%M"
    assert (model.key, model.order_by, model.kind) == (("order_id",), ("updated_at",), Kind.APPEND)
    assert {column.name: str(column.type) for column in model.columns}["unit_price"] == "decimal(12,2)"
    assert model.checks == ()


def test_a_group_of_a_database_gives_its_tables_what_it_says(sample: Project) -> None:
    model = sample.models[CRM]
    assert isinstance(model.query, Ingest)
    assert (model.query.type, model.query.group) == ("postgres", "crm")
    assert model.query.options == DatabaseOptions("${CRM_DATABASE_URL}", "public.customers", load="cdc")
    assert model.columns[1].tags == ("pii",)
    assert model.columns[1].type == parse_type("varchar")


def test_a_key_brings_its_checks_before_the_declared_ones(sample: Project) -> None:
    checks = sample.models[SILVER_ORDERS].checks
    assert [(check.name, type(check.rule), check.on_fail, check.implied) for check in checks] == [
        ("order_id_not_null", NotNull, Action.BLOCK, True),
        ("order_id_unique", Unique, Action.BLOCK, True),
        ("customer_id_not_null", NotNull, Action.QUARANTINE, False),
        ("amount_min", Range, Action.QUARANTINE, False),
        ("customer_id_references", References, Action.WARN, False),
    ]
    assert sample.models[SILVER_ORDERS].kind is Kind.KEYED


def test_history_is_unique_by_key_and_beginning(sample: Project) -> None:
    model = sample.models[CUSTOMERS]
    assert (model.kind, model.time, model.deleted) == (Kind.SCD2, "changed_at", "is_deleted")
    assert [check.columns for check in model.checks if check.implied] == [
        ("customer_id",),
        ("customer_id", "valid_from"),
    ]


def test_inputs_come_from_the_query_companions_included(sample: Project) -> None:
    assert sample.models[SILVER_ORDERS].inputs == (ORDERS.current,)
    assert sample.models[DAILY].inputs == (CUSTOMERS, SILVER_ORDERS)


def test_owners_come_from_the_defaults_unless_said(sample: Project) -> None:
    assert sample.models[DAILY].owner == "sales-data"
    assert sample.models[CUSTOMERS].owner == "data-team"


def test_other_rooms_find_their_documents(sample: Project) -> None:
    assert [(document.kind, document.path) for document in sample.documents] == [
        ("metrics", "metrics/sales.yml"),
        ("alert", "alerts/revenue_drop.yml"),
        ("policies", "policies/privacy.yml"),
        ("test", "tests/orders.yml"),
    ]
    test = sample.documents[-1].content
    assert isinstance(test, dict)
    assert test["batches"][0]["bronze.crm_customers"][0]["_changed_at"] == "2026-02-01T00:00:00Z"


def test_environments_keep_their_secrets_unresolved(sample: Project) -> None:
    prod = sample.environments["prod"]
    assert (prod.database, prod.data, prod.encrypted) == ("${METALAYER_PROD_URL}", "s3://shop-lake/prod", True)
    assert prod.on_failure.webhook == "${ALERT_URL}"
    assert sample.environments["dev"].database is None
