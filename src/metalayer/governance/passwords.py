"""Passwords: argon2id hashes, and a comparison that takes as long for a user who does not exist.

A password is never kept, logged or compared as text; argon2 is imported where one is set or asked for.
"""

from __future__ import annotations

from metalayer.core.errors import UsageError

SHORTEST = 12
_LONGEST = 1024

_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""The hash of no password, with the library's own parameters: what a name that does not exist is compared with."""


def hashed(password: str, name: str) -> str:
    """Return the hash of a new password.

    Raises:
        UsageError: it is too short, too long, or the user's own name.
    """
    from argon2 import PasswordHasher  # noqa: PLC0415 - few commands meet a password

    if not SHORTEST <= len(password) <= _LONGEST:
        raise UsageError(
            f"A password has {SHORTEST} characters or more.",
            hint="Take a few words that nobody would guess; spaces count.",
        )
    if name.lower() in password.lower() and len(password) < len(name) + SHORTEST:
        raise UsageError("The password contains the user's name.", hint="Take a few words that nobody would guess.")
    if len(set(password)) < 5:
        raise UsageError("The password repeats a few characters.", hint="Take a few words that nobody would guess.")
    return PasswordHasher().hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Tell whether a password is the one that a hash was made of; None takes as long and matches nothing."""
    from argon2 import PasswordHasher  # noqa: PLC0415 - few commands meet a password
    from argon2.exceptions import Argon2Error, InvalidHashError  # noqa: PLC0415 - as above

    try:
        PasswordHasher().verify(_NOBODY if kept is None else kept, password[:_LONGEST])
    except (Argon2Error, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Tell whether a hash was made with weaker parameters than a new one would be."""
    from argon2 import PasswordHasher  # noqa: PLC0415 - few commands meet a password

    return PasswordHasher().check_needs_rehash(kept)
