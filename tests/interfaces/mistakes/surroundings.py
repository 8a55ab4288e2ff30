"""Mistakes in what is around the program: variables, secrets, directories, what is installed, what a machine has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg

from interfaces.mistakes.mistake import Mistake, Place

PROJECT = "name: small\nversion: 1\nenvironments: {dev: {}, prod: {}}\n"


def _with(dev: str) -> dict[str, str | bytes | None]:
    return {"metalayer.yml": f"name: small\nversion: 1\nenvironments:\n  dev: {{{dev}}}\n  prod: {{}}\n"}


def _in_database(*commands: str) -> Callable[[Place], None]:
    """Return what does SQL in the project's own database."""

    def act(place: Place) -> None:
        with psycopg.connect(place.database, autocommit=True) as connection:
            for command in commands:
                connection.execute(command)

    return act


def _files(place: Place) -> list[Path]:
    return sorted((place.root / ".metalayer" / "lake").rglob("*.parquet"))


def _lose_files(place: Place) -> None:
    (place.root / "kept").mkdir()
    for number, path in enumerate(_files(place)):
        path.rename(place.root / "kept" / str(number))
        (place.root / "kept" / f"{number}.was").write_text(str(path))


def _find_files(place: Place) -> None:
    for note in (place.root / "kept").glob("*.was"):
        note.with_suffix("").rename(note.read_text())


def _move_lake(place: Place) -> None:
    (place.root / ".metalayer" / "lake").rename(place.root / ".metalayer" / "old")


def _move_lake_back(place: Place) -> None:
    shutil.rmtree(place.root / ".metalayer" / "lake", ignore_errors=True)
    (place.root / ".metalayer" / "old").rename(place.root / ".metalayer" / "lake")


def _foreign_lake(place: Place) -> None:
    """Let DuckLake's extension make a lake of its own in the database's schema `lake`."""
    from metalayer.lake import LakeSettings, engine

    connection = engine.start(LakeSettings(str(place.root / "theirs")))
    for extension in ("ducklake", "postgres_scanner"):
        engine.load(connection, extension)
    with psycopg.connect(place.database, autocommit=True) as plain:
        plain.execute("CREATE SCHEMA lake")
        info = psycopg.conninfo.make_conninfo("", **psycopg.conninfo.conninfo_to_dict(place.database))
    target = f"ducklake:postgres:{info}"
    connection.execute(f"ATTACH '{target}' AS theirs (METADATA_SCHEMA 'lake', DATA_PATH '{place.root}/theirs')")
    connection.execute("CREATE TABLE theirs.main.t AS SELECT 1 AS n")
    connection.close()


def _in_the_way(place: Place) -> None:
    (place.root / ".metalayer").write_text("")


def _out_of_the_way(place: Place) -> None:
    (place.root / ".metalayer").unlink()


MISTAKES = (
    Mistake("a_directory_that_is_no_project", "-C data run", code=2, again="-C . run"),
    Mistake("a_directory_that_is_not_there", "-C shop run", code=2, again="run"),
    Mistake("a_command_that_is_not_there", "rum", code=2, again="run"),
    Mistake("an_option_that_is_not_there", "run --ful-refresh", code=2, again="run --full-refresh"),
    Mistake("a_table_that_is_not_there", "run -s silver.order", code=2, again="run -s +silver.orders"),
    Mistake("an_environment_that_is_not_there", "-e stagin run", code=2, again="run"),
    Mistake("nobody_to_ask", "-e prod run", code=2, again="-e prod run --yes"),
    Mistake(
        "a_variable_that_overrides_nothing",
        "run",
        environ={"METALAYER__LAKE__PATH": "elsewhere"},
        code=2,
        mended_environ={"METALAYER__LAKE__PATH": None, "METALAYER__LAKE__DATA": "elsewhere"},
    ),
    Mistake(
        "a_variable_that_is_no_number",
        "run",
        environ={"METALAYER__THREADS": "many"},
        code=2,
        mended_environ={"METALAYER__THREADS": "2"},
    ),
    Mistake(
        "a_variable_that_is_no_amount",
        "run",
        environ={"METALAYER__MEMORY": "half"},
        code=2,
        mended_environ={"METALAYER__MEMORY": "500MB"},
    ),
    Mistake(
        "a_secret_of_the_database_that_is_not_set",
        "run",
        _with("database: '${SHOP_DATABASE}'"),
        environ={"METALAYER__DATABASE": "${SHOP_DATABASE}"},
        code=2,
        mended_environ={"SHOP_DATABASE": "{DATABASE}"},
    ),
    Mistake(
        "a_secret_of_a_source_that_is_not_set",
        "run",
        {"bronze/visits.yml": "type: csv\npath: ${VISITS}/*.csv\ncolumns: {n: integer}\n", "seen/1.csv": "n\n1\n"},
        mended={".env": "VISITS=seen\n"},
    ),
    Mistake("a_line_of_env_that_is_no_setting", "run", {".env": "export SHOP\n"}, code=2, mended={".env": "SHOP=1\n"}),
    Mistake(
        "a_command_for_secrets_that_fails",
        "run",
        {"metalayer.yml": PROJECT + "secrets: {command: ['false']}\n"},
        environ={"METALAYER__DATABASE": "${SHOP_DATABASE}"},
        code=2,
        mended_environ={"SHOP_DATABASE": "{DATABASE}"},
    ),
    Mistake(
        "a_file_in_the_place_of_the_directory",
        "run",
        spoil=_in_the_way,
        mend=_out_of_the_way,
        embedded=True,
    ),
    Mistake(
        "a_lake_where_nothing_can_be_written",
        "run",
        {"full": "a file\n", **_with("lake: {data: full/lake}")},
        mended=_with("lake: {data: lake}"),
    ),
    Mistake(
        "an_extra_for_a_python_model_that_is_missing",
        "run",
        {
            "silver/n.py": "import no_such_package\nfrom metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    return silver__orders\n"
        },
        mended={
            "silver/n.py": "from metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    return silver__orders\n"
        },
    ),
    Mistake(
        "too_little_memory",
        "run",
        {
            "bronze/many.yml": "type: csv\npath: data/many/*.csv\ncolumns: {id: bigint, name: varchar}\n",
            "data/many/1.csv": "id,name\n" + "".join(f"{n},{n * 7919 % 100_003:0>40}\n" for n in range(200_000)),
            **_with('threads: 2, memory: "25MB"'),
        },
        mended=_with('threads: 2, memory: "400MB"'),
    ),
    Mistake("too_few_open_files", "run", open_files=7, again="run"),
    Mistake(
        "a_database_of_a_newer_version",
        "run",
        before=("run",),
        spoil=_in_database("INSERT INTO metalayer.schema_version VALUES (9999, 'later', 'x')"),
        mend=_in_database("DELETE FROM metalayer.schema_version WHERE version = 9999"),
    ),
    Mistake(
        "a_lake_of_another_program",
        "run",
        spoil=_foreign_lake,
        mend=_in_database("DROP SCHEMA lake, metalayer CASCADE"),
    ),
    Mistake(
        "a_table_of_the_database_that_was_dropped",
        "run",
        before=("run",),
        spoil=_in_database("ALTER TABLE metalayer.cursor RENAME TO cursor_before"),
        mend=_in_database("ALTER TABLE metalayer.cursor_before RENAME TO cursor"),
    ),
    Mistake(
        "files_of_the_lake_that_were_deleted",
        'query "SELECT * FROM gold.daily"',
        before=("run",),
        spoil=_lose_files,
        mend=_find_files,
    ),
    Mistake(
        "a_lake_that_was_moved",
        'query "SELECT * FROM gold.daily"',
        before=("run",),
        spoil=_move_lake,
        mend=_move_lake_back,
    ),
    Mistake(
        "a_lake_that_is_looked_for_elsewhere",
        "run",
        _with("lake: {data: elsewhere}"),
        before=("run",),
        mended=_with(""),
    ),
    Mistake(
        "a_failpoint_that_is_not_there",
        "run",
        environ={"METALAYER_FAILPOINT": "commit.afterlock=kill"},
        code=2,
        mended_environ={"METALAYER_FAILPOINT": None},
    ),
)
