"""Mistakes in data: files that are not what their declaration says, models that their rows do not fit."""

from __future__ import annotations

import gzip
import random

from interfaces.mistakes.mistake import Mistake, Place

ORDERS = "order_id;customer;amount;ordered_at\n"
SOUND = ORDERS + "9;eva;1,00;03.02.2026 08:00\n"
LONG = ",\n    ".join(
    f"CASE WHEN order_id = {n} THEN amount * {n} ELSE amount / {n + 1} END AS c{n}" for n in range(80)
)


def _loop(place: Place) -> None:
    (place.root / "data" / "orders" / "2.csv").symlink_to("2.csv")


def _unlooped(place: Place) -> None:
    (place.root / "data" / "orders" / "2.csv").unlink()


def _column(name: str, kind: str) -> str:
    return f"/*---\nkind: full\n---*/\nSELECT {kind} AS {name} FROM silver.orders\n"


def _source(kind: str, path: str) -> str:
    return f"type: {kind}\npath: {path}\n"


_NOISE = random.Random(1).randbytes(4096)
_ZIPPED = gzip.compress(SOUND.encode() + b"10;zoe;2,00;04.02.2026 08:00\n" * 200, mtime=0)

MISTAKES = (
    Mistake(
        "a_text_that_is_no_number",
        "run",
        {"silver/n.sql": _column("n", "CAST(customer AS INTEGER)")},
        mended={"silver/n.sql": _column("n", "TRY_CAST(customer AS INTEGER)")},
    ),
    Mistake(
        "a_long_query_with_a_value_that_does_not_fit",
        "run",
        {"silver/n.sql": f"SELECT\n    {LONG},\n    CAST(customer AS DATE) AS day\nFROM silver.orders\n"},
        mended={"silver/n.sql": f"SELECT\n    {LONG},\n    TRY_CAST(customer AS DATE) AS day\nFROM silver.orders\n"},
    ),
    Mistake(
        "a_number_out_of_range",
        "run",
        {"silver/n.sql": _column("n", "CAST(order_id AS TINYINT) * CAST(40 AS TINYINT)")},
        mended={"silver/n.sql": _column("n", "CAST(order_id AS BIGINT) * 40")},
    ),
    Mistake(
        "a_function_that_wants_another_type",
        "run",
        {"silver/n.sql": _column("n", "date_trunc('month', customer)")},
        mended={"silver/n.sql": _column("n", "date_trunc('month', ordered_at)")},
    ),
    Mistake(
        "a_function_that_does_not_exist",
        "run",
        {"silver/n.sql": _column("n", "uper(customer)")},
        mended={"silver/n.sql": _column("n", "upper(customer)")},
    ),
    Mistake(
        "a_subquery_with_several_rows",
        "run",
        {"silver/n.sql": _column("n", "(SELECT amount FROM bronze.orders)")},
        mended={"silver/n.sql": _column("n", "(SELECT max(amount) FROM bronze.orders)")},
    ),
    Mistake(
        "a_key_that_is_there_twice",
        "run",
        {
            "silver/orders.sql": "/*---\nkey: customer\n---*/\nSELECT customer, amount FROM bronze.orders__current "
            "WHERE customer IS NOT NULL\n",
            "gold/daily.sql": None,
            "data/orders/2.csv": ORDERS + "7;ana;1,00;05.02.2026 08:00\n",
        },
        mended={
            "silver/orders.sql": "/*---\nkey: customer\norder_by: ordered_at\n---*/\n"
            "SELECT customer, amount, ordered_at FROM bronze.orders__current WHERE customer IS NOT NULL\n",
        },
    ),
    Mistake(
        "a_key_that_is_null",
        "run",
        {
            "silver/orders.sql": "/*---\nkey: customer\n---*/\nSELECT customer, amount FROM bronze.orders__current\n",
            "gold/daily.sql": None,
        },
        mended={
            "silver/orders.sql": "/*---\nkey: customer\n---*/\nSELECT customer, amount FROM bronze.orders__current "
            "WHERE customer IS NOT NULL\n"
        },
    ),
    Mistake(
        "rows_that_a_check_blocks",
        "run",
        {
            "silver/n.sql": "/*---\nkind: full\nchecks:\n  - {accepted_values: customer, values: [ana, ben]}\n---*/\n"
            "SELECT customer FROM silver.orders\n"
        },
        mended={
            "silver/n.sql": "/*---\nkind: full\nchecks:\n"
            "  - {accepted_values: customer, values: [ana, ben], on_fail: quarantine}\n---*/\n"
            "SELECT customer FROM silver.orders\n"
        },
    ),
    Mistake(
        "rows_of_a_source_that_a_check_blocks",
        "run",
        {"data/orders/2.csv": ORDERS + ";eva;1,00;05.02.2026 08:00\n"},
        spoil=lambda place: place.lay(
            {
                "bronze/orders.yml": (place.root / "bronze/orders.yml").read_text()
                + "checks:\n  - {not_null: order_id}\n"
            }
        ),
        mended={"data/orders/2.csv": SOUND},
    ),
    Mistake(
        "a_time_of_history_that_is_text",
        "run",
        {
            "silver/n.sql": "/*---\nkind: scd2\nkey: order_id\ntime: at\n---*/\n"
            "SELECT order_id, amount, CAST(ordered_at AS VARCHAR) AS at FROM bronze.orders\n"
        },
        mended={
            "silver/n.sql": "/*---\nkind: scd2\nkey: order_id\ntime: at\n---*/\n"
            "SELECT order_id, amount, ordered_at AS at FROM bronze.orders\n"
        },
        code=2,
    ),
    Mistake(
        "a_python_model_that_raises",
        "run",
        {
            "silver/n.py": "from metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    return silver__orders.filter('amount > 0').nothing()\n"
        },
        mended={
            "silver/n.py": "from metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    return silver__orders.filter('amount > 0')\n"
        },
    ),
    Mistake(
        "a_python_model_that_returns_nothing",
        "run",
        {
            "silver/n.py": "from metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    silver__orders.filter('amount > 0')\n"
        },
        mended={
            "silver/n.py": "from metalayer import model\n\n\n@model()\ndef n(silver__orders):\n"
            "    return silver__orders.filter('amount > 0')\n"
        },
    ),
    Mistake(
        "a_path_that_matches_nothing",
        "run",
        {"bronze/visits.yml": "type: csv\npath: data/visit/*.csv\ncolumns: {n: integer}\n"},
        mended={"data/visit/1.csv": "n\n1\n"},
    ),
    Mistake(
        "a_file_with_other_columns",
        "run",
        {"data/orders/2.csv": "nr;name\n9;eva\n"},
        code=0,
        mended={"data/orders/2.csv": SOUND},
    ),
    Mistake(
        "a_file_with_another_delimiter",
        "run",
        {"data/orders/2.csv": SOUND.replace(";", "|")},
        code=0,
        mended={"data/orders/2.csv": SOUND},
    ),
    Mistake(
        "a_file_in_another_encoding",
        "run",
        {"data/orders/2.csv": (ORDERS + "9;zoë;1,00;03.02.2026 08:00\n").encode("latin-1")},
        code=0,
        mended={"data/orders/2.csv": (ORDERS + "9;zoë;1,00;03.02.2026 08:00\n")},
    ),
    Mistake(
        "a_gzip_that_is_cut_off",
        "run",
        {
            "bronze/zipped.yml": 'type: csv\npath: data/zipped/*.csv.gz\ndialect: {delimiter: ";", decimal: ","}\n'
            'columns: {order_id: bigint, customer: varchar, amount: "decimal(12,2)", ordered_at: varchar}\n',
            "data/zipped/1.csv.gz": _ZIPPED[: len(_ZIPPED) // 2],
        },
        code=0,
        mended={"data/zipped/1.csv.gz": _ZIPPED},
    ),
    Mistake(
        "a_file_that_is_no_parquet",
        "run",
        {"bronze/visits.yml": "type: parquet\npath: data/visits/*.parquet\n", "data/visits/1.parquet": _NOISE},
        code=0,
        mended={"data/visits/1.parquet": None},
    ),
    Mistake(
        "json_that_is_cut_off",
        "run",
        {
            "bronze/visits.yml": "type: json\npath: data/visits/*.json\ncolumns: {n: integer}\n",
            "data/visits/1.json": '[{"n": 1}, {"n": 2',
        },
        code=0,
        mended={"data/visits/1.json": '[{"n": 1}, {"n": 2}]'},
    ),
    Mistake("a_link_that_leads_to_itself", "run", spoil=_loop, mend=_unlooped, code=0),
    Mistake(
        "a_query_of_a_table_that_is_not_there",
        'query "SELECT * FROM silver.order"',
        before=("run",),
        code=2,
        again='query "SELECT count(*) FROM silver.orders"',
    ),
    Mistake(
        "a_query_of_a_column_that_is_not_there",
        'query "SELECT amout FROM silver.orders"',
        before=("run",),
        again='query "SELECT amount FROM silver.orders"',
    ),
    Mistake(
        "a_query_that_does_not_parse",
        'query "SELEC amount FROM silver.orders"',
        before=("run",),
        code=2,
        again='query "SELECT amount FROM silver.orders"',
    ),
    Mistake(
        "a_query_that_changes_something",
        'query "DELETE FROM silver.orders"',
        before=("run",),
        code=2,
        again='query "SELECT amount FROM silver.orders"',
    ),
    Mistake(
        "a_query_of_a_file",
        "query \"SELECT * FROM read_csv('data/orders/1.csv')\"",
        before=("run",),
        again='query "SELECT * FROM bronze.orders"',
    ),
    Mistake(
        "a_query_with_a_value_that_does_not_fit",
        'query "SELECT CAST(customer AS INTEGER) FROM silver.orders"',
        before=("run",),
        again='query "SELECT TRY_CAST(customer AS INTEGER) FROM silver.orders"',
    ),
    Mistake(
        "a_query_of_a_table_that_was_never_built",
        'query "SELECT * FROM gold.daily"',
        typed=("run",),
    ),
    Mistake(
        "a_query_at_a_snapshot_that_is_not_there",
        'query --at 99 "SELECT * FROM gold.daily"',
        before=("run",),
        code=2,
        again='query --at 2 "SELECT * FROM gold.daily"',
    ),
    Mistake(
        "a_source_from_an_empty_file",
        "source add new data/new.csv",
        {"data/new.csv": ""},
        mended={"data/new.csv": "n,name\n1,ana\n2,ben\n"},
    ),
    Mistake(
        "a_source_from_a_file_that_is_not_there",
        "source add new data/new.csv",
        mended={"data/new.csv": "n,name\n1,ana\n2,ben\n"},
    ),
    Mistake(
        "a_source_that_is_there_already",
        "source add orders data/orders.csv",
        {"data/orders.csv": "n,name\n1,ana\n2,ben\n"},
        code=2,
        again="source add orders_2 data/orders.csv",
    ),
)
