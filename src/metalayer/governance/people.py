"""People: who is let in, and by what. Everything that is remembered of them goes through `People`.

Names, passwords and tokens are judged here; `metastore.people` only keeps what came out. What a person may then see is
`governance.access`. A token or password is told to its holder once and kept as a hash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metalayer.core.errors import AccessError, ScopeError, UsageError, did_you_mean
from metalayer.core.people import (
    EVERYONE,
    Person,
    PersonKind,
    Reader,
    Scope,
    Sender,
    Token,
    checked_attribute,
    checked_name,
)
from metalayer.governance import passwords
from metalayer.metastore import journal
from metalayer.metastore import people as store
from metalayer.metastore.facts import Connection

PREFIX = "mlt_"
LONGEST = timedelta(days=730)
_LONGEST_NAME = 128

_FORM = re.compile(r"mlt_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_WRONG = "The name or the password is wrong."


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was just made; ``secret`` is told this once."""

    token: Token
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class People:
    """The people of one environment.

    Attributes:
        connection: the metastore.
        now: the clock.
        by: who changes people, for the record.
    """

    connection: Connection
    now: Callable[[], datetime]
    by: str = "owner"

    # Users

    def all(self) -> tuple[Person, ...]:
        """Return everybody."""
        return store.persons(self.connection)

    def find(self, name: str) -> Person:
        """Return a user.

        Raises:
            UsageError: there is none of that name.
        """
        return store.known(self.connection, name.strip().lower())

    def reader(self, name: str, *, purpose: str | None = None) -> Reader:
        """Return a user as who reads.

        Raises:
            UsageError: there is none of that name.
            AccessError: the user is disabled.
        """
        person = self.find(name)
        if person.disabled_at is not None:
            raise AccessError(
                f"'{person.name}' is disabled.",
                hint=f"Let the user in again: metalayer access users enable {person.name}",
            )
        return person.reader(purpose=purpose)

    def add(
        self,
        name: str,
        *,
        kind: PersonKind = PersonKind.USER,
        display_name: str = "",
        email: str = "",
        groups: Iterable[str] = (),
        identity: tuple[str, str] | None = None,
    ) -> Person:
        """Add a user or a service.

        Args:
            name: the name, unique whatever its case.
            kind: whether a human stands behind it.
            display_name: how the user is called.
            email: where the user is written to.
            groups: groups to join, which are there.
            identity: the issuer and subject at an OpenID provider.

        Raises:
            UsageError: the name cannot be or is taken, or a group is not there.
        """
        issuer, subject = identity or (None, None)
        person = Person(checked_name(name, "user"), kind, display_name, email, issuer=issuer, subject=subject)
        with self.connection.transaction():
            for group in groups:
                store.known_group(self.connection, group.lower())
            store.add(self.connection, person, by=self.by, at=self.now())
            for group in groups:
                store.join(self.connection, group.lower(), person.name, by=self.by, at=self.now())
        return self.find(person.name)

    def set(self, name: str, attributes: Iterable[tuple[str, tuple[str, ...]]]) -> Person:
        """Give attributes of a user new values; none takes the attribute away."""
        person = self.find(name)
        with self.connection.transaction():
            for attribute, values in attributes:
                store.set_attribute(self.connection, person.name, checked_attribute(attribute), values)
        return self.find(name)

    def disable(self, name: str) -> Person:
        """Shut a user out; tokens and password stay and are not accepted."""
        store.disable(self.connection, self.find(name).name, self.now())
        return self.find(name)

    def enable(self, name: str) -> Person:
        """Let a user in again."""
        store.disable(self.connection, self.find(name).name, None)
        return self.find(name)

    def remove(self, name: str) -> None:
        """Forget a user with all tokens."""
        store.remove(self.connection, self.find(name).name)

    def set_password(self, name: str, password: str) -> None:
        """Set a user's password.

        Raises:
            UsageError: the password is too weak, or the user is a service.
        """
        person = self.find(name)
        if person.kind is PersonKind.SERVICE:
            raise UsageError(
                f"'{person.name}' is a service, which has no password.",
                hint=f"Give it a token: metalayer access tokens create {person.name}",
            )
        store.set_password_hash(self.connection, person.name, passwords.hashed(password, person.name))

    # Groups

    def groups(self) -> tuple[store.Group, ...]:
        """Return all groups."""
        return store.groups(self.connection)

    def add_group(self, name: str, description: str = "") -> None:
        """Add a group.

        Raises:
            UsageError: the name cannot be or is taken.
        """
        folded = checked_name(name, "group")
        if not store.add_group(self.connection, folded, description, by=self.by, at=self.now()):
            raise UsageError(
                f"There is a group '{folded}' already.", hint="`metalayer access groups list` shows the groups."
            )

    def remove_group(self, name: str) -> None:
        """Forget a group."""
        store.known_group(self.connection, name.lower())
        store.remove_group(self.connection, name.lower())

    def join(self, group: str, names: Iterable[str]) -> None:
        """Add users to a group, all or none."""
        if group.lower() == EVERYONE:
            raise UsageError(f"Everybody is in '{EVERYONE}' already.", hint="Name another group.")
        with self.connection.transaction():
            store.known_group(self.connection, group.lower())
            for name in names:
                store.join(self.connection, group.lower(), self.find(name).name, by=self.by, at=self.now())

    def leave(self, group: str, names: Iterable[str]) -> None:
        """Take users out of a group, all or none."""
        with self.connection.transaction():
            store.known_group(self.connection, group.lower())
            for name in names:
                person = self.find(name)
                if not store.leave(self.connection, group.lower(), person.name):
                    raise UsageError(
                        f"'{person.name}' is not in the group '{group.lower()}'.",
                        hint=f"{did_you_mean(group, person.groups)}`metalayer access users show {person.name}` shows "
                        "the groups.",
                    )

    # Being let in

    def login(self, name: str, password: str) -> Person:
        """Return the user of a name and password.

        What is refused takes as long and says the same, whether the name, the password or the user's state is why.

        Raises:
            AccessError: they do not belong together, or the user is shut out.
        """
        folded = name.strip().lower()
        kept = store.password_hash(self.connection, folded)
        agrees = passwords.matches(kept, password)
        person = store.find(self.connection, folded)
        if not agrees or person is None or person.disabled_at is not None or kept is None:
            self._note("login.refused", folded, {"by": "password"})
            raise AccessError(_WRONG, hint="Try again, or ask who manages the users.")
        if passwords.is_outdated(kept):
            store.set_password_hash(self.connection, folded, passwords.hashed(password, folded))
        store.seen(self.connection, folded, self.now())
        self._note("login", folded, {"by": "password"})
        return person

    def identified(self, issuer: str, subject: str) -> Person:
        """Return the user whom an OpenID provider has proved.

        Raises:
            AccessError: nobody has that identity, or the user is shut out.
        """
        person = store.find_identity(self.connection, issuer, subject)
        if person is None or person.disabled_at is not None:
            self._note("login.refused", person.name if person else subject, {"by": "identity", "issuer": issuer})
            raise AccessError(
                "Nobody here has this identity.", hint="Ask who manages the users to add it: metalayer access users add"
            )
        store.seen(self.connection, person.name, self.now())
        self._note("login", person.name, {"by": "identity", "issuer": issuer})
        return person

    # Tokens

    def tokens(self, name: str | None = None) -> tuple[Token, ...]:
        """Return all tokens, or those of one user."""
        return store.tokens(self.connection, None if name is None else self.find(name).name)

    def issue(
        self,
        name: str,
        *,
        label: str = "",
        scopes: frozenset[Scope],
        lifetime: timedelta,
        sources: tuple[str, ...] = (),
    ) -> Issued:
        """Make a token of a user; ``sources`` are the inboxes that it may send to, none named means all.

        Raises:
            UsageError: the user is not there, or the token would do nothing or live too long.
        """
        person = self.find(name)
        if not timedelta(0) < lifetime <= LONGEST:
            raise UsageError(
                f"A token lives at most {LONGEST.days} days.", hint="Write a shorter time: 90d; make a new one in time."
            )
        if sources and Scope.INGEST not in scopes:
            raise UsageError(
                "Inboxes are named, and the token may not send to any.", hint="Give the scope: --scope ingest"
            )
        if not scopes:
            raise UsageError("A token without a scope can do nothing.", hint=f"Give one of: {', '.join(Scope)}.")
        token_id = base64.b32encode(secrets.token_bytes(8))[:12].decode().lower()
        secret = f"{PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        now = self.now()
        token = Token(token_id, person.name, label, scopes, now, now + lifetime, sources=tuple(sorted(set(sources))))
        store.add_token(self.connection, token, hashlib.sha256(secret.encode()).digest(), by=self.by)
        return Issued(token, secret)

    def revoke(self, token_id: str) -> Token:
        """Accept a token no longer; it is named by its id or by itself.

        Raises:
            UsageError: there is none.
        """
        found = _FORM.fullmatch(token_id)
        named = found[1] if found else token_id.removeprefix(PREFIX)
        kept = store.find_token(self.connection, named)
        if kept is None:
            raise UsageError(
                f"There is no token '{named}'.", hint="`metalayer access tokens list` shows the ids of tokens."
            )
        store.revoke(self.connection, named, self.now())
        return kept[0]

    def bearer(self, secret: str, *, purpose: str | None = None) -> Reader:
        """Return who holds a token, as who reads.

        Raises:
            AccessError: it is not accepted.
        """
        person, token = self._holder(secret)
        return person.reader(purpose=purpose, scopes=token.scopes)

    def sender(self, secret: str) -> Sender:
        """Return who holds a token, as who sends to inboxes; no role is needed for it, the token alone allows it.

        Raises:
            AccessError: it is not accepted, or allows no sending.
        """
        person, token = self._holder(secret)
        if Scope.INGEST not in token.scopes:
            self._note("ingest.refused", person.name, {"token": token.token_id, "why": "has not the scope ingest"})
            raise ScopeError(
                "The token does not allow sending to inboxes.",
                hint=f"Make one that does: metalayer access tokens create {person.name} --scope ingest",
            )
        return Sender(person.name, token.sources)

    def _holder(self, secret: str) -> tuple[Person, Token]:
        found = _FORM.fullmatch(secret)
        kept = store.find_token(self.connection, found[1]) if found else None
        given = hashlib.sha256(secret.encode()).digest()
        if kept is None or not hmac.compare_digest(kept[1], given):
            self._note("login.refused", "", {"by": "token", "token": found[1] if found else ""})
            raise AccessError("The token is not known.", hint="Ask who manages the users for a new one.")
        token, now = kept[0], self.now()
        person = store.find(self.connection, token.person)
        why = token.refusal(now) or ("belongs to a user who is disabled" if person and person.disabled_at else None)
        if why is not None or person is None:
            self._note("login.refused", token.person, {"by": "token", "token": token.token_id, "why": why})
            raise AccessError(f"The token {why}.", hint="Ask who manages the users for a new one.")
        store.used(self.connection, token.token_id, now)
        return person, token

    def _note(self, kind: str, name: str, detail: Mapping[str, object]) -> None:
        """Write into the journal who was let in, or was not."""
        journal.note(self.connection, kind, name[:_LONGEST_NAME], "", detail)

    # Keys

    def mask_key(self) -> bytes:
        """Return the key by which masks hash and tokenise; it is made when first asked for."""
        return store.secret_key(self.connection, store.MASK_KEY, at=self.now())
