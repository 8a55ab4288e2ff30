"""The one door for reads: a query goes in with its reader, and comes out rewritten to what that reader may see.

The owner of the checkout sees every row and column. A person sees what policies grant: each table becomes a subquery of
the granted columns, masks computed and rows filtered within, so that nothing outside of it ever meets what is hidden.
A table that is not granted is told of like one that does not exist. Nothing here runs a query, and no limit of time or
memory is set here: whoever runs queries of others does that in a process of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metalayer.core.errors import AccessError, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.core.names import TableName, quote
from metalayer.core.people import OWNER, Reader, Scope
from metalayer.core.policy import MaskKind, Policies, RowFilter, Seen, Sight, decide
from metalayer.core.project import Project
from metalayer.core.schema import Schema

if TYPE_CHECKING:  # lineage is followed where somebody reads, not in a run
    from metalayer.core.tags import Tags

__all__ = ["OWNER", "Access", "Reader", "Scope", "secure"]

_INNER, _OUTER = "_row", "_seen"


@dataclass(frozen=True, slots=True)
class Access:
    """What one reader may see of a project, at the snapshot whose columns it was made with.

    Attributes:
        reader: who reads; the owner sees everything.
        project: the tables and their policies.
        tags: the tags of all columns, inherited ones included.
        key: the project's key for hashes and tokens.
        columns: returns the columns of a table, companion or view; None where they are not known.
    """

    reader: Reader
    project: Project
    tags: Tags
    key: bytes = field(repr=False)
    columns: Callable[[TableName], Schema | None]

    @property
    def policies(self) -> Policies:
        """The project's policies with the built-in roles."""
        return self.project.policies.with_built_in()

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of the reader's roles."""
        return tuple(role.name for role in self.policies.roles_of(self.reader))

    def sight(self, table: TableName) -> Sight:
        """Return what the reader sees of a table, companion or view; it is false where that is nothing.

        Raises:
            AccessError: something is granted, and its policies cannot be applied.
        """
        model = self.project.models.get(table.owner)
        if model is None:
            return Sight(table)
        columns = self.columns(table)
        tagged = self.tags.tagged(table, columns or ())
        if self.reader.is_owner:
            return Sight(table, tuple(map(Seen, tagged)))
        owned = (column.name for column in (self.columns(table.owner) or () if table != table.owner else ()))
        found = decide(self.policies, self.reader, table, model.tags, tagged, owned)
        if found.grants and columns is None:
            raise AccessError(
                f"{table} was not built yet, so there is nothing to see of it.",
                hint="Ask at a later moment (--at), or again when it was run.",
            )
        return found

    def relation(self, table: TableName, item: str) -> str:
        """Return the FROM item that a table is for the reader, given what it is for the owner.

        Raises:
            AccessError: the reader may not read it, or its policies cannot be applied.
        """
        return self.rewritten(table, lambda _: item)

    def rewritten(self, table: TableName, relations: Callable[[TableName], str]) -> str:
        """Return the FROM item that a table is for the reader; what it is for the owner is asked where it is needed.

        Raises:
            AccessError: the reader may not read it, or its policies cannot be applied.
        """
        from metalayer.governance.masks import expression, masked, qualified  # noqa: PLC0415 - an idle run parses no SQL

        if self.reader.is_owner:
            return relations(table)
        sight = self.sight(table)
        if not sight:
            raise self.refusal(table)
        item = relations(table)
        roles = self.roles
        held = {column.name.lower() for column in self.columns(table) or ()}
        shown = []
        for seen in sight.columns:
            column = qualified(_OUTER, seen.column.name)
            if seen.mask is not None:
                if seen.mask.show is MaskKind.SQL and not held.issuperset(expression(seen.mask).columns):
                    raise _unusable(table)
                value = masked(seen.mask, column, seen.column.type, self.key, self.reader, roles)
                column = f"{value} AS {quote(seen.column.name)}"
            shown.append(column)
        conditions = " AND ".join(f"({self._condition(rule, table, held, roles)}\n)" for rule in sight.filters)
        rows = f"(SELECT * FROM {item} AS {quote(_INNER)} WHERE {conditions})" if conditions else item
        return f"(SELECT {', '.join(shown)} FROM {rows} AS {quote(_OUTER)})"

    def _condition(self, rule: RowFilter, table: TableName, held: set[str], roles: tuple[str, ...]) -> str:
        from metalayer.governance.masks import condition  # noqa: PLC0415 - an idle run parses no SQL

        found = condition(rule.sql)
        if not held.issuperset(found.columns):
            raise _unusable(table)
        return found.expand(self.reader, roles)

    def refusal(self, table: TableName) -> AccessError:
        """Return what is told of a table that the reader may not read, or that does not exist."""
        near = did_you_mean(str(table), map(str, self.visible()))
        return AccessError(
            f"There is no table {table} that '{self.reader.name}' may read.",
            hint=f"{near}`metalayer access what {self.reader.name}` lists what there is; a role that reads more is "
            "granted in policies/.",
        )

    def visible(self) -> Mapping[TableName, Sight]:
        """Return the tables and companions of which the reader sees something, in the project's order."""
        found: dict[TableName, Sight] = {}
        for name, model in self.project.models.items():
            companions = (name.current, name.quarantine, name.rejects) if model.is_source else (name.quarantine,)
            for table in (name, *companions):
                try:
                    if sight := self.sight(table):
                        found[table] = sight
                except AccessError:  # what cannot be read is not to be seen; `access check` says why
                    continue
        return found

    def fingerprint(self, tables: Iterable[TableName]) -> str:
        """Return what tells two readers apart who would see different things of the tables: the key of caches.

        Readers with one fingerprint see the same columns of the same rows through the same masks.

        Raises:
            AccessError: the reader may not read one of them.
        """
        digest = hashlib.sha256()
        for table in sorted(set(tables)):
            digest.update(f"{table}\0{self.relation(table, quote(str(table)))}\0".encode())
        return digest.hexdigest()

    def redact(self, text: str) -> str:
        """Return a message without the secrets that stand in rewritten queries."""
        from metalayer.governance.masks import secrets  # noqa: PLC0415 - an idle run parses no SQL

        for secret in secrets(self.key):
            text = text.replace(secret, "…")
        return text


def _unusable(table: TableName) -> AccessError:
    return AccessError(
        f"The policies of {table} cannot be applied to its columns, so nothing of it is shown.",
        hint="Ask the owner of the project: `metalayer access check` says which policy and why.",
    )


def secure(
    sql: str,
    reader: Reader,
    relations: Callable[[TableName], str],
    known: tuple[str, ...] = (),
    access: Access | None = None,
    macros: tuple[DeclaredMacro, ...] = (),
) -> str:
    """Return the query with every table replaced by what the reader may see of it.

    Args:
        sql: one SELECT over the project's tables.
        reader: who reads.
        relations: what a table is for the owner.
        known: the names of tables to be suggested, for the owner.
        access: what the reader may see; needed for everybody but the owner.
        macros: what the query may call beside what ships.

    Raises:
        SqlSyntaxError: it is not one SELECT.
        UsageError: it names a table that the project does not declare, and the owner reads.
        AccessError: it reads something that is not a declared table, or the reader may not read it.
    """
    if not reader.is_owner and (access is None or access.reader != reader):
        raise AccessError(
            f"'{reader.name}' may not read here.",
            hint="Policies say what people see; only the owner of the checkout reads without.",
        )
    from metalayer.core.sql import parse_query  # noqa: PLC0415 - an idle run parses no SQL

    query = parse_query(sql, macros=macros)
    for reference in query.references:
        if reference.message and (reference.table is None or not reader.is_owner):
            names = known if reader.is_owner or access is None else map(str, access.visible())
            raise AccessError(
                f"The query reads '{reference.name}', which is not a table of the project."
                if reference.table is None
                else reference.message,
                hint=f"{did_you_mean(reference.name, names)}{reference.hint}",
            )
    if reader.is_owner or access is None:
        return query.rewrite(relations)
    return query.rewrite(lambda table: access.rewritten(table, relations))
