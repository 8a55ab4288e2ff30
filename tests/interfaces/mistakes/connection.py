"""Mistakes in how the database is reached: addresses, passwords, rights, servers that are not what they should be.

The rules of `RULES` stand before the test server's own: one role has to give a password, another is let in nowhere.
"""

from __future__ import annotations

from collections.abc import Callable

from interfaces.mistakes.mistake import Mistake, Place

RULES = """
local all test_keyed scram-sha-256
local all test_shut reject
local all test_plain,test_one,test_reader trust
"""
ROLES = (
    "CREATE ROLE test_keyed LOGIN PASSWORD 'p@ss word'",
    "CREATE ROLE test_shut LOGIN",
    "CREATE ROLE test_plain LOGIN",
    "CREATE ROLE test_one LOGIN CONNECTION LIMIT 0",
    "CREATE ROLE test_reader LOGIN",
)

RIGHT = "postgresql://test_keyed:p%40ss%20word@127.0.0.1:{PORT:plain}/{NAME}?sslmode=disable"


def _rights(role: str) -> str:
    return f"GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {{NAME}} TO {role}"


def _do(*commands: str) -> Callable[[Place], None]:
    """Return what does SQL as the server's owner, with the database's name filled in."""

    def act(place: Place) -> None:
        for command in commands:
            place.admin(command.replace("{NAME}", place.name))

    return act


def _url(wrong: str, mended: str, name: str) -> Mistake:
    return Mistake(
        name,
        "run",
        environ={"METALAYER__DATABASE": wrong},
        mended_environ={"METALAYER__DATABASE": mended},
        spoil=_do(_rights("test_keyed")),
    )


MISTAKES = (
    _url(RIGHT.replace("p%40ss%20word", "geheim"), RIGHT, "a_wrong_password"),
    _url(RIGHT.replace(":p%40ss%20word", ""), RIGHT, "no_password"),
    _url(RIGHT.replace("test_keyed", "test_nobody"), RIGHT, "a_wrong_user"),
    _url(RIGHT.replace("p%40ss%20word", "p@ss word"), RIGHT, "a_password_that_is_not_escaped"),
    _url(RIGHT.replace("/{NAME}", "/no_such_database"), RIGHT, "a_database_that_is_not_there"),
    _url(RIGHT.replace("127.0.0.1", "db.invalid"), RIGHT, "a_host_that_is_not_there"),
    _url(RIGHT.replace("{PORT:plain}", "{PORT:closed}"), RIGHT, "a_port_that_is_closed"),
    _url(RIGHT.replace("{PORT:plain}", "{PORT:http}"), RIGHT, "a_port_of_another_program"),
    _url(
        RIGHT.replace("{PORT:plain}", "{PORT:tls}"),
        RIGHT.replace("{PORT:plain}", "{PORT:tls}").replace("sslmode=disable", "sslmode=require"),
        "a_server_that_wants_tls",
    ),
    _url(RIGHT.replace("sslmode=disable", "sslmode=require"), RIGHT, "a_server_without_tls"),
    _url(
        RIGHT.replace("{PORT:plain}", "{PORT:tls}").replace("sslmode=disable", "sslmode=verify-full"),
        RIGHT.replace("{PORT:plain}", "{PORT:tls}").replace("sslmode=disable", "sslmode=require"),
        "a_certificate_that_nobody_vouches_for",
    ),
    _url(RIGHT.replace("{PORT:plain}", "{PORT:old}"), RIGHT, "a_server_that_is_too_old"),
    _url("mysql://shop:secret@127.0.0.1:3306/shop", RIGHT, "the_url_of_another_database"),
    _url("127.0.0.1:5432/shop", RIGHT, "a_url_without_its_beginning"),
    _url(RIGHT.replace("{PORT:plain}", "54x32"), RIGHT, "a_port_that_is_no_number"),
    _url(RIGHT + "&conect_timeout=3", RIGHT, "an_option_that_is_not_there"),
    Mistake(
        "a_user_who_is_not_let_in",
        "run",
        environ={"METALAYER__DATABASE": "{DATABASE:test_shut}"},
        mended_environ={"METALAYER__DATABASE": "{DATABASE}"},
    ),
    Mistake(
        "no_right_to_create_a_schema",
        "run",
        environ={"METALAYER__DATABASE": "{DATABASE:test_plain}"},
        mend=_do(_rights("test_plain")),
    ),
    Mistake(
        "tables_of_another_user",
        "run",
        before=("run",),
        environ={"METALAYER__DATABASE": "{DATABASE:test_reader}"},
        mended_environ={"METALAYER__DATABASE": "{DATABASE}"},
    ),
    Mistake(
        "too_many_connections",
        "run",
        environ={"METALAYER__DATABASE": "{DATABASE:test_one}"},
        spoil=_do(_rights("test_one")),
        mend=_do("ALTER ROLE test_one CONNECTION LIMIT 20"),
    ),
    Mistake(
        "a_database_that_is_read_only",
        "run",
        spoil=_do("ALTER DATABASE {NAME} SET default_transaction_read_only TO on"),
        mend=_do("ALTER DATABASE {NAME} RESET default_transaction_read_only"),
    ),
    Mistake(
        "a_database_of_another_encoding",
        "run",
        spoil=_do("DROP DATABASE {NAME}", "CREATE DATABASE {NAME} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"),
        mend=_do("DROP DATABASE {NAME}", "CREATE DATABASE {NAME} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"),
    ),
    Mistake(
        "a_command_that_may_not_take_long",
        "run",
        spoil=_do("ALTER DATABASE {NAME} SET statement_timeout TO '1ms'"),
        mend=_do("ALTER DATABASE {NAME} RESET statement_timeout"),
    ),
)
