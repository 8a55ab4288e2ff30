"""Objects and files of the web as sources: all that is asked of every source, and what only they meet."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.names import TableName
from metalayer.core.objects import StoreAccess
from metalayer.core.schema import schema
from metalayer.core.source import Engine, Source, SourceType, Surroundings
from metalayer.objects import Store, buckets
from metalayer.sources import files, registered
from metalayer.sources.conformance import CHECKS, TROUBLES, LockedOut, Probe, TroubledProbe
from metalayer.sources.drafting import draft_source
from metalayer.sources.formats import ExcelOptions, JsonOptions, ParquetOptions, TextOptions
from metalayer.sources.remote import _pattern
from sources.loading import DuckEngine, Loaded, load
from sources.test_conformance import FileProbe
from stores import S3, SECRET, Web, put, s3_server, web_server

COLUMNS = schema(id="bigint", note="varchar")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@dataclass
class ObjectProbe(FileProbe):
    """The files of a file probe, as objects of a bucket or of a web server."""

    s3: S3 | None = None
    web: Web | None = None
    silence: str = ""
    name: str = field(default_factory=lambda: f"b{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = self.s3.bucket(self.name) if self.s3 is not None else None
        for path in self.root.iterdir():
            self.upload(path)

    def upload(self, path: Path) -> None:
        if self.store is not None:
            put(self.store, f"in/{path.name}", path.read_bytes(), self.root.parent)
        else:
            assert self.web is not None
            self.web.files[f"/{path.name}"] = path.read_bytes()

    def open(self) -> Source:
        paths: tuple[str, ...] = (f"s3://{self.name}/in/*",)
        access = StoreAccess()
        if self.s3 is not None:
            access = self.s3.access
        else:
            assert self.web is not None
            paths = tuple(f"{self.web.address}{path}" for path in self.web.files)
        options = {"parquet": ParquetOptions, "excel": ExcelOptions, "jsonl": JsonOptions, "csv": TextOptions}
        around = Surroundings(str(self.root), objects=access)
        return self.type.open(options[self.type.name](paths), COLUMNS, around, "evolve")

    def change(self) -> str | None:
        name = super().change()
        self.upload(self.root / str(name))
        if self.s3 is not None:
            return f"s3://{self.name}/in/{name}"
        assert self.web is not None
        return f"{self.web.address}/{name}"

    def drift(self) -> bool:
        path = self.root / f"drifted.{self.suffix}"
        path.write_text("id,note,more\nnine,x,y\n")
        self.upload(path)
        return True

    def locked_out(self) -> LockedOut:
        assert self.web is not None
        self.web.password = "another"
        access = StoreAccess(key="me", secret=SECRET, region="us-east-1", endpoint=self.web.address)
        path, named = (
            (f"{self.web.address}/0.csv", self.web.address) if self.s3 is None else (f"s3://{self.name}/in/", self.name)
        )
        return LockedOut(self.elsewhere(path, access), SECRET, named)

    def silent(self) -> Source:
        path = f"{self.silence}/a.csv" if self.s3 is None else f"s3://{self.name}/in/"
        return self.elsewhere(path, StoreAccess("me", SECRET, region="us-east-1", endpoint=self.silence))

    def elsewhere(self, path: str, access: StoreAccess) -> Source:
        around = Surroundings(str(self.root), objects=access)
        return self.type.open(TextOptions((path,)), COLUMNS, around, "evolve")


@pytest.fixture
def silence() -> Iterator[str]:
    """The address of one who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["a bucket", "the web"])
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda check: check.__name__)
def test_objects_in_trouble(
    trouble: Callable[[TroubledProbe, Engine], None],
    kind: str,
    tmp_path: Path,
    engine: DuckEngine,
    s3: S3,
    web: Web,
    silence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "_RETRIES", 0)
    monkeypatch.setattr(buckets, "_CLIENT", {"connect_timeout": "1 seconds", "timeout": "1 seconds"})
    monkeypatch.setattr("metalayer.objects.web._TRIES", 1)
    monkeypatch.setattr("metalayer.objects.web._TIMEOUT", 0.5)
    directory = tmp_path / "project"
    directory.mkdir()
    probe = ObjectProbe(
        registered()["csv"], directory, engine, s3=s3 if kind == "a bucket" else None, web=web, silence=silence
    )
    trouble(probe, engine)


@pytest.fixture(params=["csv", "parquet", "csv on the web"])
def probe(request: pytest.FixtureRequest, tmp_path: Path, engine: DuckEngine, s3: S3, web: Web) -> Probe:
    kind: SourceType = registered()[request.param.split()[0]]
    directory = tmp_path / "project"
    directory.mkdir()
    request.getfixturevalue("monkeypatch").setattr(files, "BATCH_FILES", 2)
    elsewhere = web if "web" in request.param else None
    return ObjectProbe(kind, directory, engine, s3=None if elsewhere is not None else s3, web=elsewhere)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_objects_conform(check: Callable[[Probe, Engine], None], probe: Probe, engine: DuckEngine) -> None:
    check(probe, engine)


@dataclass
class Shelf:
    """A bucket, and a source of its CSV files."""

    name: str
    store: Store
    access: StoreAccess
    root: Path
    engine: DuckEngine
    cursor: dict[str, object] = field(default_factory=dict)

    def put(self, key: str, text: str) -> None:
        put(self.store, key, text.encode(), self.root)

    def source(self, *patterns: str, access: StoreAccess | None = None) -> Source:
        paths = tuple(f"s3://{self.name}/{pattern}" for pattern in patterns)
        options = TextOptions(paths, credentials=access or self.access)
        return files.CSV.open(options, COLUMNS, Surroundings(str(self.root)), "evolve")

    def load(self, *patterns: str) -> Loaded:
        loaded = load(self.source(*patterns), self.engine, self.cursor)  # type: ignore[arg-type]
        self.cursor = loaded.cursor  # type: ignore[assignment]
        assert loaded.balances
        return loaded


@pytest.fixture
def shelf(s3: S3, tmp_path: Path, engine: DuckEngine) -> Shelf:
    name = f"b{uuid.uuid4().hex}"
    return Shelf(name, s3.bucket(name), s3.access, tmp_path, engine)


def test_rows_tell_their_object(shelf: Shelf) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\ny,z\n")
    loaded = shelf.load("in/*.csv")
    assert [(row["_source"], row["_position"], row["id"]) for row in loaded.rows] == [
        (f"s3://{shelf.name}/in/a.csv", 2, 1),
        (f"s3://{shelf.name}/in/a.csv", 3, None),
    ]
    assert loaded.rescued() == [None, {"id": "y"}]
    assert list(Path(shelf.engine.directory).rglob("*.csv")) == []


def test_the_same_content_is_loaded_once_whatever_its_name(shelf: Shelf) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\n")
    shelf.load("in/")
    shelf.put("in/b.csv", "id,note\n1,x\n")
    again = shelf.load("in/")
    assert (again.rows, again.already) == (
        [],
        {f"s3://{shelf.name}/in/b.csv": f"its content was loaded as s3://{shelf.name}/in/a.csv"},
    )


def test_an_object_written_again_is_known_by_its_etag(shelf: Shelf) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\n")
    shelf.load("in/")
    shelf.put("in/a.csv", "id,note\n1,x\n")  # the time is another, the content is not
    assert shelf.source("in/").check(shelf.cursor).is_empty  # type: ignore[arg-type]
    shelf.put("in/a.csv", "id,note\n2,y\n")
    assert shelf.source("in/").check(shelf.cursor).changed == (f"s3://{shelf.name}/in/a.csv",)  # type: ignore[arg-type]
    assert shelf.load("in/").superseded == [f"s3://{shelf.name}/in/a.csv"]


def test_gzip_and_other_encodings(shelf: Shelf) -> None:
    import gzip

    put(shelf.store, "in/a.csv.gz", gzip.compress(b"id,note\n1,x\n"), shelf.root)
    put(shelf.store, "in/b.csv", "id,note\n2,käse\n".encode("cp1252"), shelf.root)
    assert shelf.load("in/*.gz").column("id") == [1]
    source = shelf.source("in/b.csv")
    assert isinstance(source, files.FileSource)
    assert isinstance(source.options, TextOptions)
    dialect = replace(source.options.dialect, encoding="cp1252")
    loaded = load(replace(source, options=replace(source.options, dialect=dialect)), shelf.engine)
    assert loaded.column("note") == ["käse"]


def test_an_object_that_goes_away_after_it_was_listed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\n")
    shelf.put("in/b.csv", "id,note\n2,x\n")
    fetch = buckets.Bucket.fetch

    def late(bucket: buckets.Bucket, key: str, target: Path) -> object:
        if key.endswith("a.csv"):
            shelf.store.delete(key)
        return fetch(bucket, key, target)

    monkeypatch.setattr(buckets.Bucket, "fetch", late)
    loaded = shelf.load("in/")
    assert (loaded.column("id"), loaded.aside) == ([2], {})


def test_an_object_that_changes_while_it_is_listed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\n")
    fetch = buckets.Bucket.fetch

    def late(bucket: buckets.Bucket, key: str, target: Path) -> object:
        shelf.put("in/a.csv", "id,note\n1,x\n2,y\n")
        return fetch(bucket, key, target)

    with monkeypatch.context() as context:
        context.setattr(buckets.Bucket, "fetch", late)
        assert shelf.load("in/").column("id") == [1, 2]
    assert shelf.source("in/").check(shelf.cursor).is_empty  # type: ignore[arg-type]


def test_what_is_not_there(shelf: Shelf) -> None:
    with pytest.raises(SourceError, match="neither such an object"):
        shelf.source("nothing").check({})
    assert shelf.source("nothing/*.csv").check({}).is_empty
    elsewhere = replace(shelf, name="no-such-bucket")
    with pytest.raises(SourceError, match="NoSuchBucket"):
        elsewhere.source("in/").check({})


def test_a_store_that_is_away(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_RETRIES", 0)
    away = shelf.source("in/*", access=StoreAccess("k", SECRET, region="x", endpoint="http://127.0.0.1:9"))
    with pytest.raises(SourceUnavailableError) as caught:
        away.check({})
    assert shelf.name in caught.value.message
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(away)


def test_objects_and_files_together(shelf: Shelf) -> None:
    shelf.put("in/a.csv", "id,note\n1,x\n")
    (shelf.root / "b.csv").write_text("id,note\n2,y\n")
    options = TextOptions((f"s3://{shelf.name}/in/", "b.csv"), credentials=shelf.access)
    source = files.CSV.open(options, COLUMNS, Surroundings(str(shelf.root)), "evolve")
    assert sorted(str(row["id"]) for row in load(source, shelf.engine).rows) == ["1", "2"]


def test_a_server_that_tells_nothing_is_asked_each_time(web: Web, engine: DuckEngine, tmp_path: Path) -> None:
    web.files["/a.csv"], web.bare = b"id,note\n1,x\n", True
    options = TextOptions((f"{web.address}/a.csv?year=2026&token=hidden",))
    source = files.CSV.open(options, COLUMNS, Surroundings(str(tmp_path)), "evolve")
    first = load(source, engine)
    assert list(first.cursor) == [f"{web.address}/a.csv?year=2026&token=…"]
    assert source.check(first.cursor).unsure
    again = load(source, engine, first.cursor)
    assert (again.rows, again.touched) == ([], list(first.cursor))
    web.files["/a.csv"] = b"id,note\n2,x\n"
    assert load(source, engine, again.cursor).column("id") == [2]


def test_a_first_look_at_objects(shelf: Shelf) -> None:
    rows = "".join(f"{number};{number},5\n" for number in range(60))
    shelf.put("in/a.csv", f"Order ID;Amount\n{rows}")
    path = f"s3://{shelf.name}/in/*.csv"
    draft = draft_source(TableName.parse("bronze.x"), [path], str(shelf.root), shelf.engine, access=shelf.access)
    assert {column.name: str(column.type) for column in draft.model.columns} == {
        "order_id": "bigint",
        "amount": "decimal(18,2)",
    }
    assert draft.model.key == ("order_id",)


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("in/*.csv", "in/a.csv", True),
        ("in/*.csv", "in/b/a.csv", False),
        ("in/*.csv", "in/.a.csv", False),
        ("in/.*.csv", "in/.a.csv", True),
        ("in/**", "in/b/c/a.csv", True),
        ("in/**/a.csv", "in/a.csv", True),
        ("in/day=[0-9]/?.csv", "in/day=1/a.csv", True),
        ("in/[!a]*.csv", "in/a.csv", False),
        ("in/a+b.csv", "in/aab.csv", False),
    ],
)
def test_patterns_are_those_of_files(pattern: str, key: str, *, fits: bool) -> None:
    assert _pattern(pattern)(key) is fits
