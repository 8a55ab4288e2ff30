"""Files of policies as values: what each key means, what is only warned of, and that memory keeps it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from metalayer.core.names import Layer, TableName
from metalayer.core.people import Scope
from metalayer.core.policy import BUILT_IN, MaskKind, Policies, Whom
from metalayer.core.project import Project
from metalayer.project import load
from metalayer.sources import registered

Write = Callable[[Mapping[str, str]], Path]
TABLES = {
    "bronze/customers.yml": "type: csv\npath: c.csv\ncolumns: {id: bigint, email: {type: varchar, tags: [pii]}, "
    "country: varchar, born: date}\n",
    "silver/customers.sql": "/*---\nkey: id\ntags: [people]\n---*/\nSELECT id, email, country, born FROM "
    "bronze.customers\n",
}
EVERYTHING = """
purposes: {billing: Invoices and reminders.}
roles:
  analyst:
    description: Reads what is published.
    groups: [Sales]
    users: [eva]
    read: {layers: [gold]}
  lead:
    groups: [leads]
    may: [run]
    read:
      - {tables: [silver.*], tags: [people], columns: {names: [id, "E*"]}}
      - {layers: [bronze], without: [email], purposes: [billing]}
masks:
  - columns: {tags: [pii]}
    show: hash
    unless: {roles: [steward], purposes: [billing]}
  - {name: ends, columns: [silver.customers.email], show: partial, first: 1}
  - {columns: {names: [born]}, show: bucket, size: year, only: {groups: [everyone]}}
  - {columns: {names: [id], layers: [silver]}, show: null}
  - columns: [silver.customers.country]
    sql: |
      left(value, 1)
rows:
  - name: own country
    columns: [country]
    unless: {roles: [admin]}
    sql: |
      country IN user_attributes('country')
declassify:
  - {column: silver.customers.country, tags: [pii], reason: agreed}
retention:
  - {tables: [silver.customers], by: born, keep: 52w}
erasure:
  customer: {keys: [silver.customers.id, bronze.customers.id]}
"""


def project(write: Write, policies: str) -> Project:
    return load(write({**TABLES, "policies/privacy.yml": policies}), sources=registered())


def test_every_key_has_its_meaning(write: Write) -> None:
    loaded = project(write, EVERYTHING)
    found = loaded.policies
    assert not loaded.warnings
    analyst, lead = found.roles
    assert (analyst.groups, analyst.users, analyst.read[0].tables.layers) == (("sales",), ("eva",), (Layer.GOLD,))
    assert lead.may == {Scope.READ, Scope.RUN}
    first, second = lead.read
    assert first.columns is not None
    assert (first.tables.tables, first.tables.tags, first.columns.names) == (("silver.*",), ("people",), ("id", "e*"))
    assert second.without is not None
    assert (second.without.names, second.purposes) == (("email",), ("billing",))
    hashed, ends, year, null, country = found.masks
    assert (hashed.show, hashed.unless) == (MaskKind.HASH, Whom(roles=("steward",), purposes=("billing",)))
    assert (ends.name, ends.first, ends.last, ends.columns.tables.tables) == ("ends", 1, 0, ("silver.customers",))
    assert (year.unit, year.only) == ("year", Whom(groups=("everyone",)))
    assert (null.show, country.show) == (MaskKind.NULL, MaskKind.SQL)
    (rule,) = found.rows
    assert (rule.name, rule.having, rule.location.line) == ("own country", ("country",), 26)
    assert found.declassified[0].reason == "agreed"
    assert found.retention[0].keep == timedelta(weeks=52)
    silver = TableName.parse("silver.customers")
    assert found.erasure[0].keys == ((silver, "id"), (TableName.parse("bronze.customers"), "id"))


def test_policies_are_remembered(write: Write) -> None:
    found = project(write, EVERYTHING).policies
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_file_that_declares_a_built_in_role_replaces_it(write: Write) -> None:
    found = project(write, "roles: {analyst: {groups: [sales], read: {layers: [gold]}}}\n").policies.with_built_in()
    assert sorted(role.name for role in found.roles) == sorted(role.name for role in BUILT_IN)
    assert next(role for role in found.roles if role.name == "analyst").groups == ("sales",)


def test_a_misspelled_tag_is_warned_of(write: Write) -> None:
    (warning,) = project(write, "masks: [{columns: {tags: [pi]}, show: null}]\n").warnings
    assert warning.message == "No column has the tag 'pi'."
    assert "Did you mean 'pii'?" in warning.hint
    assert warning.location.line == 1


def test_a_pattern_that_names_nothing_is_warned_of(write: Write) -> None:
    (warning,) = project(write, "roles: {a: {read: {tables: [gold.*]}}}\n").warnings
    assert warning.message == "No table is named like gold.*."


def test_without_files_there_are_no_policies(write: Write) -> None:
    assert load(write(TABLES), sources=registered()).policies == Policies()
