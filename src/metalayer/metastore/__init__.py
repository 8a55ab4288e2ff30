"""PostgreSQL and the facts in it: connections, the embedded server, migrations, what commits with the rows.

It knows nothing of DuckDB, Parquet or declared files.
"""
