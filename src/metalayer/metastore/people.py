"""People as PostgreSQL remembers them: users, groups, attributes, tokens, and the keys of masks.

Every function takes an open connection. Secrets come in hashed and never go out: what may be done with them is decided
in `governance.people`. Nothing here knows a policy.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.people import Person, PersonKind, Scope, Token
from metalayer.metastore.facts import Connection

VERSION = "(SELECT version::text FROM metalayer.people_version)"
"""An expression that is another word after each change of people that decides what somebody sees."""

MASK_KEY = "masks"
"""The name of the key by which masks hash and tokenise."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of people."""

    name: str
    description: str
    members: tuple[str, ...]


_SELECT_PERSONS = """
    SELECT p.name, p.kind, p.display_name, p.email,
           ARRAY(SELECT group_name FROM metalayer.membership AS m WHERE m.person_name = p.name ORDER BY 1),
           (SELECT jsonb_object_agg(a.name, a.given) FROM (
                SELECT name, jsonb_agg(value ORDER BY value) AS given FROM metalayer.person_attribute
                WHERE person_name = p.name GROUP BY name) AS a),
           p.issuer, p.subject, p.password_hash IS NOT NULL, p.created_at, p.disabled_at, p.last_seen_at
    FROM metalayer.person AS p
"""


def _person(row: tuple[Any, ...]) -> Person:
    name, kind, display, email, belongs, attributes, *rest = row
    given = tuple(sorted((key, tuple(values)) for key, values in (attributes or {}).items()))
    return Person(name, PersonKind(kind), display, email, tuple(belongs), given, *rest)


def persons(connection: Connection) -> tuple[Person, ...]:
    """Return everybody, by name."""
    return tuple(_person(row) for row in connection.execute(f"{_SELECT_PERSONS} ORDER BY p.name").fetchall())


def find(connection: Connection, name: str) -> Person | None:
    """Return the person of a name, or None."""
    row = connection.execute(f"{_SELECT_PERSONS} WHERE p.name = %s", (name,)).fetchone()
    return None if row is None else _person(row)


def find_identity(connection: Connection, issuer: str, subject: str) -> Person | None:
    """Return the person whom an OpenID provider knows by a subject, or None."""
    row = connection.execute(f"{_SELECT_PERSONS} WHERE p.issuer = %s AND p.subject = %s", (issuer, subject)).fetchone()
    return None if row is None else _person(row)


def known(connection: Connection, name: str) -> Person:
    """Return the person of a name.

    Raises:
        UsageError: there is none.
    """
    found = find(connection, name)
    if found is None:
        names = [row[0] for row in connection.execute("SELECT name FROM metalayer.person").fetchall()]
        raise UsageError(
            f"There is no user '{name}'.",
            hint=f"{did_you_mean(name, names)}`metalayer access users list` shows the users.",
        )
    return found


def add(connection: Connection, person: Person, *, by: str, at: datetime) -> None:
    """Add a person; groups and attributes are added apart.

    Raises:
        UsageError: the name or the identity is taken.
    """
    added = connection.execute(
        "INSERT INTO metalayer.person (name, kind, display_name, email, issuer, subject, created_at, created_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (person.name, person.kind, person.display_name, person.email, person.issuer, person.subject, at, by),
    )
    if added.rowcount != 1:
        taken = find(connection, person.name) is not None
        raise UsageError(
            f"There is a user '{person.name}' already." if taken else "Another user has this identity.",
            hint="`metalayer access users list` shows the users; choose another name, or change that user.",
        )


def remove(connection: Connection, name: str) -> None:
    """Forget a person with all tokens, memberships and attributes."""
    connection.execute("DELETE FROM metalayer.person WHERE name = %s", (name,))


def disable(connection: Connection, name: str, at: datetime | None) -> None:
    """Shut a person out from a moment on, or let one in again with None."""
    connection.execute("UPDATE metalayer.person SET disabled_at = %s WHERE name = %s", (at, name))


def seen(connection: Connection, name: str, at: datetime) -> None:
    """Record that a person was here."""
    connection.execute("UPDATE metalayer.person SET last_seen_at = %s WHERE name = %s", (at, name))


def set_attribute(connection: Connection, name: str, attribute: str, values: Iterable[str]) -> None:
    """Give an attribute of a person these values and no others."""
    with connection.transaction():
        connection.execute(
            "DELETE FROM metalayer.person_attribute WHERE person_name = %s AND name = %s", (name, attribute)
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO metalayer.person_attribute VALUES (%s, %s, %s)",
                [(name, attribute, value) for value in sorted(set(values))],
            )


def password_hash(connection: Connection, name: str) -> str | None:
    """Return what is kept of a person's password, or None."""
    row = connection.execute("SELECT password_hash FROM metalayer.person WHERE name = %s", (name,)).fetchone()
    return None if row is None else row[0]


def set_password_hash(connection: Connection, name: str, hashed: str | None) -> None:
    """Keep the hash of a new password; None takes the password away."""
    connection.execute("UPDATE metalayer.person SET password_hash = %s WHERE name = %s", (hashed, name))


# --- groups -----------------------------------------------------------------------------------------------------------


def groups(connection: Connection) -> tuple[Group, ...]:
    """Return all groups with their members."""
    rows = connection.execute(
        "SELECT name, description, ARRAY(SELECT person_name FROM metalayer.membership AS m "
        "WHERE m.group_name = g.name ORDER BY 1) FROM metalayer.person_group AS g ORDER BY name"
    ).fetchall()
    return tuple(Group(name, description, tuple(members)) for name, description, members in rows)


def add_group(connection: Connection, name: str, description: str, *, by: str, at: datetime) -> bool:
    """Add a group; return False where it was there."""
    added = connection.execute(
        "INSERT INTO metalayer.person_group VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", (name, description, at, by)
    )
    return added.rowcount == 1


def known_group(connection: Connection, name: str) -> None:
    """Do nothing where a group is there.

    Raises:
        UsageError: there is none.
    """
    names = [row[0] for row in connection.execute("SELECT name FROM metalayer.person_group").fetchall()]
    if name not in names:
        raise UsageError(
            f"There is no group '{name}'.",
            hint=f"{did_you_mean(name, names)}Add it: metalayer access groups add {name}",
        )


def remove_group(connection: Connection, name: str) -> None:
    """Forget a group; its members stay."""
    connection.execute("DELETE FROM metalayer.person_group WHERE name = %s", (name,))


def join(connection: Connection, group: str, name: str, *, by: str, at: datetime) -> None:
    """Add a person to a group."""
    connection.execute(
        "INSERT INTO metalayer.membership VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", (group, name, at, by)
    )


def leave(connection: Connection, group: str, name: str) -> bool:
    """Take a person out of a group; return False where the person was not in it."""
    gone = connection.execute(
        "DELETE FROM metalayer.membership WHERE group_name = %s AND person_name = %s", (group, name)
    )
    return gone.rowcount == 1


# --- tokens -----------------------------------------------------------------------------------------------------------

_SELECT_TOKENS = (
    "SELECT token_id, person_name, label, scopes, created_at, expires_at, last_used_at, revoked_at, sources, hash "
    "FROM metalayer.token"
)


def _token(row: tuple[Any, ...]) -> Token:
    token_id, person, label, scopes, created, expires, used_at, revoked, sources = row
    allowed = frozenset(map(Scope, scopes))
    return Token(token_id, person, label, allowed, created, expires, used_at, revoked, tuple(sources))


def tokens(connection: Connection, name: str | None = None) -> tuple[Token, ...]:
    """Return all tokens, or those of one person, the newest first."""
    rows = connection.execute(
        f"{_SELECT_TOKENS} WHERE %(name)s::text IS NULL OR person_name = %(name)s ORDER BY created_at DESC, token_id",
        {"name": name},
    ).fetchall()
    return tuple(_token(row[:-1]) for row in rows)


def find_token(connection: Connection, token_id: str) -> tuple[Token, bytes] | None:
    """Return a token with its hash, or None."""
    row = connection.execute(f"{_SELECT_TOKENS} WHERE token_id = %s", (token_id,)).fetchone()
    return None if row is None else (_token(row[:-1]), bytes(row[-1]))


def add_token(connection: Connection, token: Token, hashed: bytes, *, by: str) -> None:
    """Keep a new token by its hash."""
    connection.execute(
        "INSERT INTO metalayer.token (token_id, hash, person_name, label, scopes, created_at, created_by, expires_at, "
        "sources) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            token.token_id,
            hashed,
            token.person,
            token.label,
            sorted(token.scopes),
            token.created_at,
            by,
            token.expires_at,
            list(token.sources),
        ),
    )


def revoke(connection: Connection, token_id: str, at: datetime) -> None:
    """Accept a token no longer."""
    connection.execute(
        "UPDATE metalayer.token SET revoked_at = coalesce(revoked_at, %s) WHERE token_id = %s", (at, token_id)
    )


def used(connection: Connection, token_id: str, at: datetime) -> None:
    """Record that a token was used; more often than once a minute is not recorded."""
    connection.execute(
        "UPDATE metalayer.token SET last_used_at = %(at)s WHERE token_id = %(id)s "
        "AND (last_used_at IS NULL OR last_used_at < %(at)s - interval '1 minute')",
        {"at": at, "id": token_id},
    )


# --- keys -------------------------------------------------------------------------------------------------------------


def secret_key(connection: Connection, name: str, *, at: datetime) -> bytes:
    """Return a key of 256 bits that is made when it is first asked for and never changes."""
    found = connection.execute("SELECT key FROM metalayer.secret_key WHERE name = %s", (name,)).fetchone()
    if found is None:
        connection.execute(
            "INSERT INTO metalayer.secret_key VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (name, secrets.token_bytes(32), at),
        )
        return secret_key(connection, name, at=at)
    return bytes(found[0])
