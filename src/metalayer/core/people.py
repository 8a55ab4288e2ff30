"""People and what they prove themselves by, as values: who reads, in which groups, with which attributes and tokens.

Pure: nothing here remembers anybody (`metastore.people` does) and nothing decides what a person may see (`core.policy`
does). A `Reader` is made from a `Person` by those who have checked that it is that person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metalayer.core.errors import UsageError

EVERYONE = "everyone"
"""The group that everybody who is not disabled belongs to without being added."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,127}")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Scope(StrEnum):
    """What somebody may do at all: roles give it, and a token may give less than its user's roles."""

    READ = "read"
    RUN = "run"
    INGEST = "ingest"
    MANAGE = "manage"


class PersonKind(StrEnum):
    """Whether a human or a program stands behind a name."""

    USER = "user"
    SERVICE = "service"


Attributes = tuple[tuple[str, tuple[str, ...]], ...]
"""Attributes of a person by name, each with its values, sorted."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads.

    Attributes:
        name: the user's name; ``owner`` is who holds the checkout.
        is_owner: whether no policy applies: only `OWNER` is one.
        groups: the groups that the user belongs to, `EVERYONE` left out.
        attributes: what row filters may ask of the user.
        purpose: what the data is read for, where that is said.
        scopes: what the session or token allows at most.
        roles: roles that it has by itself, without being in a group: what leaves by an export is seen by a role.
    """

    name: str
    is_owner: bool = False
    groups: frozenset[str] = frozenset()
    attributes: Attributes = ()
    purpose: str | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    roles: frozenset[str] = frozenset()

    def values(self, attribute: str) -> tuple[str, ...]:
        """Return the values of an attribute, none where the user does not have it."""
        return next((values for name, values in self.attributes if name == attribute), ())


OWNER = Reader("owner", is_owner=True)


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the metastore remembers one. ``issuer`` and ``subject`` are the identity at an OpenID provider."""

    name: str
    kind: PersonKind = PersonKind.USER
    display_name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    attributes: Attributes = ()
    issuer: str | None = None
    subject: str | None = None
    has_password: bool = False
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    last_seen_at: datetime | None = None

    def reader(self, *, purpose: str | None = None, scopes: frozenset[Scope] = frozenset(Scope)) -> Reader:
        """Return the person as who reads."""
        return Reader(
            self.name,
            groups=frozenset(self.groups),
            attributes=self.attributes,
            purpose=purpose,
            scopes=scopes,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the metastore remembers it; the secret itself is known to its holder alone.

    ``sources`` are the inboxes it may send to with the scope `Scope.INGEST`; none named means all.
    """

    token_id: str
    person: str
    label: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = field(default=None)
    sources: tuple[str, ...] = ()

    def refusal(self, now: datetime) -> str | None:
        """Return why the token is not accepted at a moment, or None where it is."""
        if self.revoked_at is not None:
            return "was revoked"
        if now >= self.expires_at:
            return "has expired"
        return None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends to inboxes: the name behind a token, and the tables of bronze that it is for (none named: all)."""

    name: str
    sources: tuple[str, ...] = ()

    def may_send(self, source: str) -> bool:
        """Tell whether the inbox of a table takes from this sender."""
        return not self.sources or source in self.sources


def checked_name(name: str, what: str) -> str:
    """Return a name of a user or group as it is kept, in small letters.

    Raises:
        UsageError: it cannot be one.

    >>> checked_name("Ana.Silva@example.org", "user")
    'ana.silva@example.org'
    """
    folded = name.strip().lower()
    if not _NAME.fullmatch(folded) or folded in {OWNER.name, EVERYONE}:
        taken = folded in {OWNER.name, EVERYONE}
        raise UsageError(
            f"'{name}' {'is taken by MetaLayer itself' if taken else f'cannot be the name of a {what}'}.",
            hint="Begin with a letter or digit; then letters, digits and . _ - @ + may follow: ana, ana@example.org.",
        )
    return folded


def checked_attribute(name: str) -> str:
    """Return the name of an attribute.

    Raises:
        UsageError: it cannot be one.
    """
    if not _ATTRIBUTE.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of an attribute.",
            hint="Begin with a small letter; then small letters, digits and _ may follow: region, cost_centre.",
        )
    return name
