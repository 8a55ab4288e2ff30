"""What each tool does in each workload: `python sides.py TOOL WORKLOAD VERB DATA`, in the directory of its state.

The verbs: ``prepare`` makes what is there before the work, ``work`` is measured, ``checksum`` prints what came of it.
This file runs in the environment of each tool, so a tool's packages are imported where they are used; it imports
nothing of the other files here.
"""

# ruff: noqa: E501 - statements as they are sent

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = {
    "id": "bigint", "customer_id": "bigint", "status": "varchar", "amount": "decimal(12,2)", "email": "varchar",
    "ordered_on": "date", "updated_at": "timestamp",
}  # fmt: skip
NAMES = ", ".join(COLUMNS)
NEWEST = "SELECT {names} FROM {rows} QUALIFY row_number() OVER (PARTITION BY id ORDER BY updated_at DESC) = 1"
DAILY = "SELECT ordered_on, status, count(*) AS orders, sum(amount) AS revenue FROM {rows} GROUP BY ordered_on, status"
OF_ORDERS = (
    "SELECT count(*), sum(id), CAST(sum(amount * 100) AS BIGINT), sum(length(status) + length(email)) FROM {rows}"
)
OF_DAILY = "SELECT count(*), CAST(sum(orders) AS BIGINT), CAST(sum(revenue * 100) AS BIGINT) FROM {rows}"
ZSTD = "(FORMAT parquet, COMPRESSION zstd)"
LEVEL_OF_THE_LAKE = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
HERE = Path.cwd()


def told(row: Any) -> None:
    """Print a checksum."""
    print(json.dumps([int(value) for value in row]))


def duck(database: str = ":memory:") -> Any:
    import duckdb

    connection = duckdb.connect(database, config={"threads": 2, "memory_limit": "8GB"})
    connection.execute("SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    return connection


def generate(data: Path, rows: int) -> None:
    """Write the table, a change of 1% over all of it (9 of 10 rows known, two versions each), one of 1% in three days."""
    form = """
        SELECT k AS id, CAST(hash(k, 1) % {customers} AS BIGINT) AS customer_id,
               ['NEW', 'PAID', 'SHIPPED', 'DONE'][CAST((hash(k, 8) + {v}) % 4 + 1 AS INTEGER)] AS status,
               CAST((hash(k, 4, {v}) % 100000) / 100 AS DECIMAL(12, 2)) AS amount,
               'user' || (hash(k, 10) % 500000) || '@example.com' AS email,
               DATE '2025-01-01' + CAST(k % 300 AS INTEGER) AS ordered_on,
               TIMESTAMP '2026-01-01' + to_days({v}) + to_seconds(CAST(hash(k, 5, {v}) % 86000 AS BIGINT)) AS updated_at
        FROM ({keys})"""

    def select(version: int, keys: str) -> str:
        return form.format(v=version, customers=max(rows // 20, 1), keys=keys)

    connection, few = duck(), rows // 100
    base = select(0, f"SELECT range AS k FROM range({rows})")
    scattered = (
        f"SELECT CASE WHEN range % 10 > 0 THEN (range * 97) % {rows} ELSE {rows} + range END AS k FROM range({few})"
    )
    late = f"SELECT range AS k FROM range({rows}) WHERE range % 300 IN (100, 101, 102)"
    connection.execute(f"COPY ({base}) TO '{data}/base.csv' (HEADER)")
    connection.execute(f"COPY ({base}) TO '{data}/base.parquet' {ZSTD}")
    connection.execute(
        f"COPY ({select(1, scattered)} UNION ALL {select(2, scattered)}) TO '{data}/changes.parquet' {ZSTD}"
    )
    connection.execute(f"COPY ({select(3, late)}) TO '{data}/late.parquet' {ZSTD}")


# Bare DuckDB: the limits


def limit(workload: str, verb: str, data: Path) -> None:
    if verb == "checksum":
        rows = f"'{HERE}/out.parquet'"
        if workload == "upsert":  # it finds what would have to be written: that is all a limit has to do
            rows = f"(FROM '{data}/base.parquet' ANTI JOIN '{HERE}/out.parquet' USING (id) UNION ALL FROM {rows})"
        told(duck().execute((OF_DAILY if workload == "gold" else OF_ORDERS).format(rows=rows)).fetchone())
    elif verb == "work":
        connection = duck()
        if workload == "ingest":
            types = json.dumps(COLUMNS).replace('"', "'")
            scan = (
                f"read_csv('{data}/base.csv', header = true, auto_detect = false, filename = true, columns = {types})"
            )
            connection.execute(
                f"COPY (SELECT {NAMES}, 'b1' AS _batch_id, TIMESTAMPTZ '2026-01-01' AS _ingested_at, filename AS _source, "
                f"row_number() OVER () AS _position, NULL::json AS _rescued FROM {scan}) TO 'out.parquet' {LEVEL_OF_THE_LAKE}"
            )
        elif workload == "upsert":
            changes = NEWEST.format(names=NAMES, rows=f"'{data}/changes.parquet'")
            connection.execute(f"CREATE TEMP TABLE d AS {changes}")
            table = f"read_parquet('{data}/base.parquet', file_row_number = true)"
            connection.execute(
                f"COPY (SELECT file_row_number FROM {table} SEMI JOIN d USING (id)) TO 'gone.parquet' {ZSTD}"
            )
            connection.execute(f"COPY d TO 'out.parquet' {ZSTD}")
        elif workload == "gold":
            connection.execute(f"COPY ({DAILY.format(rows=_both(data))}) TO 'out.parquet' {ZSTD}")


def _both(data: Path) -> str:
    return (
        f"(FROM '{data}/base.parquet' ANTI JOIN '{data}/late.parquet' USING (id) UNION ALL FROM '{data}/late.parquet')"
    )


def rewrite(workload: str, verb: str, data: Path) -> None:
    """Write the whole table anew, with DuckDB."""
    if verb == "checksum":
        told(duck().execute(OF_ORDERS.format(rows=f"'{HERE}/out.parquet'")).fetchone())
    elif verb == "work" and workload == "upsert":
        connection = duck()
        changes = NEWEST.format(names=NAMES, rows=f"'{data}/changes.parquet'")
        connection.execute(f"CREATE TEMP TABLE d AS {changes}")
        select = f"FROM '{data}/base.parquet' ANTI JOIN d USING (id) UNION ALL FROM d"
        connection.execute(f"COPY ({select}) TO 'out.parquet' {ZSTD}")


# MetaLayer

ORDERS = """/*---
key: id
---*/
SELECT id, customer_id, status, amount, email, ordered_on, updated_at FROM bronze.orders__current
"""


def metalayer(workload: str, verb: str, data: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "metalayer.interfaces.cli", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    if verb == "prepare":
        _project(workload, data)
        if workload == "upsert":
            run("run")
            _arrives(data, "changes.parquet")
            run("run", "-s", "bronze.orders")
        elif workload == "gold":
            run("run")
            _arrives(data, "late.parquet")
            run("run", "-s", "bronze.orders silver.orders")
        elif workload.startswith("idle"):
            run("run")
            run("run")
    elif verb == "work":
        select = {"upsert": ("-s", "silver.orders"), "gold": ("-s", "gold.daily")}.get(workload, ())
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "metalayer.interfaces.cli", "run", *select])
    elif workload.startswith("idle"):
        told(json.loads(run("query", "SELECT count(*) AS n FROM gold.m1", "-o", "json"))[0].values())
    else:
        table = {"ingest": "bronze.orders", "upsert": "silver.orders", "gold": "gold.daily"}[workload]
        text = (OF_DAILY if workload == "gold" else OF_ORDERS).format(rows=table)
        told(json.loads(run("query", text, "-o", "json"))[0].values())


def _arrives(data: Path, name: str) -> None:
    os.link(data / name, HERE / "data" / name)


def _project(workload: str, data: Path) -> None:
    kind = "csv" if workload == "ingest" else "parquet"
    columns = "".join(f"  {name}: {type_}\n" for name, type_ in COLUMNS.items())
    source = f"type: {kind}\npath: data/*.{kind}\nkey: id\norder_by: updated_at\ncolumns:\n{columns}"
    files = {"metalayer.yml": "name: bench\nversion: 1\n"}
    if workload.startswith("idle"):
        (HERE / "data").mkdir()
        (HERE / "data/a.csv").write_text("a\n1\n", "utf-8")
        files["bronze/a.yml"] = "type: csv\npath: data/*.csv\ncolumns: {a: bigint}\n"
        for number in range(1, int(workload[4:])):
            files[f"gold/m{number}.sql"] = (
                f"/*---\nkind: full\n---*/\nSELECT a + {number} AS a FROM bronze.a__current\n"
            )
    else:
        files["bronze/orders.yml"] = source
        if workload != "ingest":
            files["silver/orders.sql"] = ORDERS
        if workload == "gold":
            query = DAILY.format(rows="silver.orders")
            files["gold/daily.sql"] = f"/*---\nkey: [ordered_on, status]\n---*/\n{query}\n"
        (HERE / "data").mkdir()
        _arrives(data, f"base.{kind}")
    for name, text in files.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


# Peers


def dbt(workload: str, verb: str, data: Path) -> None:
    program = Path(sys.executable).with_name("dbt")

    def run(**variables: str) -> None:
        select = {"upsert": ["orders"], "gold": ["daily"]}.get(workload, [])
        chosen = ["--select", *select] if select and variables.get("only") else []
        command = [program, "run", "--quiet", *chosen, "--vars", json.dumps(variables), "--profiles-dir", "."]
        subprocess.run(command, check=True)

    if verb == "prepare":
        profile = "bench: {target: d, outputs: {d: {type: duckdb, path: x.duckdb, threads: 2}}}\n"
        files = {"dbt_project.yml": "name: bench\nversion: '1.0'\nprofile: bench\n", "profiles.yml": profile}
        if workload.startswith("idle"):
            for number in range(1, int(workload[4:])):
                files[f"models/m{number}.sql"] = f"select {number} as a"
        else:
            newest = NEWEST.format(names=NAMES, rows="read_parquet('{{ var(\"input\") }}')")
            config = "{{ config(materialized='incremental', unique_key='id', incremental_strategy='delete+insert') }}\n"
            files["models/orders.sql"] = config + newest
            table = "{{ config(materialized='table') }}\n"
            files["models/daily.sql"] = table + DAILY.format(rows="{{ ref('orders') }}")
        for name, text in files.items():
            (HERE / name).parent.mkdir(exist_ok=True)
            (HERE / name).write_text(text, "utf-8")
        run(input=f"{data}/base.parquet")
        if workload == "gold":
            command = [program, "run", "--quiet", "--select", "orders", "--profiles-dir", "."]
            subprocess.run([*command, "--vars", json.dumps({"input": f"{data}/late.parquet"})], check=True)
    elif verb == "work":
        run(input=f"{data}/changes.parquet", only="yes")
    elif workload.startswith("idle"):
        told([1])
    else:
        table = "daily" if workload == "gold" else "orders"
        told(duck("x.duckdb").execute((OF_DAILY if workload == "gold" else OF_ORDERS).format(rows=table)).fetchone())


def sqlmesh(workload: str, verb: str, data: Path) -> None:
    program = Path(sys.executable).with_name("sqlmesh")
    plan = [program, "plan", "--auto-apply", "--no-prompts"]
    if verb == "prepare":
        connection = "{type: duckdb, database: x.duckdb, concurrent_tasks: 1}"
        (HERE / "config.yaml").write_text(
            f"gateways: {{d: {{connection: {connection}}}}}\ndefault_gateway: d\nmodel_defaults: {{dialect: duckdb}}\n",
            "utf-8",
        )
        (HERE / "models").mkdir()
        if workload.startswith("idle"):
            for number in range(1, int(workload[4:])):
                text = f"MODEL (name s.m{number}, kind FULL, cron '@yearly');\nSELECT {number} AS a"
                (HERE / f"models/m{number}.sql").write_text(text, "utf-8")
        else:
            base = duck("x.duckdb")
            base.execute(f"CREATE SCHEMA raw; CREATE TABLE raw.orders AS FROM '{data}/base.parquet'")
            base.close()
            text = f"MODEL (name s.daily, kind FULL);\n{DAILY.format(rows='raw.orders')}"
            (HERE / "models/daily.sql").write_text(text, "utf-8")
        subprocess.run(plan, check=True)
        if workload == "gold":
            after = duck("x.duckdb")
            after.execute(f"CREATE OR REPLACE TABLE raw.orders AS {_both(data)[1:-1]}")
            after.close()
    elif verb == "work":
        again = [*plan, "--restate-model", "s.daily"] if workload == "gold" else [program, "run"]
        os.execv(program, list(map(str, again)))
    elif workload == "gold":
        told(duck("x.duckdb").execute(OF_DAILY.format(rows="s.daily")).fetchone())
    else:
        told([1])


def dlt(workload: str, verb: str, data: Path) -> None:
    os.environ["DLT_DATA_DIR"] = str(HERE / "home")
    import dlt as library
    from dlt.sources.filesystem import filesystem, read_csv_duckdb, read_parquet

    place = library.destinations.duckdb(str(HERE / "x.duckdb"))
    pipeline = library.pipeline(
        "bench", destination=place, dataset_name="bronze", pipelines_dir=str(HERE / "pipelines")
    )

    def load(name: str, **how: Any) -> None:
        files = filesystem(bucket_url=f"file://{data}", file_glob=name)
        reader = read_csv_duckdb(use_pyarrow=True) if name.endswith(".csv") else read_parquet(use_pyarrow=True)
        pipeline.run((files | reader).with_name("orders"), loader_file_format="parquet", **how)

    if verb == "prepare":
        if workload == "upsert":
            load("base.parquet", write_disposition="merge", primary_key="id")
    elif verb == "work":
        if workload == "ingest":
            load("base.csv")
        else:
            load(
                "changes.parquet",
                write_disposition="merge",
                primary_key="id",
                columns={"updated_at": {"dedup_sort": "desc"}},
            )
    else:
        told(duck("x.duckdb").execute(OF_ORDERS.format(rows="bronze.orders")).fetchone())


def polars(workload: str, verb: str, data: Path) -> None:
    import polars as pl

    if verb == "work":
        base = pl.scan_parquet(data / "base.parquet")
        if workload == "ingest":
            types = {"amount": pl.Decimal(12, 2)}
            frame = pl.scan_csv(
                data / "base.csv", try_parse_dates=True, schema_overrides=types, include_file_paths="_source"
            )
            frame.with_columns(_batch_id=pl.lit("b1")).sink_parquet(
                "out.parquet", compression="zstd", maintain_order=False
            )
        elif workload == "upsert":
            new = pl.scan_parquet(data / "changes.parquet").sort("updated_at").unique("id", keep="last")
            whole = pl.concat([base.join(new, on="id", how="anti"), new])
            whole.sink_parquet("out.parquet", compression="zstd", maintain_order=False)
        else:
            late = pl.scan_parquet(data / "late.parquet")
            whole = pl.concat([base.join(late, on="id", how="anti"), late])
            made = whole.group_by("ordered_on", "status").agg(orders=pl.len(), revenue=pl.col("amount").sum())
            made.sink_parquet("out.parquet", compression="zstd")
    elif verb == "checksum":
        _checked_by_polars(pl.scan_parquet("out.parquet"), workload)


def _checked_by_polars(frame: Any, workload: str) -> None:
    import polars as pl

    cents = (pl.col("revenue" if workload == "gold" else "amount") * 100).cast(pl.Int64).sum()
    if workload == "gold":
        told(frame.select(pl.len().alias("n"), pl.col("orders").cast(pl.Int64).sum(), cents).collect().row(0))
    else:
        letters = (pl.col("status").str.len_chars() + pl.col("email").str.len_chars()).cast(pl.Int64).sum()
        told(frame.select(pl.len().alias("n"), pl.col("id").sum(), cents, letters).collect().row(0))


def delta(workload: str, verb: str, data: Path) -> None:
    import polars as pl
    from deltalake import DeltaTable

    if verb == "prepare" and workload == "upsert":
        pl.read_parquet(data / "base.parquet").write_delta("table")
    elif verb == "work":
        if workload == "ingest":
            pl.read_csv(
                data / "base.csv", try_parse_dates=True, schema_overrides={"amount": pl.Decimal(12, 2)}
            ).write_delta("table")
        else:
            new = (
                pl.scan_parquet(data / "changes.parquet")
                .sort("updated_at")
                .unique("id", keep="last")
                .collect()
                .to_arrow()
            )
            merge = DeltaTable("table").merge(new, "t.id = s.id", source_alias="s", target_alias="t")
            merge.when_matched_update_all().when_not_matched_insert_all().execute()
    elif verb == "checksum":
        _checked_by_polars(pl.scan_delta("table"), workload)


def postgresql(workload: str, verb: str, data: Path) -> None:
    """Plain PostgreSQL with its default settings, started and stopped by the work itself."""
    from metalayer.metastore.postgres import DatabaseSettings, Metastore

    types = {"varchar": "text", "decimal(12,2)": "numeric(12,2)"}
    columns = ", ".join(f"{name} {types.get(type_, type_)}" for name, type_ in COLUMNS.items())
    daily = f"DROP TABLE IF EXISTS daily; CREATE TABLE daily AS {DAILY.format(rows='orders')}"
    with Metastore.open(DatabaseSettings(None, str(HERE / ".metalayer"))) as server:
        connection = server.connection

        def copy(table: str, file: Path) -> None:
            if file.suffix == ".parquet":
                duck().execute(f"COPY (SELECT {NAMES} FROM '{file}') TO '{HERE}/copy.csv' (HEADER)")
                file = HERE / "copy.csv"
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as out,
                file.open("rb") as lines,
            ):
                while block := lines.read(1 << 20):
                    out.write(block)

        if verb == "prepare":
            connection.execute("SET search_path TO public")
            connection.execute(f"CREATE TABLE orders ({columns})")
            if workload != "ingest":
                copy("orders", data / "base.parquet")
                connection.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
                connection.execute(f"CREATE TABLE changes ({columns})")
                copy("changes", data / ("late.parquet" if workload == "gold" else "changes.parquet"))
                if workload == "gold":
                    connection.execute(_UPSERT)
                connection.execute("ANALYZE orders")
        elif verb == "work":
            connection.execute("SET search_path TO public")
            if workload == "ingest":
                copy("orders", data / "base.csv")
            else:
                connection.execute(_UPSERT if workload == "upsert" else daily)
        else:
            connection.execute("SET search_path TO public")
            text = (OF_DAILY if workload == "gold" else OF_ORDERS).format(
                rows="daily" if workload == "gold" else "orders"
            )
            told(connection.execute(text).fetchone())


_UPSERT = (
    f"INSERT INTO orders SELECT DISTINCT ON (id) {NAMES} FROM changes ORDER BY id, updated_at DESC ON CONFLICT (id) DO UPDATE "
    f"SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS if name != 'id')}"
)

SIDES: dict[str, Callable[[str, str, Path], None]] = {
    "limit": limit, "rewrite": rewrite, "metalayer": metalayer, "dbt": dbt, "sqlmesh": sqlmesh, "dlt": dlt,
    "polars": polars, "delta": delta, "postgresql": postgresql,
}  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "generate":
        generate(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        tool, workload_, verb_, data_ = sys.argv[1:]
        SIDES[tool](workload_, verb_, Path(data_))
        shutil.rmtree(HERE / "copy.csv", ignore_errors=True)
