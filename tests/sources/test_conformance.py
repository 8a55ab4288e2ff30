"""All that is asked of every source, asked of each type of file."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from metalayer.core.schema import schema
from metalayer.core.source import Batch, Cursor, Engine, Source, SourceType, Surroundings
from metalayer.sources import KNOWN, files, open_source, registered, source_type
from metalayer.sources.conformance import (
    CHECKS,
    NonconformingError,
    Probe,
    check_reads_nothing_twice,
    check_resumes_after_each_batch,
)
from metalayer.sources.formats import ExcelOptions, JsonOptions, ParquetOptions, TextOptions
from sources.loading import DuckEngine
from sources.test_workbooks import workbook

COLUMNS = schema(id="bigint", note="varchar")
CONTENT = {
    "csv": lambda number: f'id,note\n{number},"a\nb"\n{number}\nx,y\n'.encode(),
    "tsv": lambda number: f"id\tnote\tmore\n{number}\tx\t1\n".encode(),
    "json": lambda number: f'[{{"id": {number}, "note": "x"}}, {{"id": "y"}}, 5]'.encode(),
    "jsonl": lambda number: f'{{"id": {number}, "note": "x"}}\n{{broken\n{{"id": "y", "new": [1]}}\n'.encode(),
}
OPTIONS = {
    "csv": TextOptions,
    "tsv": TextOptions,
    "json": JsonOptions,
    "jsonl": JsonOptions,
    "parquet": ParquetOptions,
    "excel": ExcelOptions,
}
SUFFIX = {"excel": "xlsx"}


@dataclass
class FileProbe:
    """Some files of one type, a broken one and a copy among them."""

    type: SourceType
    root: Path
    engine: DuckEngine

    def __post_init__(self) -> None:
        for number in range(5):
            self.write(f"{number}.{self.suffix}", number)
        shutil.copyfile(self.root / f"3.{self.suffix}", self.root / f"copy.{self.suffix}")
        (self.root / f"broken.{self.suffix}").write_bytes(b"\xff\xfe\x00 no file of any type")

    @property
    def suffix(self) -> str:
        return SUFFIX.get(self.type.name, self.type.name)

    def write(self, name: str, number: int) -> None:
        path = self.root / name
        if self.type.name == "parquet":
            self.engine.query(f"COPY (SELECT {number} AS id, 'x' AS note) TO '{path}' (FORMAT parquet)")
        elif self.type.name == "excel":
            workbook(path, {"S": [["id", "note"], [number, "x"], [], ["y", 5]]})
        else:
            path.write_bytes(CONTENT[self.type.name](number))

    def open(self) -> Source:
        return self.type.open(OPTIONS[self.type.name]((".",)), COLUMNS, Surroundings(str(self.root)), "evolve")

    def change(self) -> str | None:
        name = f"1.{self.suffix}"
        self.write(name, 100)
        stat = (self.root / name).stat()
        os.utime(self.root / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
        return name


@pytest.fixture(params=sorted(OPTIONS))
def probe(request: pytest.FixtureRequest, tmp_path: Path, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setattr(files, "BATCH_FILES", 2)
    return FileProbe(registered()[request.param], tmp_path, engine)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_files_conform(check: Callable[[Probe, Engine], None], probe: Probe, engine: DuckEngine) -> None:
    check(probe, engine)


def test_a_source_that_forgets_its_cursor_does_not_conform(probe: Probe, engine: DuckEngine) -> None:
    class Amnesiac(files.FileSource):
        def __init__(self) -> None:
            opened = probe.open()
            assert isinstance(opened, files.FileSource)
            super().__init__(opened.format, opened.options, opened.columns, opened.root)

        def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
            return super().read({}, engine)

    class Forgetful:
        def open(self) -> Source:
            return Amnesiac()

        def change(self) -> str | None:
            return None

    faults = 0
    for check in (check_resumes_after_each_batch, check_reads_nothing_twice):
        try:
            check(Forgetful(), engine)
        except NonconformingError:
            faults += 1
    assert faults == 2


def test_entry_points_name_what_is_registered() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    points = {
        name: EntryPoint(name, place, "metalayer.sources").load()
        for name, place in declared["project"]["entry-points"]["metalayer.sources"].items()
    }
    assert points == dict(registered())
    assert KNOWN.keys() >= registered().keys()
    assert len(KNOWN) == len(list(KNOWN)) >= len(registered())


def test_a_package_that_cannot_be_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metalayer.core.errors import ProjectError, UsageError
    from metalayer.project import load

    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[metalayer.sources]\nbroken = not_there:X\nwrong = json:loads\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"broken", "wrong", "csv"} <= set(KNOWN)
    with pytest.raises(UsageError, match="'broken' cannot be imported: ModuleNotFoundError"):
        source_type("broken")
    with pytest.raises(UsageError, match="is no SourceType"):
        source_type("wrong")
    (tmp_path / "bronze").mkdir()
    (tmp_path / "metalayer.yml").write_text("name: x\nversion: 1\n")
    (tmp_path / "bronze" / "b.yml").write_text("type: broken\n")
    with pytest.raises(ProjectError, match="cannot be imported"):
        load(tmp_path, sources=KNOWN)


def test_open_source_needs_a_source() -> None:
    from metalayer.core.errors import Location, UsageError
    from metalayer.core.model import Ingest, Kind, Model, SqlQuery
    from metalayer.core.names import TableName

    def model(query: Ingest | SqlQuery) -> Model:
        return Model(TableName.parse("bronze.x"), Kind.APPEND, query, Location("bronze/x.yml"))

    with pytest.raises(UsageError, match="no source"):
        open_source(model(SqlQuery("SELECT 1")), Surroundings("/"))
    with pytest.raises(UsageError, match="no source of type 'csw'") as caught:
        open_source(model(Ingest("csw", TextOptions(("x",)))), Surroundings("/"))
    assert "Did you mean 'csv'?" in caught.value.hint
    known = schema(id="bigint", later="date", _position="bigint")
    opened = open_source(model(Ingest("csv", TextOptions(("x",)))), Surroundings("/"), known, verify=True)
    assert isinstance(opened, files.FileSource)
    assert [column.name for column in opened.columns] == ["id", "later"]
    assert opened.verify
