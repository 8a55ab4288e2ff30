"""The door to PostgreSQL: sessions, transactions, locks, errors."""

from __future__ import annotations

import pytest

from metalayer.core.errors import MetastoreError
from metalayer.metastore.postgres import Metastore


def test_session_is_the_same_everywhere(metastore: Metastore) -> None:
    row = metastore.connection.execute(
        "SELECT current_setting('TimeZone'), current_setting('search_path'), current_setting('application_name')"
    ).fetchone()
    assert row == ("UTC", "pg_catalog", "metalayer")
    with metastore.connect() as other:
        assert other.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
        assert other.autocommit


def test_transaction_commits_or_leaves_nothing(metastore: Metastore) -> None:
    metastore.connection.execute("CREATE TABLE public.facts (n integer)")
    with metastore.transaction() as connection:
        connection.execute("INSERT INTO public.facts VALUES (1)")
    with pytest.raises(ZeroDivisionError), metastore.transaction() as connection:
        connection.execute("INSERT INTO public.facts VALUES (2)")
        raise ZeroDivisionError
    assert metastore.connection.execute("SELECT n FROM public.facts").fetchall() == [(1,)]


def test_nested_transaction_is_refused(metastore: Metastore) -> None:
    with metastore.transaction(), pytest.raises(MetastoreError, match="already open"), metastore.transaction():
        pass
