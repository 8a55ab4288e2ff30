"""What it means when libpq cannot connect: which of its words call for which mend.

Only words and codes are looked at here; nothing is connected to. What is not known here is told as libpq says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WHERE = "(it is set as `database:` in metalayer.yml, or by METALAYER__DATABASE)"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no connection: ``lasting`` is whether trying again is of no use; None where nobody knows."""

    lasting: bool | None
    hint: str


_KNOWN: Mapping[str, Refusal] = {
    # first: of several hosts one may be down and the other about to be promoted
    r"session is read-only|hot standby": Refusal(
        lasting=False, hint="The server only reads: name the primary in the URL, or promote this one, and try again."
    ),
    r"password authentication failed": Refusal(
        lasting=True, hint=f"Correct the user and the password in the URL of the database {_WHERE}."
    ),
    r"no password supplied": Refusal(
        lasting=True, hint=f"Put the password into the URL: postgresql://user:password@host/database {_WHERE}."
    ),
    r'role ".*" does not exist': Refusal(
        lasting=True, hint=f"Correct the user in the URL {_WHERE}, or create it: CREATE ROLE … LOGIN PASSWORD '…'."
    ),
    r'database ".*" does not exist': Refusal(
        lasting=True,
        hint=f"Correct the database's name in the URL {_WHERE}, or create it: "
        "CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0.",
    ),
    r"no pg_hba\.conf entry .*(no encryption|SSL off)": Refusal(
        lasting=True,
        hint="The server lets in nobody without TLS from here: add sslmode=require to the URL "
        "(…/database?sslmode=require); if that does not help, its pg_hba.conf has to allow this user and database.",
    ),
    r"no pg_hba\.conf entry|pg_hba\.conf rejects": Refusal(
        lasting=True,
        hint="The server's rules let this user not in from here: use another user in the URL, or let the server's "
        "pg_hba.conf allow it, and reload the server.",
    ),
    r"server does not support SSL": Refusal(
        lasting=True,
        hint="The server has no TLS: write sslmode=disable in the URL if the network is yours, or give the server a "
        "certificate.",
    ),
    r"root certificate file .* does not exist": Refusal(
        lasting=True,
        hint="Name the file with the certificate of the server's authority (sslrootcert=FILE in the URL); "
        "sslmode=require uses TLS and does not ask who answers.",
    ),
    r"certificate verify failed|does not match host name": Refusal(
        lasting=True,
        hint="The server's certificate is not of the authority or the host that the URL names: correct sslrootcert or "
        "the host in the URL; sslmode=require uses TLS and does not ask who answers.",
    ),
    r"received invalid response to SSL negotiation|expected authentication request": Refusal(
        lasting=True, hint=f"What listens there is no PostgreSQL: correct the host and the port in the URL {_WHERE}."
    ),
    r"failed to resolve host|could not translate host name": Refusal(
        lasting=None, hint=f"Correct the host in the URL {_WHERE}; if it is right, see that its name can be looked up."
    ),
    r"Connection refused": Refusal(
        lasting=None, hint=f"Start the server, or correct the host and the port in the URL {_WHERE}, and try again."
    ),
    r"too many (clients|connections)|connection slots": Refusal(
        lasting=False,
        hint="Close other programs that use the database, or raise its limit (max_connections of the server, "
        "CONNECTION LIMIT of the role or the database), and try again.",
    ),
}

_PREFIX = re.compile(r'^(connection failed: )?(connection to server (at|on socket) "[^"]*"[^:]*? failed: )?(FATAL: +)?')


_STATES: Mapping[str, str] = {
    "28P01": "password authentication failed",
    "28000": "pg_hba.conf rejects",
    "3D000": 'database "" does not exist',
    "53300": "too many connections",
}
"""The codes of servers that speak another language, and the words of one that speaks English."""


def refusal(said: str) -> Refusal | None:
    """Return what libpq's words mean, where they are known."""
    return next((known for words, known in _KNOWN.items() if re.search(words, said)), None)


def refusal_by_code(state: str) -> Refusal | None:
    """Return what a server's code means, where it is known."""
    return refusal(_STATES[state]) if state in _STATES else None


def plain(said: str) -> str:
    """Return libpq's words on one line and without the address, which is told before them.

    >>> plain('connection failed: connection to server at "db", port 5432 failed: FATAL:  role "ana" does not exist')
    'role "ana" does not exist'
    """
    last = said.strip().splitlines()[0] if said.strip() else "it does not say why"
    return _PREFIX.sub("", " ".join(last.split())).rstrip(".?")
