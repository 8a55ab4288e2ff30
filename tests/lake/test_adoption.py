"""Why Parquet is not adopted in place (docs/decisions/0022): what the official extension makes of such files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from metalayer.lake import LakeSettings, engine

META = "__ducklake_metadata_l"


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = engine.start(LakeSettings(data=str(tmp_path / "engine"), threads=1))
    engine.load(connection, "ducklake")
    attach(connection, tmp_path)
    connection.execute("CREATE TABLE l.t (id BIGINT, _source VARCHAR, _position BIGINT)")
    yield connection
    connection.close()


def attach(connection: duckdb.DuckDBPyConnection, place: Path) -> None:
    connection.execute(f"ATTACH 'ducklake:{place / 'catalog'}' AS l (DATA_PATH '{place / 'data'}')")


def adopt(connection: duckdb.DuckDBPyConnection, path: Path, options: str) -> None:
    path.parent.mkdir(parents=True)
    connection.execute(f"COPY (SELECT range AS id FROM range(2)) TO '{path}' (FORMAT parquet)")
    connection.execute(f"CALL ducklake_add_data_files('l', 't', '{path}', allow_missing => true, {options})")


def test_a_column_that_a_file_lacks_is_null(judge: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    adopt(judge, tmp_path / "in" / "a.parquet", "hive_partitioning => false")
    assert judge.execute("FROM l.t ORDER BY 1").fetchall() == [(0, None, None), (1, None, None)]


def test_values_by_file_are_taken_from_the_path_and_not_from_the_catalog(
    judge: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = tmp_path / "_source=s1" / "a.parquet"
    adopt(judge, path, "hive_partitioning => true")
    judge.execute("ALTER TABLE l.t SET PARTITIONED BY (_source)")
    newest = f"SELECT max(partition_id) FROM {META}.ducklake_partition_info"
    judge.execute(f"UPDATE {META}.ducklake_data_file SET partition_id = ({newest})")
    judge.execute(
        f"INSERT INTO {META}.ducklake_file_partition_value "
        f"SELECT data_file_id, table_id, 0, 'other' FROM {META}.ducklake_data_file"
    )
    judge.execute("DETACH l")
    attach(judge, tmp_path)
    assert judge.execute("FROM l.t ORDER BY 1").fetchall() == [(0, "s1", None), (1, "s1", None)]
    plain = tmp_path / "plain.parquet"
    path.rename(plain)
    judge.execute(f"UPDATE {META}.ducklake_data_file SET path = '{plain}'")
    judge.execute("DETACH l")
    attach(judge, tmp_path)
    with pytest.raises(duckdb.Error, match="should have been read from hive partitions"):
        judge.execute("FROM l.t").fetchall()
