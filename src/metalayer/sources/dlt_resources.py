"""Resources of dlt as sources: whatever yields items there is loaded here, exactly once, with its own state as cursor.

A resource runs in a process of its own and writes JSON Lines, which the engine reads like files of that kind; dlt's
state of the resource (its incremental cursors) commits with the rows. `replace` replaces the load before, unless it is
the same; `append` and `merge` add, and what is the latest of each key stands in ``__current``. Items pass through
Python, as they do in dlt. Needs the extra `dlt`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metalayer.core.errors import SourceError
from metalayer.core.schema import Column, DriftPolicy, Scalar
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, SourceType, Surroundings
from metalayer.sources.dialect import JsonDialect
from metalayer.sources.spooled import placed

_TYPES: Final = {
    "text": Scalar("varchar"),
    "double": Scalar("double"),
    "bool": Scalar("boolean"),
    "timestamp": Scalar("timestamptz"),
    "bigint": Scalar("bigint"),
    "binary": Scalar("varchar"),
    "decimal": Scalar("decimal", 38, 9),
    "wei": Scalar("varchar"),
    "date": Scalar("date"),
    "time": Scalar("time"),
}
"""What dlt's types are here; of nested values the engine finds the types. Binary values are their base64 text."""


@dataclass(frozen=True, slots=True)
class DltOptions:
    """What a declaration says of a dlt resource.

    Attributes:
        source: the function that makes the source or resource: file.py:name from the project's directory on, or
            package.module:name.
        arguments: what it is called with; secrets as ${NAME}.
        from_: the resource's name; the declared name where nothing is said.
        dialect: how values inside the JSON are written.
    """

    source: str
    arguments: Mapping[str, object] = field(default_factory=dict, repr=False)
    from_: str = ""
    dialect: JsonDialect = field(default_factory=JsonDialect)


@dataclass(frozen=True, slots=True)
class DltSource:
    """One resource of dlt.

    Attributes:
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it.
        root: the project's directory.
        drift: what happens to fields that are not known.
    """

    options: DltOptions
    columns: tuple[Column, ...]
    root: str
    drift: DriftPolicy = "evolve"

    def check(self, cursor: Cursor) -> Pending:
        """Tell that there may be something: a resource cannot be looked at without being read.

        Raises:
            SourceError: dlt is not installed, or the function's file is not there.
        """
        if importlib.util.find_spec("dlt") is None:
            raise SourceError(
                "A source of type dlt needs dlt, which is not installed.", hint="pip install 'metalayer[dlt]'"
            )
        place = self.options.source.rpartition(":")[0]
        if place.endswith(".py") and not Path(self.root, place).is_file():
            raise SourceError(
                f"There is no file {place}.",
                hint="Write `source: path/to/file.py:function`, from the project's directory on.",
            )
        name = self.options.from_
        return Pending(changed=(name,), unsure=True) if name in cursor else Pending(new=(name,))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Run the resource and yield one batch of its items, if there are any that are new.

        Raises:
            SourceError: the resource fails; nothing of what it yielded is loaded.
        """
        from metalayer.sources.files import FileSource  # noqa: PLC0415 - for loads only
        from metalayer.sources.formats import Format, JsonOptions  # noqa: PLC0415 - as above
        from metalayer.sources.listing import content  # noqa: PLC0415 - as above

        name = self.options.from_
        before = cursor.get(name)
        directory = Path(engine.spool())
        said = self._run(directory, None if before is None else before.get("state"))
        items = directory / "items.jsonl"
        size = items.stat().st_size
        replaces = said["disposition"] == "replace"
        if not size and not (replaces and before is not None):
            return
        hash_ = content(str(items)).hash if replaces else None
        if replaces and before is not None and before.get("hash") == hash_:
            return
        options = JsonOptions((), self.options.dialect)
        reader = FileSource(Format.JSONL, options, self.columns or _columns(said["columns"]), self.root, self.drift)
        passed = int(str((before or {}).get("records", 0))) if not replaces else 0
        position = {"state": said["state"], "hash": hash_, "records": passed + said["items"]}
        reason = "new" if before is None else "changed" if replaces else "grown"
        with reader.fetched(name, str(items), engine, anything=True) as batch:
            yield placed(batch, position, passed=passed, supersedes=replaces and before is not None, reason=reason)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: it lies on our own disk."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch in a more careful reading, where there is one."""
        yield from batch.alternatives

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: the resource's state is in the cursor."""

    def _run(self, directory: Path, state: object) -> dict[str, Any]:
        asked = {
            "root": self.root,
            "source": self.options.source,
            "arguments": dict(self.options.arguments),
            "resource": self.options.from_,
            "state": state,
            "directory": str(directory),
        }
        done = subprocess.run(
            [sys.executable, "-m", "metalayer.sources.dlt_worker"],
            input=json.dumps(asked).encode(),
            capture_output=True,
            check=False,
        )
        answer = directory / "said.json"
        if not answer.is_file():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            last = lines[-1:] or [f"it ended with {done.returncode}"]
            raise SourceError(
                f"The process of the resource {self.options.from_} ended without a word: {last[0]}",
                hint="Run the resource with dlt alone, and look what it says.",
            )
        said: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        if "error" in said:
            raise SourceError(
                f"The resource {self.options.from_} of {self.options.source} failed: {self._clean(said['error'])}",
                hint="Nothing of it was loaded. Mend what it says; the next run begins where the last load ended.",
            )
        return said

    def _clean(self, text: str) -> str:
        """Return a message without the arguments' texts: secrets are among them."""
        for value in self.options.arguments.values():
            if isinstance(value, str) and len(value) >= 6:
                text = text.replace(value, "…")
        return text


def _columns(found: Mapping[str, str | None]) -> tuple[Column, ...]:
    """Return the columns that dlt knows the types of; the engine finds those of the others."""
    return tuple(Column(name, _TYPES[type_]) for name, type_ in found.items() if type_ in _TYPES)


def _open(options: DltOptions, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy) -> DltSource:
    return DltSource(options, columns, around.root, drift)


DLT = SourceType("dlt", DltOptions, _open, file=True, tables=True)
