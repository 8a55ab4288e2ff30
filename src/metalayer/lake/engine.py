"""The DuckDB engine: how it is started, which of its errors mean what, and its types as ours.

Extensions are loaded from the installed wheels by their path and never fetched; a started engine needs no home
directory and writes nothing outside what it is told.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb.sqltypes import DuckDBPyType

from metalayer.core.errors import LakeError, Location, ShortageError, SourceUnavailableError
from metalayer.core.names import literal, quote
from metalayer.core.schema import Column, DataType, ListOf, MapOf, Scalar, Schema, Struct, parse_type
from metalayer.core.source import ArrowStream, Attachment
from metalayer.lake.catalog import SCHEMA, data_path
from metalayer.lake.values import LakeSettings

_EXTENSION_VERSION = f"v{duckdb.__version__}"

_MESSAGES: Mapping[type[duckdb.Error], tuple[str, str]] = {
    duckdb.OutOfMemoryException: (
        "The engine ran out of memory.",
        "Raise `memory` of the environment, lower `threads`, or let the query touch fewer rows at once.",
    ),
    duckdb.HTTPException: ("A file could not be fetched.", "Check the address and the network, then try again."),
    duckdb.IOException: (
        "A file could not be read or written.",
        "Check that the disk has room and that the file exists and may be read.",
    ),
    duckdb.ConversionException: (
        "A value does not fit its type.",
        "Use try_cast where a value may not fit, or widen the column's type.",
    ),
    duckdb.OutOfRangeException: (
        "A value is out of the range of its type.",
        "Widen the type in the query, for example with a cast to bigint, decimal or double.",
    ),
    duckdb.ParserException: ("The SQL does not parse.", "Correct the query."),
    duckdb.SyntaxException: ("The SQL is not valid.", "Correct the query."),
    duckdb.BinderException: (
        "The SQL does not fit the tables it reads.",
        "Correct the names and types in the query.",
    ),
    duckdb.CatalogException: (
        "The SQL names something that does not exist.",
        "Correct the name of the table, function or type in the query.",
    ),
    duckdb.TypeMismatchException: ("Two types do not go together.", "Cast one of the values in the query."),
    duckdb.InvalidTypeException: ("A type cannot be used here.", "Cast the value to another type in the query."),
    duckdb.InvalidInputException: ("The query cannot work on its input.", "Correct the query or the values it reads."),
    duckdb.NotImplementedException: ("The engine cannot do this.", "Write the query in another way."),
    duckdb.ConstraintException: ("A constraint does not hold.", "Correct the values the query yields."),
    duckdb.PermissionException: ("The engine may not do this.", "Leave the statement out of the query."),
    duckdb.SequenceException: ("A sequence has no further value.", "Number the rows with row_number() instead."),
    duckdb.SerializationException: ("A value could not be stored.", "Cast the value to another type in the query."),
    duckdb.DependencyException: ("Something else depends on it.", "Remove what depends on it first."),
    duckdb.TransactionException: ("The engine's transaction failed.", "Run the same again."),
    duckdb.ConnectionException: ("The engine is closed.", "Open a new session."),
    duckdb.InterruptException: ("The query was interrupted.", "Run the same again."),
    duckdb.InternalException: ("The engine failed inside.", "Report the query that caused it; other queries go on."),
    duckdb.FatalException: ("The engine failed and stopped.", "Run the same again in a new process."),
    duckdb.DataError: ("The values cannot be worked on.", "Correct the values or the query."),
    duckdb.IntegrityError: ("A constraint does not hold.", "Correct the values the query yields."),
    duckdb.InternalError: ("The engine failed inside.", "Report the query that caused it; other queries go on."),
    duckdb.NotSupportedError: ("The engine cannot do this.", "Write the query in another way."),
    duckdb.OperationalError: ("The engine could not do its work.", "Check memory and disk, then run the same again."),
    duckdb.ProgrammingError: ("The query is wrong.", "Correct the query."),
    duckdb.DatabaseError: ("The engine refused.", "Correct the query."),
    duckdb.Error: ("The engine refused.", "Correct the query."),
}
"""What each class of the engine's errors means and how it is mended. An error counts as its nearest class here."""

_MENDS: Mapping[str, tuple[str, str]] = {
    "More than one row returned by a subquery": (
        "A subquery that stands for one value yields several rows.",
        "Let it yield one, with max(…) or with ORDER BY … LIMIT 1, or join its table instead.",
    ),
    "No function matches the given name and argument types": (
        "A function or sign is given values of types that it does not take.",
        "Cast the value to a type that the function takes, or use another function.",
    ),
    "No files found that match the pattern": (
        "A file that has to be read is not there.",
        "Put it back from a backup; where the lake was moved, move it back or set `lake: {data: …}`.",
    ),
    "must appear in the GROUP BY clause": (
        "A column is neither grouped by nor aggregated.",
        "Add it to GROUP BY (GROUP BY ALL does), or put it into max(…), min(…), any_value(…).",
    ),
}
"""What some of the engine's words mean: instead of what is said of their class."""

_NO_FILES = ("Too many open files", "Cannot allocate memory")
_DISK_FULL = ("No space left on device", "max_temp_directory_size", "Disk quota exceeded")
_LONGEST = 400


def translate(error: duckdb.Error) -> LakeError:
    """Return an engine's error as ours: what happened, the engine's own first words, and the mend."""
    text, kind = str(error), LakeError
    said, hint = next(_MESSAGES[cls] for cls in type(error).__mro__ if cls in _MESSAGES)
    if any(words in text for words in _DISK_FULL):
        kind = ShortageError
        said, hint = "The disk is full.", "Free some space where the lake and its temporary directory lie."
    elif any(words in text for words in _NO_FILES):
        kind = ShortageError
        said, hint = "The system gives this process no more.", "Raise its limits (`ulimit -a` shows them)."
    elif isinstance(error, duckdb.OutOfMemoryException):
        kind = ShortageError
    else:
        said, hint = next((_MENDS[words] for words in _MENDS if words in text), (said, hint))
    detail = _shortened(text)
    return kind(f"{said} {detail}" if detail else said, hint=hint, detail=detail)


def _shortened(text: str) -> str:
    """Return the engine's words on one line: without their class, the echo of a query, and advice for its own shell."""
    first = re.split(r"\n\n?LINE |\n\n(?=Use \"SET )|\nPossible solutions:", text, maxsplit=1)[0].strip()
    _, colon, rest = first.partition(" Error: ")
    words = " ".join((rest if colon else first).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} …"


@contextmanager
def translated() -> Iterator[None]:
    """Let errors of the engine leave the block as ours."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error) from error
    except RuntimeError as error:
        # The engine's client stops a statement on Ctrl-C and then says so in this way.
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


def temporary_directory(settings: LakeSettings) -> str:
    """Return where an engine spills to."""
    return settings.temporary or str(Path(settings.root) / ".spill")


def start(settings: LakeSettings) -> duckdb.DuckDBPyConnection:
    """Start an engine with nothing in it: in memory, UTC, fetching no extension."""
    temporary = temporary_directory(settings)
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": temporary,
        # Where one side of a join has no more values than this, the other is only read where these can be: of the parts
        # of files that cannot hold one nothing is read. 900 keys at both ends of 10M rows: 0.02 CPU-s instead of 1.0.
        "dynamic_or_filter_threshold": 10_000,
        # Otherwise these lie in the home directory, which a service may not have.
        "secret_directory": str(Path(temporary) / "secrets"),
        "extension_directory": str(Path(temporary) / "extensions"),
    }
    if settings.threads is not None:
        config["threads"] = str(settings.threads)
    if settings.memory is not None:
        config["memory_limit"] = settings.memory
    with translated():
        connection = duckdb.connect(":memory:", config=config)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def require_encryption(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the engine write encrypted files: what it carries itself can only read them securely.

    Raises:
        LakeError: the extension that can is not installed.
    """
    asked = (
        "SELECT current_setting('force_mbedtls_unsafe') OR coalesce(bool_or(loaded), false) "
        "FROM duckdb_extensions() WHERE extension_name = 'httpfs'"
    )
    with translated():
        found = connection.execute(asked).fetchone()
    if found is None or not found[0]:
        try:
            load(connection, "httpfs")
        except LakeError as error:
            raise LakeError(
                f"The lake is to be encrypted, and what encrypts is not installed. {error.message}",
                hint=f"{error.hint} (or pip install 'metalayer[encryption]'); or leave `encrypted` out where the lake "
                "is still empty.",
                location=Location("metalayer.yml"),
            ) from error


def load(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Load an extension from its installed wheel.

    Raises:
        LakeError: the wheel is not installed, or not for this engine.
    """
    package = f"duckdb_extension_{extension}"
    found = importlib.util.find_spec(package)
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        path = Path(place) / "extensions" / _EXTENSION_VERSION / f"{extension}.duckdb_extension"
        if path.is_file():
            with translated():
                connection.execute(f"LOAD {literal(str(path))}")
            return
    name = package.replace("_", "-")
    raise LakeError(
        f"The engine's extension '{extension}' is not installed for DuckDB {duckdb.__version__}.",
        hint=f"Install it: pip install {name}=={duckdb.__version__}",
    )


def attach(connection: duckdb.DuckDBPyConnection, name: str, settings: LakeSettings, conninfo: str, at: int) -> None:
    """Attach the lake as DuckLake's extension reads it: at a snapshot, and never to write.

    Raises:
        LakeError: the extension is not installed, or PostgreSQL does not let it in.
    """
    load(connection, "ducklake")
    load(connection, "postgres_scanner")
    options = (
        f"READ_ONLY, SNAPSHOT_VERSION {int(at)}, METADATA_SCHEMA {literal(SCHEMA)}, DATA_INLINING_ROW_LIMIT 0, "
        f"OVERRIDE_DATA_PATH, DATA_PATH {literal(data_path(settings))}"
    )
    try:
        connection.execute(f"ATTACH {literal(f'ducklake:postgres:{conninfo}')} AS {quote(name)} ({options})")
    except duckdb.Error as error:
        # The engine repeats the address, password included: neither its words nor its traceback may go on.
        said = str(error).rpartition(conninfo)[2].strip('" \n') or type(error).__name__
        raise LakeError(
            f"The engine cannot attach the catalog of the lake: {said}",
            hint="See that PostgreSQL can still be reached and takes one more connection, then try again.",
        ) from None


_READERS = {"postgres": "postgres_scanner", "mysql": "mysql_scanner", "sqlite": "sqlite_scanner", "duckdb": ""}


def attach_source(connection: duckdb.DuckDBPyConnection, other: Attachment) -> None:
    """Attach another database to be read, never written.

    Raises:
        SourceUnavailableError: it cannot be reached.
        LakeError: the engine's reader for it is not installed.
    """
    if _READERS[other.kind]:
        load(connection, _READERS[other.kind])
    kind = "" if other.kind == "duckdb" else f"TYPE {other.kind}, "
    try:
        connection.execute(f"ATTACH IF NOT EXISTS {literal(other.address)} AS {quote(other.name)} ({kind}READ_ONLY)")
    except duckdb.Error as error:
        # The engine repeats the address, password included: neither its words nor its traceback may go on.
        said = _without_address(str(error), other.address)
        raise SourceUnavailableError(
            f"{other.shown} cannot be reached: {said}",
            hint="See that the server runs, that the address and the password are right, and that it lets you in.",
        ) from None


def _without_address(said: str, address: str) -> str:
    """Return the last words of an error that repeats an address, without any part of it that could be a secret."""
    rest = said.rpartition(address)[2] if address in said else said.rpartition("): ")[2]
    words = " ".join(rest.strip('" :\n').split())
    return "the engine was refused" if not words or address in words else words[:300]


def write_arrow(connection: duckdb.DuckDBPyConnection, rows: ArrowStream, directory: str) -> str:
    """Write an Arrow stream into a directory as a Parquet file, in its order; return the FROM item that reads it.

    What is written is read soon and once or twice: it is hardly compressed.

    Raises:
        LakeError: the engine cannot read the stream, or cannot write what it holds.
    """
    name, path = "metalayer_arrow", str(Path(directory) / "rows.parquet")
    with translated():
        # The capsule is taken here: the engine asks an object that can give one for it several times.
        connection.register(name, rows.__arrow_c_stream__())
        try:
            connection.execute(f"COPY (FROM {name}) TO {literal(path)} (FORMAT parquet, COMPRESSION lz4_raw)")
        finally:
            connection.unregister(name)
    return f"read_parquet({literal(path)}, hive_partitioning = false)"


def column_schema(names: list[str], types: list[DuckDBPyType]) -> Schema:
    """Return the columns of a result as ours.

    Raises:
        LakeError: a column has a type that the lake cannot hold.
    """
    return tuple(Column(name, _data_type(name, type_)) for name, type_ in zip(names, types, strict=True))


def _data_type(column: str, type_: DuckDBPyType) -> DataType:
    match type_.id:
        case "struct":
            return Struct(tuple((name, _data_type(column, part)) for name, part in _children(type_)))
        case "list" | "array":
            return ListOf(_data_type(column, _children(type_)[0][1]))
        case "map":
            key, value = _children(type_)
            return MapOf(_data_type(column, key[1]), _data_type(column, value[1]))
        case "enum" | "bit":
            return Scalar("varchar")
        case "union" | "bignum" | "variant" | "geometry":
            raise LakeError(
                f"Column {quote(column)} has the type {type_}, which the lake cannot hold.",
                hint="Cast it in the query, for example to varchar, json, double or a struct.",
            )
        case _:
            return parse_type("timestamptz" if str(type_) == "TIMESTAMP WITH TIME ZONE" else str(type_))


def _children(type_: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    return [(name, part) for name, part in type_.children if isinstance(part, DuckDBPyType)]
