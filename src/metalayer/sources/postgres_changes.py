"""Changes of one PostgreSQL table as a source: a snapshot first, then each change, in the order of their commits.

The slot is read without consuming it; what was read is committed with the place in the server's log that it reaches,
and only then is the slot told. A batch holds whole transactions. What cannot be continued without a gap (a slot that is
gone, lost or was read by somebody else, another server) is an error that names the mend, never passed over.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from metalayer.core.errors import ShortageError, SourceError
from metalayer.core.names import quote
from metalayer.core.schema import CHANGE_CAPTURE, Column, DriftPolicy
from metalayer.core.source import Batch, CaptureStatus, Cursor, Engine, Part, Pending, Position, SetAside, Surroundings
from metalayer.sources import change_rows, pgoutput
from metalayer.sources.looks import Place
from metalayer.sources.postgres_slot import (
    Server,
    ServerTable,
    Standing,
    Wanted,
    connected,
    level_error,
    lost,
    lsn_text,
    name_of,
    owner_of,
    refused,
)
from metalayer.sources.postgres_types import OwnType, is_known, is_list

MOST_MESSAGES = 500_000
"""From how many messages on a batch ends, with the transaction that brings it there."""

_NEAR = 4 << 20
"""Within so many bytes of the server's log it is looked whether a change is the table's; beyond, reading finds out.
It is also how far the server's log may run on before a position moves though nothing came for the table."""


HELD_WARNING = 1 << 30
"""How much of its log a server may keep for a slot before it is told."""


class Course(Enum):
    """What is to be done: begin with a snapshot, begin anew where there was something, or follow the stream."""

    BEGIN = auto()
    ANEW = auto()
    FOLLOW = auto()


def course(wanted: Wanted, standing: Standing, before: Position | None) -> Course:
    """Decide how a capture goes on from what is loaded.

    Raises:
        SourceError: it cannot go on without a gap, or somebody else has it.
    """
    if standing.level != "logical":
        raise level_error(wanted)
    slot, life = standing.slot, standing.life
    system = standing.owner.partition(" ")[2]
    if before is None or "life" not in before:
        belongs(wanted, standing)
        return Course.BEGIN if before is None else Course.ANEW
    if life is None:
        raise lost(wanted, f"the publication {wanted.name} is gone, and what it should have told with it")
    if life != before["life"] and system in {"", standing.system}:
        return Course.ANEW
    if standing.system != before["system"]:
        raise lost(wanted, "this is another server than the one that was read")
    if standing.timeline != before["timeline"] or standing.end < _at(before):
        raise lost(wanted, "the server was restored, or another one took its place")
    if slot is None:
        raise lost(wanted, f"the slot {wanted.name} is gone")
    if slot.is_lost:
        raise lost(wanted, f"the slot {wanted.name} is of no use any more ({slot.lost_why})")
    if slot.confirmed > _at(before):
        there, here = lsn_text(slot.confirmed), lsn_text(_at(before))
        raise lost(wanted, f"somebody else has read the slot {wanted.name} up to {there}, and only {here} is loaded")
    return Course.FOLLOW


def belongs(wanted: Wanted, standing: Standing) -> None:
    """See that nobody else captures under the name.

    Raises:
        SourceError: somebody does.
    """
    owner = standing.owner.partition(" ")[0]
    if standing.life is not None and owner and owner != wanted.owner:
        raise SourceError(
            f"Changes of {wanted.table} are captured by another installation under the same name ({wanted.name}).",
            hint="Give this project or environment another name. To take over: "
            f"metalayer source setup {wanted.here} --anew",
        )


def is_published(server: Server) -> None:
    """See that the publication holds all changes of the table.

    Raises:
        SourceError: it was changed.
    """
    wanted = server.wanted
    if not server.publishes():
        raise lost(wanted, f"the publication {wanted.name} does not hold {wanted.table} with all its changes")


def fits(wanted: Wanted, table: ServerTable, key: Sequence[str]) -> None:
    """See that changes of a table can be told.

    Raises:
        SourceError: they cannot, with what would have to be done at the server.
    """
    name, path = wanted.table, wanted.path
    identity = [column.name for column in table.columns if column.is_identity]
    if table.kind not in {"r", "p"}:
        raise SourceError(f"{name} is no table: it has no changes.", hint="Capture the tables below it.")
    if not table.is_logged:
        raise SourceError(f"{name} is not logged: it has no changes to read.", hint=f"ALTER TABLE {path} SET LOGGED;")
    if not identity or table.blind:
        blind = table.blind or name
        raise SourceError(
            f"{blind} has nothing by which an updated or deleted row is told from others; once it is published, "
            "PostgreSQL would refuse updates of it.",
            hint=f"Give it a primary key, or: ALTER TABLE {path} REPLICA IDENTITY FULL;",
        )
    absent = [column for column in key if column not in identity]
    if absent and table.identity != "f":
        raise SourceError(
            f"The key of {name} has {', '.join(absent)}, but a delete at the server tells only {', '.join(identity)}.",
            hint=f"Let `key` be {', '.join(identity)}, or: ALTER TABLE {path} REPLICA IDENTITY FULL;",
        )


@dataclass(frozen=True, slots=True)
class CaptureSource:
    """The changes of one table.

    Attributes:
        wanted: the table, and how what belongs to it at the server is called.
        columns: the table's columns here: declared, then those that joined it; none where all are taken.
        key: the declared key.
        drift: what happens to columns that are not known.
        most: from how many messages on a batch ends.
    """

    wanted: Wanted
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    drift: DriftPolicy = "evolve"
    most: int = MOST_MESSAGES

    def check(self, cursor: Cursor) -> Pending:
        """Look whether there may be changes that the cursor has not seen.

        Raises:
            SourceError: the capture cannot go on without a gap.
            SourceUnavailableError: the database does not answer.
        """
        name = self.wanted.table
        before = cursor.get(name)
        with connected(self.wanted) as server:
            standing = server.standing()
            if course(self.wanted, standing, before) is not Course.FOLLOW or before is None:
                server.table()
                return Pending(new=(name,)) if before is None else Pending(changed=(name,))
            if standing.end <= _at(before):
                return Pending(unchanged=1)
            is_published(server)
            server.advance(_at(before))
            is_near = standing.end - _at(before) <= _NEAR
            if is_near and not server.has_changes(standing.end):
                return Pending(unchanged=1)
        return Pending(changed=(name,))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield the snapshot where there was none, then what has come since, up to now."""
        before = cursor.get(self.wanted.table)
        with connected(self.wanted) as server:
            standing = server.standing()
            way = course(self.wanted, standing, before)
            rows = _Rows(self, server, engine, standing)
            if way is Course.FOLLOW and before is not None:
                is_published(server)
                position = before
            else:
                batch = rows.begin(before)
                yield batch
                position = batch.parts[0].position
            yield from rows.follow(position)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: what is committed there does not change."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:  # noqa: ARG002 - a `Source`
        """Yield nothing: a stream has no other reading."""
        return iter(())

    def acknowledge(self, cursor: Cursor) -> None:
        """Let the server forget what is committed."""
        position = cursor.get(self.wanted.table)
        if position is not None:
            with connected(self.wanted) as server:
                server.advance(_at(position))

    def setup(self, *, anew: bool = False) -> tuple[str, ...]:
        """Make the publication; the slot is made with the snapshot, by the next run.

        Raises:
            SourceError: changes of the table cannot be captured, or somebody else has the name.
        """
        wanted = self.wanted
        with connected(wanted) as server:
            standing = server.standing()
            if standing.level != "logical":
                raise level_error(wanted)
            fits(wanted, server.table(), self.key)
            done = self._dropped(server) if anew else ()
            if not anew:
                belongs(wanted, standing)
            if not anew and standing.life is not None and server.publishes():
                return (f"the publication {wanted.name} is there",)
            server.publish()
        return (*done, f"made the publication {wanted.name}")

    def teardown(self) -> tuple[str, ...]:
        """Drop the slot and the publication; the server keeps nothing for us then."""
        with connected(self.wanted) as server:
            return self._dropped(server)

    def _dropped(self, server: Server) -> tuple[str, ...]:
        slot, publication = server.withdraw()
        words = (("slot", slot), ("publication", publication))
        return tuple(f"dropped the {word} {self.wanted.name}" for word, was_there in words if was_there)

    def status(self, cursor: Cursor) -> CaptureStatus:
        """Look how the slot and the publication stand, changing nothing.

        Raises:
            SourceUnavailableError: the database does not answer.
        """
        before, wanted = cursor.get(self.wanted.table), self.wanted
        with connected(wanted) as server:
            standing = server.standing()
        slot = standing.slot
        behind = None if before is None or "lsn" not in before else max(0, standing.end - _at(before))
        found = CaptureStatus(
            wanted.name,
            "",
            loaded="" if behind is None or before is None else lsn_text(_at(before)),
            behind_bytes=behind,
            held_bytes=None if slot is None else slot.held_bytes,
        )
        try:
            way = course(wanted, standing, before)
        except SourceError as error:
            return replace(found, state="cannot go on", trouble=error.message, hint=error.hint)
        state = {
            Course.BEGIN: "begins with a snapshot",
            Course.ANEW: "takes a new snapshot",
            Course.FOLLOW: "follows",
        }[way]
        if way is not Course.FOLLOW and slot is not None:
            hint = f"Run it, or let the server forget it: metalayer source teardown {wanted.here}"
            return replace(found, state=state, trouble="the server keeps its log for nobody", hint=hint)
        said = held_too_much(wanted, standing)
        return replace(found, state=state, trouble=said, hint="Run it more often, or see why it fails." if said else "")


def held_too_much(wanted: Wanted, standing: Standing) -> str:
    """Return that the server keeps much of its log for a slot, where it does."""
    held = 0 if standing.slot is None else standing.slot.held_bytes
    if held < HELD_WARNING:
        return ""
    return f"the server keeps {held / 2**30:.1f} GiB of its log for the slot {wanted.name}: its disk may fill up"


def captured(
    place: Place, table: str, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy
) -> CaptureSource:
    """Return a table's changes as a source."""
    here = around.table.partition(".")[2] or table
    wanted = Wanted(place, table, name_of(around, table), owner_of(around), here)
    own = frozenset(column.name for column in CHANGE_CAPTURE)
    most = min(around.batch_rows or MOST_MESSAGES, MOST_MESSAGES)
    return CaptureSource(wanted, tuple(c for c in columns if c.name not in own), around.key, drift, most)


@dataclass(frozen=True, slots=True)
class _Rows:
    """One reading: the source over a connection and an engine."""

    source: CaptureSource
    server: Server
    engine: Engine
    standing: Standing

    def begin(self, before: Position | None) -> Batch:
        """Return the batch of a snapshot, and make the slot that goes on from it.

        What a process left that died here is dropped first: its snapshot was never committed.
        """
        import psycopg  # noqa: PLC0415 - only projects that capture changes need it

        wanted, server = self.source.wanted, self.server
        fits(wanted, server.table(), self.source.key)
        try:
            server.drop_slot()
            life = self.standing.life
            if life is None or not server.publishes():
                life = server.publish()
            with server.snapshot() as beginning:
                table = server.table()
                columns = tuple(column for column in table.columns if not column.is_generated)
                own = self._own_types(table)
                last = int(str((before or {}).get("last", 0)))
                # Room for the deletes of what is not in a later snapshot.
                first = last + 1 + (pgoutput.TRUNCATED if before is not None else 0)
                path = f"{self.engine.spool()}/snapshot"
                fields = [
                    f"to_json({quote(column.name)})" if is_list(column.type, own) else quote(column.name)
                    for column in columns
                ]
                copied = server.copy([f"row_number() OVER () + {first - 1}", *fields], path)
        except psycopg.Error as error:
            raise refused(wanted, error) from None
        except OSError as error:
            raise _no_room(error) from error
        position = {
            "lsn": beginning.at,
            "life": life,
            "last": first - 1 + copied.rows,
            "changed_at": beginning.moment,
            "system": self.standing.system,
            "timeline": self.standing.timeline,
            "slot": wanted.name,
        }
        shape = pgoutput.Shape(
            tuple(pgoutput.SentColumn(c.name, c.type, c.modifier, c.is_identity) for c in columns), table.identity
        )
        lines = pgoutput.Lines(path, shape, copied.rows, copied.longest)
        replaces = before is not None and "life" in before
        return change_rows.snapshot_batch(
            self._captured(table, own),
            lines,
            position,
            moment=beginning.moment,
            gone_at=last + 1 if replaces else None,
            supersedes=before is not None and not replaces,
        )

    def follow(self, position: Position) -> Iterator[Batch]:
        """Yield what has come up to the moment at which the reading began, batch by batch."""
        wanted, server = self.source.wanted, self.server
        end, most = server.standing().end, self.source.most
        table = server.table()
        own = self._own_types(table)
        said = held_too_much(wanted, self.standing)
        while end > _at(position):
            server.advance(_at(position))
            directory = self.engine.spool()
            spooled = self._spooled(directory, table, own, position, (end, most))
            is_all = spooled.messages < most
            reached = max(end, spooled.reached) if is_all else spooled.reached
            moved = {**position, "lsn": reached, "last": spooled.last, "changed_at": spooled.changed_at}
            if spooled.files or spooled.truncates:
                batch = change_rows.changes_batch(self._captured(table, own), spooled, moved)
                yield replace(batch, notes=(said,) if said else ())
                said = ""
                position, most = moved, self.source.most
            elif is_all:
                if reached - _at(position) > _NEAR:
                    yield Batch((), (), touched=(SetAside(wanted.table, moved, "nothing for the table"),))
                return
            else:
                most *= 4  # all of it was loaded before, or is nothing of this table's
            shutil.rmtree(directory, ignore_errors=True)

    def _spooled(
        self, directory: str, table: ServerTable, own: dict[int, OwnType], position: Position, span: tuple[int, int]
    ) -> pgoutput.Spooled:
        import psycopg  # noqa: PLC0415 - as above

        lists = {column.type for column in table.columns if is_list(column.type, own)}
        spooler = pgoutput.Spooler(
            directory,
            table.number,
            after=_at(position),
            changed_at=int(str(position["changed_at"])),
            last=int(str(position["last"])),
            key=self.source.key,
            is_list=lambda number: number in lists or is_list(number, own),
        )
        try:
            return spooler.take(self.server.changes(*span))
        except psycopg.Error as error:
            raise refused(self.source.wanted, error) from None
        except pgoutput.MessageError as error:
            raise SourceError(
                f"{self.source.wanted.place.shown} sent what is not understood: {error}.",
                hint="Please report it with the server's version.",
            ) from error
        except OSError as error:
            raise _no_room(error) from error

    def _captured(self, table: ServerTable, own: dict[int, OwnType]) -> change_rows.Captured:
        source = self.source
        depths = {column.name: column.depth for column in table.columns}
        return change_rows.Captured(source.wanted.table, source.columns, source.key, source.drift, own, depths)

    def _own_types(self, table: ServerTable) -> dict[int, OwnType]:
        unknown = {column.type for column in table.columns if not is_known(column.type)}
        return self.server.types(sorted(unknown)) if unknown else {}


def _at(position: Position) -> int:
    return int(str(position["lsn"]))


def _no_room(error: OSError) -> ShortageError:
    return ShortageError(
        f"What the database sent cannot be kept: {error.strerror}.", hint="Free some space for temporary files."
    )
