"""Tables as Delta tables in a directory: what is held stands in the commit that made it, so both are seen at once.

Each table is a transaction of its own: Delta has none over several. Needs the extra `delta`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from metalayer.core.errors import ExportError
from metalayer.core.export import Export, ExportedTable, Held
from metalayer.core.names import quote
from metalayer.exports.destination import Delivery, Moved, note, noted
from metalayer.exports.portable import cast

if TYPE_CHECKING:
    from metalayer.lake import Session

_NOTE: Final = "metalayer"
_KEEPING: Final = ("OPTIMIZE", "VACUUM", "FSCK", "SET TBLPROPERTIES")
"""Operations that change no row."""


class DeltaDestination:
    """A directory of Delta tables."""

    def __init__(self, export: Export, directory: Path) -> None:
        self._export = export
        self._directory = directory

    def __enter__(self) -> Self:
        """Look whether the library is there."""
        try:
            import deltalake  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise ExportError(
                f"The export {self._export.name} writes Delta tables, and what writes them is not installed.",
                hint="pip install 'metalayer[delta]'",
                location=self._export.location,
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: each table was committed by itself."""

    def commit(self) -> None:
        """Do nothing: each table was committed by itself."""

    def held(self, item: ExportedTable) -> Held | None:
        """Return what the newest commit that changed rows says, None where it is another program's."""
        from deltalake import DeltaTable  # noqa: PLC0415 - an extra

        place = str(self._directory / item.name[-1])
        if not DeltaTable.is_deltatable(place):
            return None
        for entry in DeltaTable(place).history():
            if _NOTE in entry:
                return noted(self._export, json.loads(entry[_NOTE]))
            if not str(entry.get("operation", "")).upper().startswith(_KEEPING):
                return None
        return None

    def replace(self, delivery: Delivery, session: Session, rows: str) -> Moved:
        """Overwrite the table."""
        from deltalake import DeltaTable, write_deltalake  # noqa: PLC0415 - an extra

        place = self._directory / delivery.item.name[-1]
        before = self.held(delivery.item)
        if before is None and place.exists():
            ours = DeltaTable.is_deltatable(str(place)) and any(_NOTE in e for e in DeltaTable(str(place)).history())
            if not ours:
                raise ExportError(
                    f"{place} is there already, and no export wrote it.",
                    hint="Give the table another name with `to:`, choose another `path`, or remove what is there.",
                    location=delivery.item.location,
                )
        [(count,)] = session.query(f"SELECT count(*) FROM ({rows})")
        with _told(self._export):
            write_deltalake(
                str(place),
                session.stream(cast(delivery.columns, rows)),
                mode="overwrite",
                schema_mode="overwrite",
                description=delivery.description or None,
                commit_properties=self._note(delivery, count),
            )
        return Moved(count, before.rows if before is not None else 0)

    def change(self, delivery: Delivery, session: Session, gone: str, came: str) -> Moved | None:
        """Merge: rows whose keys are gone leave, others are updated or added."""
        from deltalake import DeltaTable  # noqa: PLC0415 - an extra

        names = [column.name for column in delivery.columns]
        keys = ", ".join(map(quote, delivery.key))
        nulls = ", ".join(
            quote(column.name)
            if column.name in delivery.key
            else f"CAST(NULL AS {column.type}) AS {quote(column.name)}"
            for column in delivery.columns
        )
        came, left = f"({came})", f"(SELECT {keys} FROM ({gone}) EXCEPT SELECT {keys} FROM ({came}))"
        [(removed, added)] = session.query(f"SELECT (SELECT count(*) FROM ({gone})), (SELECT count(*) FROM {came})")
        both = (
            f"SELECT *, false AS _gone FROM ({cast(delivery.columns, f'SELECT * FROM {came}')}) UNION ALL "
            f"SELECT *, true FROM ({cast(delivery.columns, f'SELECT {nulls} FROM {left}')})"
        )
        values = {_name(name): f"source.{_name(name)}" for name in names}
        matched = " AND ".join(f"target.{_name(name)} = source.{_name(name)}" for name in delivery.key)
        rows = delivery.state.rows + added - removed
        with _told(self._export):
            (
                DeltaTable(str(self._directory / delivery.item.name[-1]))
                .merge(
                    session.stream(both),
                    predicate=matched,
                    source_alias="source",
                    target_alias="target",
                    commit_properties=self._note(delivery, rows),
                )
                .when_matched_delete(predicate="source._gone")
                .when_matched_update(values)
                .when_not_matched_insert(values, predicate="NOT source._gone")
                .execute()
            )
        return Moved(added, removed)

    def _note(self, delivery: Delivery, rows: int) -> Any:
        from deltalake import CommitProperties  # noqa: PLC0415 - an extra

        said = json.dumps(note(self._export, replace(delivery.state, rows=rows)))
        return CommitProperties(custom_metadata={_NOTE: said})


def _name(column: str) -> str:
    """Return a column's name as Delta's expressions quote it."""
    return "`" + column.replace("`", "``") + "`"


@contextmanager
def _told(export: Export) -> Iterator[None]:
    """Tell what the library refuses in our words."""
    from deltalake.exceptions import DeltaError  # noqa: PLC0415 - an extra

    try:
        yield
    except (DeltaError, OSError) as error:
        raise ExportError(
            f"The Delta tables of the export {export.name} cannot be written: {str(error).splitlines()[0]}",
            hint="Look at the directory, and export again; what was committed is noticed.",
            location=export.location,
        ) from error
