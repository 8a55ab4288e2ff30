"""Tables as Iceberg tables: a directory with a catalog (SQLite) and a warehouse; each table is overwritten whole.

What is held stands in the snapshot that made it, so both are seen at once. Each table is a transaction of its own.
Needs the extra `iceberg`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from metalayer.core.errors import ExportError
from metalayer.core.export import Export, ExportedTable, Held
from metalayer.exports.destination import Delivery, Moved, note, noted
from metalayer.exports.portable import cast

if TYPE_CHECKING:
    from metalayer.lake import Session

_NOTE: Final = "metalayer"


class IcebergDestination:
    """A directory with an Iceberg catalog."""

    def __init__(self, export: Export, directory: Path) -> None:
        self._export = export
        self._directory = directory
        self._catalog: Any = None

    def __enter__(self) -> Self:
        """Open the catalog, which is made where it is missing."""
        try:
            from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415 - an extra
        except ImportError:
            raise ExportError(
                f"The export {self._export.name} writes Iceberg tables, and what writes them is not installed.",
                hint="pip install 'metalayer[iceberg]'",
                location=self._export.location,
            ) from None
        self._directory.mkdir(parents=True, exist_ok=True)
        place = self._directory.absolute()
        self._catalog = SqlCatalog("metalayer", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the catalog."""
        if self._catalog is not None:
            self._catalog.close()

    def commit(self) -> None:
        """Do nothing: each table was committed by itself."""

    def held(self, item: ExportedTable) -> Held | None:
        """Return what the newest snapshot says, None where it is another program's."""
        said = self._said(item)
        return None if said is None else noted(self._export, said)

    def _said(self, item: ExportedTable) -> dict[str, Any] | None:
        name = _identifier(item)
        if not self._catalog.table_exists(name):
            return None
        newest = self._catalog.load_table(name).current_snapshot()
        note = None if newest is None or newest.summary is None else newest.summary.additional_properties.get(_NOTE)
        return None if note is None else dict(json.loads(note))

    def replace(self, delivery: Delivery, session: Session, rows: str) -> Moved:
        """Overwrite the table, after its columns were made to fit."""
        name = _identifier(delivery.item)
        before = self.held(delivery.item)
        table = self._catalog.load_table(name) if self._catalog.table_exists(name) else None
        if table is not None and table.current_snapshot() is not None and self._said(delivery.item) is None:
            raise ExportError(
                f"{'.'.join(name)} is in that catalog already, and no export wrote it.",
                hint="Give the table another name with `to:`, choose another `path`, or drop the table there.",
                location=delivery.item.location,
            )
        select = cast(delivery.columns, rows, small=False)
        [(count,)] = session.query(f"SELECT count(*) FROM ({rows})")
        said = json.dumps(note(self._export, replace(delivery.state, rows=count)))
        reader = session.arrow_reader(select)
        if table is None:
            self._catalog.create_namespace_if_not_exists(name[0])
            table = self._catalog.create_table(name, reader.schema)
        with table.transaction() as transaction:
            self._fit(table, transaction, reader.schema)
            write = transaction.append if table.current_snapshot() is None else transaction.overwrite
            write(reader, snapshot_properties={_NOTE: said})
        return Moved(count, before.rows if before is not None else 0)

    def change(self, delivery: Delivery, session: Session, gone: str, came: str) -> Moved | None:  # noqa: ARG002 - a `Destination`
        """Return None: the library would read the table into memory to change rows, so that all of it goes."""
        return None

    def _fit(self, table: Any, transaction: Any, wanted: Any) -> None:
        """Let the columns be those that come: what is gone or of another type is dropped, and added anew."""
        from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - an extra

        there = {column.name: column.type for column in schema_to_pyarrow(table.schema(), include_field_ids=False)}
        fitting = {column.name for column in wanted if there.get(column.name) == column.type}
        if len(fitting) == len(there) == len(wanted):
            return
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in there.keys() - fitting:
                update.delete_column(name)
        with transaction.update_schema() as update:
            update.union_by_name(wanted)


def _identifier(item: ExportedTable) -> tuple[str, str]:
    namespace, _, name = item.name[-1].rpartition(".")
    return namespace or item.table.layer.value, name
