"""A project in memory with policies, and what one reader sees of it in a real DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metalayer.core.errors import Location
from metalayer.core.lineage import Lineage
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName, quote_path
from metalayer.core.people import Reader
from metalayer.core.policy import Policies
from metalayer.core.project import Project
from metalayer.core.schema import Column, Schema, parse_type
from metalayer.core.sql import parse_query
from metalayer.core.tags import Tags, follow
from metalayer.governance.access import Access, secure
from metalayer.governance.relations import Relations

KEY = bytes(range(32))


def columns(**declared: str) -> Schema:
    """Return columns from ``name="type | tag tag"``."""
    words = {name: text.partition(" | ") for name, text in declared.items()}
    return tuple(Column(name, parse_type(first), tags=tuple(tags.split())) for name, (first, _, tags) in words.items())


def source(name: str, held: Schema, *, tags: tuple[str, ...] = ()) -> Model:
    table = TableName.parse(name)
    return Model(table, Kind.APPEND, Ingest("csv", None), Location(f"{name}.yml"), columns=held, tags=tags)


def sql(name: str, text: str, held: Schema = (), kind: Kind = Kind.FULL, *, tags: tuple[str, ...] = ()) -> Model:
    table, inputs = TableName.parse(name), parse_query(text).inputs
    return Model(table, kind, SqlQuery(text), Location(f"{name}.sql"), columns=held, inputs=inputs, tags=tags)


@dataclass(frozen=True)
class House:
    """Tables as they lie in the engine under their own names, and the policies over them."""

    models: tuple[Model, ...]
    stored: Mapping[TableName, Schema]
    policies: Policies

    @property
    def project(self) -> Project:
        return Project("house", "/house", {item.name: item for item in self.models}, {}, policies=self.policies)

    @property
    def relations(self) -> Relations:
        def table(name: TableName) -> str | None:
            return quote_path(name.layer.value, name.name) if name in self.stored else None

        return Relations(self.project, "dev", {}, table, self.stored)

    def lineages(self) -> dict[TableName, Lineage | None]:
        schemas = {
            name: {column.name: str(column.type) for column in held}
            for table, held in self.stored.items()
            for name in (table, table.current)
        }
        return {
            item.name: parse_query(item.query.text).lineage(schemas) if isinstance(item.query, SqlQuery) else None
            for item in self.models
        }

    @property
    def tags(self) -> Tags:
        return follow(self.project, self.lineages(), self.policies.declassified)

    def access(self, reader: Reader) -> Access:
        return Access(reader, self.project, self.tags, KEY, self.relations.columns_of)

    def secure(self, text: str, reader: Reader) -> str:
        return secure(text, reader, self.relations, (), None if reader.is_owner else self.access(reader))


def person(name: str, *groups: str, purpose: str | None = None, **attributes: str | Iterable[str]) -> Reader:
    """Return a reader; an attribute is one text or several."""
    values = {key: (one,) if isinstance(one, str) else tuple(one) for key, one in attributes.items()}
    return Reader(name, groups=frozenset(groups), attributes=tuple(sorted(values.items())), purpose=purpose)
