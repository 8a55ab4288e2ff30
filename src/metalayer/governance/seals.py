"""Checkpoints of the journal: signed with a key that the database does not hold, and kept in a file outside of it.

Whoever can write to the database can rewrite its chain of hashes, and cannot sign it. Whoever holds the key and the
anchor file as well can: keep the file where only adding is allowed, on another machine, to be sure against your own
administrators too.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.errors import UsageError
from metalayer.governance.journal import Verdict, statement, verify
from metalayer.metastore import journal
from metalayer.metastore.facts import Connection
from metalayer.metastore.journal import Checkpoint

if TYPE_CHECKING:
    from nacl.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Seals:
    """Where the key and the anchor file are.

    Attributes:
        key: the file of the signing key; it is made when it is first needed, and readable for its owner only.
        anchor: the file to which every checkpoint is added.
    """

    key: Path
    anchor: Path

    def seal(self, connection: Connection) -> Checkpoint | None:
        """Sign the end of the chain and keep it in both places; None where nothing was added since the last time.

        Raises:
            UsageError: the key is not readable, or is readable for others.
        """
        head = journal.head(connection)
        last = journal.last_checkpoint(connection)
        if head.number == 0 or (last is not None and last.number >= head.number):
            return None
        key = self._signing_key()
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        unsigned = Checkpoint(head.number, head.hash, at, bytes(key.verify_key).hex(), b"")
        made = replace(unsigned, signature=key.sign(statement(head.journal_id, unsigned)).signature)
        if journal.record_checkpoint(connection, made):
            self._add(made)
        return made

    def seal_if_due(self, connection: Connection, *, entries: int = 1000, seconds: float = 600) -> Checkpoint | None:
        """Seal where many entries were added since the last time, or where that was long ago."""
        head, last = journal.head(connection), journal.last_checkpoint(connection)
        if last is not None and head.number - last.number < entries:
            age = datetime.now(UTC) - datetime.fromisoformat(last.at)
            if age.total_seconds() < seconds or head.number == last.number:
                return None
        return self.seal(connection)

    def verify(self, connection: Connection) -> Verdict:
        """Walk the whole journal at one moment and compare it with all that was signed of it.

        Raises:
            UsageError: the key or the anchor cannot be read.
        """
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            head = journal.head(connection)
            known = {bytes(self._signing_key().verify_key).hex()} if self.key.exists() else set()

            def signed(checkpoint: Checkpoint) -> bool:
                return checkpoint.key in known and _is_signed(head.journal_id, checkpoint)

            return verify(
                journal.entries(connection), head, journal.checkpoints(connection), self.anchored(), signed=signed
            )

    def anchored(self) -> Sequence[Checkpoint]:
        """Return the checkpoints of the anchor file.

        Raises:
            UsageError: a line of it is no checkpoint.
        """
        try:
            lines = self.anchor.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"The anchor {self.anchor} cannot be read.", hint="Let this user read it.") from error
        return tuple(self._read(number, line) for number, line in enumerate(lines, start=1) if line.strip())

    def _read(self, number: int, line: str) -> Checkpoint:
        try:
            value = json.loads(line)
            return Checkpoint(
                int(value["number"]),
                bytes.fromhex(value["hash"]),
                str(value["at"]),
                str(value["key"]),
                bytes.fromhex(value["signature"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"Line {number} of the anchor {self.anchor} is no checkpoint.",
                hint="Somebody changed the file: compare it with a copy.",
            ) from error

    def _add(self, made: Checkpoint) -> None:
        value = {
            "number": made.number,
            "hash": made.hash.hex(),
            "at": made.at,
            "key": made.key,
            "signature": made.signature.hex(),
        }
        self.anchor.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.anchor, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps(value).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _signing_key(self) -> SigningKey:
        from nacl.signing import SigningKey  # noqa: PLC0415 - signing is rare, and importing it is not cheap

        with suppress(FileExistsError):
            self.key.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, base64.b64encode(bytes(SigningKey.generate())) + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        try:
            if self.key.stat().st_mode & 0o077:
                raise UsageError(
                    f"The journal's key {self.key} is readable for others.", hint=f"Run: chmod 600 {self.key}"
                )
            return SigningKey(base64.b64decode(self.key.read_text("ascii").strip(), validate=True))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"The journal's key {self.key} cannot be read.", hint="Restore it from where it is kept."
            ) from error


def _is_signed(journal_id: str, checkpoint: Checkpoint) -> bool:
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - signing is rare, and importing it is not cheap
    from nacl.signing import VerifyKey  # noqa: PLC0415 - as above

    try:
        VerifyKey(bytes.fromhex(checkpoint.key)).verify(statement(journal_id, checkpoint), checkpoint.signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
