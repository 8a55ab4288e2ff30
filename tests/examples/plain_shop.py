"""The shop's tables computed a second time, plainly: read the files, clean, group. Shares no SQL with the example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

Rows = list[tuple[object, ...]]


class PlainShop:
    """The invoice lines of some day files, in an engine of its own."""

    def __init__(self, files: Sequence[Path], countries: Path) -> None:
        self.connection = duckdb.connect()
        names = ", ".join(f"'{path}'" for path in sorted(files))
        self.connection.execute(f"CREATE TABLE country AS FROM read_csv('{countries}', header = true)")
        self.connection.execute(f"CREATE TABLE raw AS FROM read_csv([{names}], header = true, all_varchar = true)")
        self.connection.execute(
            """
            CREATE TABLE line AS
            SELECT *, Quantity::INTEGER AS q, UnitPrice::DECIMAL(12, 3) AS p, starts_with(InvoiceNo, 'C') AS back,
                   upper(StockCode) AS code, (q * p)::DECIMAL(14, 2) AS pounds, InvoiceDate[:10]::DATE AS day,
                   replace(CustomerID, '.0', '')::BIGINT AS customer,
                   (StockCode[1] BETWEEN '0' AND '9' OR StockCode[:4] IN ('DCGS', 'gift')) AS is_article,
                   upper(StockCode) IN ('AMAZONFEE', 'BANK CHARGES') AS is_fee
            FROM (SELECT DISTINCT * FROM raw)
            """
        )
        self.connection.execute("CREATE TABLE good AS FROM line WHERE p > 0 AND back = (q < 0)")

    def rows(self, sql: str) -> Rows:
        return self.connection.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        return int(str(self.rows(sql)[0][0]))

    def counts(self) -> dict[str, int]:
        """Return how many rows each table should have."""
        return {
            "bronze.retail": self.number("SELECT count(*) FROM raw"),
            "silver.sales": self.number("SELECT count(*) FROM good"),
            "silver.sales__quarantine": self.number("SELECT (SELECT count(*) FROM line) - (SELECT count(*) FROM good)"),
            "silver.customers": self.number("SELECT count(DISTINCT customer) FROM good"),
            "silver.products": self.number("SELECT count(DISTINCT code) FROM good WHERE is_article"),
            "gold.daily_sales": self.number("SELECT count(DISTINCT (day, Country)) FROM good WHERE NOT is_fee"),
            "gold.products": self.number("SELECT count(DISTINCT code) FROM good WHERE is_article"),
            "gold.customers": self.number("SELECT count(DISTINCT customer) FROM good"),
        }

    def daily_sales(self) -> Rows:
        """Return day, country, region, orders, units, sales, refunds and revenue."""
        return self.rows(
            """
            SELECT day, good.Country, coalesce(any_value(region), 'unknown'),
                   count(DISTINCT CASE WHEN NOT back THEN InvoiceNo END),
                   sum(CASE WHEN is_article AND NOT back THEN q ELSE 0 END)::BIGINT,
                   sum(CASE WHEN back THEN 0 ELSE pounds END)::DECIMAL(14, 2),
                   sum(CASE WHEN back THEN -pounds ELSE 0 END)::DECIMAL(14, 2),
                   sum(pounds)::DECIMAL(14, 2)
            FROM good LEFT JOIN country ON country.country = good.Country
            WHERE NOT is_fee GROUP BY ALL ORDER BY ALL
            """
        )

    def products(self) -> Rows:
        """Return article, orders, units sold and returned, and revenue."""
        return self.rows(
            """
            SELECT code, count(DISTINCT CASE WHEN q > 0 THEN InvoiceNo END), sum(greatest(q, 0))::BIGINT,
                   sum(greatest(-q, 0))::BIGINT, sum(pounds)::DECIMAL(14, 2)
            FROM good WHERE is_article GROUP BY code ORDER BY code
            """
        )

    def customers(self) -> Rows:
        """Return customer, days since the last invoice, orders and money."""
        return self.rows(
            """
            SELECT customer, (SELECT max(day) FROM good) - max(day),
                   count(DISTINCT CASE WHEN q > 0 AND NOT is_fee THEN InvoiceNo END),
                   sum(CASE WHEN is_fee THEN 0 ELSE pounds END)::DECIMAL(14, 2)
            FROM good WHERE customer IS NOT NULL GROUP BY customer ORDER BY customer
            """
        )

    def reasons(self) -> Rows:
        """Return how many lines wait for which reasons."""
        return self.rows(
            """
            SELECT CASE WHEN p > 0 THEN 'quantity_fits_invoice'
                        WHEN back = (q < 0) THEN 'unit_price_min'
                        ELSE 'unit_price_min,quantity_fits_invoice' END AS why, count(*)
            FROM line WHERE p <= 0 OR back <> (q < 0) GROUP BY why ORDER BY why
            """
        )
