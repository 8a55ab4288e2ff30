"""The journal for those who look into it: found by what is in it, written out whole, sealed and verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime

from metalayer.core.errors import UsageError
from metalayer.core.export import Export
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.governance.access import Access
from metalayer.governance.journal import Verdict
from metalayer.governance.seals import Seals
from metalayer.metastore import journal
from metalayer.metastore.facts import Connection
from metalayer.metastore.journal import Checkpoint, Entry, Wanted

__all__ = ["Audit", "Checkpoint", "Record", "Verdict", "Wanted"]


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the journal: who did what to whom or what, when, and what else is known of it."""

    number: int
    at: datetime
    kind: str
    actor: str
    subject: str
    detail: Mapping[str, object] = field(hash=False)
    hash: str


def record(entry: Entry) -> Record:
    """Read an entry.

    Raises:
        UsageError: its text is not what this program writes.
    """
    try:
        body = json.loads(entry.body)
        at = datetime.fromisoformat(body["at"])
        return Record(
            entry.number, at, body["kind"], body["actor"], body["subject"], body["detail"] or {}, entry.hash.hex()
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"Entry {entry.number} of the journal cannot be read.",
            hint="Look for what was changed: metalayer audit verify",
        ) from error


@dataclass(frozen=True, slots=True)
class Audit:
    """The journal of one environment."""

    connection: Connection
    seals: Seals

    def search(self, wanted: Wanted, *, limit: int = 100) -> tuple[Record, ...]:
        """Return the newest entries that are wanted, the newest first."""
        return tuple(record(entry) for entry in journal.search(self.connection, wanted, limit=limit))

    def export(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield all entries behind a number as they are kept, so that their hashes can be computed again."""
        return journal.entries(self.connection, after=after)

    def seal(self) -> Checkpoint | None:
        """Sign the end of the journal, and keep that in the database and in the anchor file."""
        return self.seals.seal(self.connection)

    def verify(self) -> Verdict:
        """Walk the whole journal and compare it with all that was signed of it."""
        return self.seals.verify(self.connection)

    def note_export(
        self, by: str, export: Export, access: Access, tables: tuple[TableName, ...], snapshot: int
    ) -> None:
        """Write down that tables leave, before they do: where to, as whom they are seen, and what they are tagged."""
        journal.note(
            self.connection,
            "export",
            by,
            export.name,
            {
                "to": export.kind.value,
                "as": export.role,
                "purpose": export.purpose,
                "snapshot": snapshot,
                "tables": {
                    str(table): sorted({tag for seen in access.sight(table).columns for tag in seen.column.tags})
                    for table in tables
                },
            },
        )

    def note_policies(self, project: Project, by: str) -> None:
        """Write down that the policies are others than those that were last in force here, and which."""
        rules = {
            f"{kind} {name}": text
            for kind, found in (
                ("role", project.policies.roles),
                ("mask", project.policies.masks),
                ("filter", project.policies.rows),
                ("purpose", project.policies.purposes),
            )
            for name, text in ((rule.name, _fingerprint(rule)) for rule in found)
        }
        last = journal.last_of(self.connection, "policies.changed")
        before = record(last).detail.get("rules") if last is not None else {}
        known = before if isinstance(before, Mapping) else {}
        if known == rules:
            return
        changed = sorted(name for name in {*rules, *known} if rules.get(name) != known.get(name))
        journal.note(self.connection, "policies.changed", by, project.name, {"changed": changed, "rules": rules})


def _fingerprint(rule: object) -> str:
    return hashlib.sha256(repr(_said(rule)).encode()).hexdigest()[:16]


def _said(value: object) -> object:
    """Return what a rule says in a form that is the same in every process; where it stands is left out."""
    if is_dataclass(value):
        return [(item.name, _said(getattr(value, item.name))) for item in fields(value) if item.name != "location"]
    if isinstance(value, frozenset | set):
        return sorted(str(item) for item in value)
    if isinstance(value, tuple | list):
        return [_said(item) for item in value]
    return str(value)


def moment(text: str) -> str:
    """Return a time as the journal writes it: ISO 8601 in UTC; a time without a zone is in UTC.

    Raises:
        UsageError: it is no time.

    >>> moment("2026-03-01T12:00+01:00")
    '2026-03-01T11:00:00.000000Z'
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is no time.", hint="Write it like 2026-03-01 or 2026-03-01T12:00:00Z.") from error
    zoned = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
