"""A line to PostgreSQL: asked by several threads, lost, refused, and beside a pooler that forgets."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from metalayer.core.errors import MetastoreError, MetastoreUnavailableError
from metalayer.metastore.line import Line
from metalayer.metastore.postgres import Metastore


@pytest.fixture
def line(metastore: Metastore) -> Iterator[Line]:
    made = metastore.line()
    yield made
    made.close()


def backend(line: Line) -> str:
    [(number,)] = line.rows("SELECT pg_backend_pid()")
    return str(number)


def test_words_go_in_and_rows_come_out(line: Line) -> None:
    assert line.rows("SELECT $1::text || 'é', NULL FROM generate_series(1, 2)", "Ünï '") == [("Ünï 'é", None)] * 2
    assert line.rows("SELECT 1 WHERE false") == []
    assert line.rows("CREATE TABLE public.kept (n integer)") == []


def test_what_is_refused_is_our_error_and_the_line_goes_on(line: Line) -> None:
    before = backend(line)
    for text in ("SELECT nothing FROM nowhere", "SELECT 1 / 0", "SELEC"):
        with pytest.raises(MetastoreError):
            line.rows(text)
    assert backend(line) == before


def test_a_lost_connection_is_made_anew(line: Line, metastore: Metastore) -> None:
    for ask in (lambda: backend(line), lambda: held(line)):
        before = backend(line)
        metastore.connection.execute("SELECT pg_terminate_backend(%s, 5000)", (int(before),))
        assert ask() != before


def held(line: Line) -> str:
    with line.held() as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return str(row[0])


def test_one_that_is_lost_each_time_is_told(line: Line) -> None:
    backend(line)
    with pytest.raises(MetastoreUnavailableError):
        line.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert backend(line)


def test_beside_a_pooler_that_forgets_what_was_prepared(line: Line) -> None:
    before = backend(line)
    with line.held() as connection:
        connection.execute("DEALLOCATE ALL")
    assert backend(line) == before
    assert backend(line) == before


def test_many_threads_ask_and_each_gets_its_own_answer(line: Line) -> None:
    said: dict[int, set[str | None]] = {}

    def ask(number: int) -> None:
        said[number] = {word for _ in range(20) for (word,) in line.rows("SELECT $1::int * 2", str(number))}

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: {str(2 * number)} for number in range(8)}


def test_closed_is_closed_and_may_be_held_again(line: Line) -> None:
    before = backend(line)
    line.close()
    line.close()
    assert backend(line) != before
