"""Names of tables and how names are quoted: one function quotes, everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from metalayer.core.errors import UsageError, did_you_mean

CURRENT = "__current"
QUARANTINE = "__quarantine"
REJECTS = "__rejects"
KEPT = "__current-rows"
"""The suffix of the table that holds a source's current rows. No declared table can be named so."""

COMPANIONS = (CURRENT, QUARANTINE, REJECTS)


class Layer(StrEnum):
    """The layers of the medallion, in the order in which data passes through them."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """The public name of a table: its layer and its name, unique in a project.

    >>> str(TableName(Layer.SILVER, "orders").quarantine)
    'silver.orders__quarantine'
    """

    layer: Layer
    name: str

    def __str__(self) -> str:
        """Return ``layer.name``."""
        return f"{self.layer}.{self.name}"

    @property
    def current(self) -> TableName:
        """The latest version of each key (or, without a key, the rows of each file's newest version)."""
        return TableName(self.layer, self.name + CURRENT)

    @property
    def kept(self) -> TableName:
        """Where the lake keeps the latest row of each key, which `current` is read from where it can be."""
        return TableName(self.layer, self.name + KEPT)

    @property
    def quarantine(self) -> TableName:
        """Rows that failed a check and wait."""
        return TableName(self.layer, self.name + QUARANTINE)

    @property
    def rejects(self) -> TableName:
        """Lines of a source that could not be parsed."""
        return TableName(self.layer, self.name + REJECTS)

    @property
    def owner(self) -> TableName:
        """The declared table that a companion belongs to; itself for any other table."""
        if "__" in self.name:  # asked so often that the quick answer counts
            for suffix in COMPANIONS:
                if self.name.endswith(suffix):
                    return TableName(self.layer, self.name.removesuffix(suffix))
        return self

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read ``layer.name``.

        Raises:
            UsageError: the text is not of that form.
        """
        layer, dot, name = text.partition(".")
        if not dot or not name or layer not in {item.value for item in Layer}:
            raise UsageError(
                f"'{text}' is not the name of a table.",
                hint=f"{did_you_mean(layer, Layer)}Write it as layer.table, for example silver.orders; "
                "the layers are bronze, silver and gold.",
            )
        return cls(Layer(layer), name)


def quote(identifier: str) -> str:
    """Return an identifier as SQL, always quoted (PostgreSQL's and DuckDB's rules are the same).

    >>> print(quote('say "hi" twice'))
    "say ""hi"" twice"
    """
    return '"' + identifier.replace('"', '""') + '"'


def quote_path(*parts: str) -> str:
    """Return a dotted name with each part quoted.

    >>> quote_path("lake", "silver", "orders")
    '"lake"."silver"."orders"'
    """
    return ".".join(quote(part) for part in parts)


def literal(text: str) -> str:
    """Return a text as an SQL string literal, for the few places where a parameter cannot stand.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def physical(table: TableName, environment: str) -> TableName:  # noqa: ARG001 - environments share no lake yet
    """Return where a table lives in an environment's lake: the one place that knows.

    One environment is one database and one lake today, so a table lives under its own name.
    """
    return table
