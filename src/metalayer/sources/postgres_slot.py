"""What change capture has at a PostgreSQL server: a publication and a slot for each table, made, looked at and dropped.

Both are named for the project, the environment and the table, so that no environment takes the changes of another. The
publication's own number tells one life of a capture from the next: who makes the publication anew asks for a new
snapshot. Changes are only looked at here, never consumed; the slot moves on when it is told what is committed. Rows
pass through as bytes, in files. Passwords never leave: an error tells the server, not the address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.names import literal, quote
from metalayer.core.source import Surroundings
from metalayer.sources.looks import Place, missing, names_of
from metalayer.sources.postgres_types import OwnType

if TYPE_CHECKING:
    import psycopg

_LONGEST_NAME = 63
_WAIT = "60s"
"""How long the server may wait for transactions that began before a slot is made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table of which changes are captured, and by what names.

    Attributes:
        place: where the database is.
        table: the table, with its schema where it has one.
        name: the name of its slot and its publication.
        owner: who captures: tells this installation from others that have the same project and environment.
        here: what the table is called here, without its layer: as verbs take it.
    """

    place: Place
    table: str
    name: str
    owner: str
    here: str

    @property
    def path(self) -> str:
        """Return the table as SQL."""
        return ".".join(map(quote, names_of(self.table)))


@dataclass(frozen=True, slots=True)
class ServerColumn:
    """A column as the catalog has it: its type's number, what that is qualified by, and how deep its lists are."""

    name: str
    type: int
    modifier: int
    depth: int
    is_generated: bool
    is_identity: bool


@dataclass(frozen=True, slots=True)
class ServerTable:
    """A table as the catalog has it.

    Attributes:
        number: its number.
        kind: r(elation), p(artitioned) or what else there is.
        identity: d(efault), i(ndex), f(ull) or n(othing): what tells of an old row.
        is_logged: whether its changes stand in the server's log.
        blind: a partition that does not tell which row was updated or deleted; empty where there is none.
        columns: its columns.
    """

    number: int
    kind: str
    identity: str
    is_logged: bool
    blind: str
    columns: tuple[ServerColumn, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: up to where it is confirmed, whether the server still has what follows, and what it keeps."""

    confirmed: int
    is_lost: bool
    lost_why: str
    is_active: bool
    held_bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server stands to a capture.

    Attributes:
        end: the end of what the server has written, as a number.
        system: the server's own identifier; with another one it is another server.
        timeline: grows when a server is restored or a standby takes over.
        slot: None where there is none.
        life: the publication's number; None where there is none.
        owner: who made it, as it says itself; empty where it does not.
        level: the server's wal_level.
    """

    end: int
    system: str
    timeline: int
    slot: Slot | None
    life: int | None
    owner: str
    level: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """A snapshot joined to a slot: what was committed before ``at`` is in the snapshot, all else in the slot.

    ``moment`` lies before both, in microseconds since 1970.
    """

    at: int
    moment: int


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of a table's rows: how many the server sent, and the size of the longest."""

    rows: int
    longest: int


def name_of(around: Surroundings, table: str) -> str:
    """Return the name of a table's slot and publication.

    >>> name_of(Surroundings("", "Shop", "prod", "bronze.crm_customers"), "customers")
    'metalayer_shop_prod_crm_customers'
    """
    words = (around.project, around.environment, around.table.partition(".")[2] or table)
    plain = "_".join(re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in ("metalayer", *words) if word)
    exact = "\n".join(words)
    if len(plain) <= _LONGEST_NAME and all(re.fullmatch(r"[a-zA-Z0-9_]*", word) for word in words):
        return plain
    return f"{plain[: _LONGEST_NAME - 9]}_{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def owner_of(around: Surroundings) -> str:
    """Return a sign of the installation: the same for as long as its own database is reached the same way."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - only projects that capture changes need it

    known = conninfo_to_dict(around.database) if around.database else {}
    said = "\n".join(str(known.get(word, "")) for word in ("host", "port", "dbname"))
    return hashlib.sha256(f"{around.project}\n{around.environment}\n{said}".encode()).hexdigest()[:12]


@contextmanager
def connected(wanted: Wanted) -> Iterator[Server]:
    """Have a connection on which values are written in one way, whatever the server's settings are.

    A long reading is not broken off by them, and rows that a policy of the server hides are an error, not left out: the
    stream would have them.

    Raises:
        SourceUnavailableError: the server does not answer, or refuses.
    """
    import psycopg  # noqa: PLC0415 - as above

    try:
        with psycopg.connect(wanted.place.address, autocommit=True, **_patience(wanted)) as connection:
            connection.execute(
                "SELECT set_config(name, value, false) FROM (VALUES ('client_encoding', 'UTF8'), "
                "('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), "
                "('bytea_output', 'hex'), ('extra_float_digits', '1'), ('statement_timeout', '0'), "
                "('idle_in_transaction_session_timeout', '0'), ('row_security', 'off')) "
                "AS settings (name, value)"
            )
            yield Server(connection, wanted)
    except psycopg.Error as error:
        raise refused(wanted, error) from None


def _patience(wanted: Wanted) -> dict[str, Any]:
    return {} if "connect_timeout" in wanted.place.address else {"connect_timeout": 10}


def refused(wanted: Wanted, error: psycopg.Error) -> SourceError:
    """Return what a refusal of the server means, with what helps."""
    said = " ".join(str(error).split()).replace(wanted.place.address, "…")[:300]
    match error.sqlstate:
        case "42501":
            return SourceError(
                f"{wanted.place.shown} does not let its user capture changes of {wanted.table}: {said}",
                hint="Give the user REPLICATION and SELECT on the table, and let it own the table or be given the "
                f"publication: CREATE PUBLICATION {wanted.name} FOR TABLE {wanted.path};",
            )
        case "53400":
            return SourceError(
                f"{wanted.place.shown} has no room for another slot: {said}",
                hint="Raise max_replication_slots and restart the server, or drop slots that nobody reads.",
            )
        case "55000" if "wal_level" in said:
            return level_error(wanted)
        case "55006":
            return SourceUnavailableError(
                f"The slot {wanted.name} is being read by another process.",
                hint="Wait until the other run has ended. Two installations must not have one project's name and "
                "environment.",
            )
        case "55P03":
            return SourceUnavailableError(
                f"{wanted.place.shown} has transactions that began before and do not end: a snapshot of "
                f"{wanted.table} has to wait for them.",
                hint="Look at pg_stat_activity for transactions that stay open, then run again.",
            )
        case "55000" if "max_slot_wal_keep_size" in said or "invalidat" in said or "no longer" in said:
            return lost(wanted, said)
    return SourceUnavailableError(
        f"{wanted.place.shown} cannot be read: {said}",
        hint="See that the server runs, that the address and the password are right, and that the user may read there.",
    )


def level_error(wanted: Wanted) -> SourceError:
    """Return the error that the server writes too little to capture changes."""
    return SourceError(
        f"{wanted.place.shown} does not write what is needed to capture changes (wal_level is not logical).",
        hint="As its superuser: ALTER SYSTEM SET wal_level = logical; and restart the server.",
    )


def lost(wanted: Wanted, why: str) -> SourceError:
    """Return the error that changes are not there any more."""
    return SourceError(
        f"Changes of {wanted.table} are lost: {why}.",
        hint="Take a new snapshot, which also tells what was deleted meanwhile: "
        f"metalayer source setup {wanted.here} --anew",
    )


@dataclass(frozen=True, slots=True)
class Server:
    """A connection to the server that holds the wanted table."""

    connection: Any
    wanted: Wanted

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.connection.execute(sql, values or None).fetchall()
        return rows

    def standing(self) -> Standing:
        """Look at the slot and the publication: one statement."""
        name = self.wanted.name
        ((end, system, timeline, level, life, said, slot_name, *slot),) = self._rows(_STANDING, name, name)
        return Standing(
            end,
            str(system),
            int(str(timeline), 16),
            None if slot_name is None else _slot(*slot),
            life,
            str(said or "").removeprefix(_SAID),
            str(level),
        )

    def table(self) -> ServerTable:
        """Return the table as it is now.

        Raises:
            SourceError: there is none of this name.
        """
        found = self._rows(_TABLE, self.wanted.path)
        if not found:
            known = self._rows(
                "SELECT CASE WHEN schemaname = 'public' THEN '' ELSE schemaname || '.' END || tablename "
                "FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            raise missing(self.wanted.place, self.wanted.table, [str(row[0]) for row in known])
        number, kind, identity, is_logged, blind = found[0]
        columns = tuple(ServerColumn(*row) for row in self._rows(_COLUMNS, number))
        return ServerTable(number, kind, identity, is_logged, blind, columns)

    def types(self, numbers: Sequence[int]) -> dict[int, OwnType]:
        """Return what types that are this server's own are made of."""
        return {number: OwnType(*rest) for number, *rest in self._rows(_TYPES, list(numbers))}

    def publish(self) -> int:
        """Make the publication, anew where there is one; return its number."""
        name, said = quote(self.wanted.name), f"{_SAID}{self.wanted.owner} {self.standing().system}"
        with self.connection.transaction():
            self._do(f"DROP PUBLICATION IF EXISTS {name}")
            self._do(f"CREATE PUBLICATION {name} FOR TABLE {self.wanted.path} WITH (publish_via_partition_root = true)")
            self._do(f"COMMENT ON PUBLICATION {name} IS {literal(said)}")
            ((number,),) = self._rows("SELECT oid::bigint FROM pg_publication WHERE pubname = %s", self.wanted.name)
        return int(number)

    def publishes(self) -> bool:
        """Tell whether the publication has the table with all its rows and all that is done to them."""
        found = self._rows(
            "SELECT pubinsert AND pubupdate AND pubdelete AND (pubviaroot OR "
            "NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'p')) "
            "FROM pg_publication AS p WHERE pubname = %s AND "
            "(puballtables OR EXISTS (SELECT 1 FROM pg_publication_tables AS t "
            "WHERE t.pubname = p.pubname AND to_jsonb(t) ->> 'rowfilter' IS NULL "
            "AND to_regclass(format('%%I.%%I', schemaname, tablename)) = to_regclass(%s)))",
            self.wanted.path,
            self.wanted.name,
            self.wanted.path,
        )
        return bool(found and found[0][0])

    def withdraw(self) -> tuple[bool, bool]:
        """Drop the slot and the publication; tell which of them were there."""
        slot = self.drop_slot()
        standing = self.standing()
        if standing.life is not None:
            self._do(f"DROP PUBLICATION IF EXISTS {quote(self.wanted.name)}")
        return slot, standing.life is not None

    def drop_slot(self) -> bool:
        """Drop the slot if there is one."""
        found = self._rows(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            self.wanted.name,
        )
        return bool(found)

    def advance(self, to: int) -> None:
        """Let the server forget what is committed. What it has forgotten already stays so."""
        self._rows(
            "SELECT pg_replication_slot_advance(slot_name, %s::text::pg_lsn) FROM pg_replication_slots "
            "WHERE slot_name = %s AND confirmed_flush_lsn < %s::text::pg_lsn",
            lsn_text(to),
            self.wanted.name,
            lsn_text(to),
        )

    def changes(self, to: int, most: int) -> Iterator[bytes]:
        """Yield the messages of whole transactions that the slot holds, without consuming them.

        No transaction that begins after one with ``most`` messages in all is given, nor one that ends behind ``to``.
        """
        import psycopg  # noqa: PLC0415 - as above

        asked = (
            f"SELECT data FROM pg_logical_slot_peek_binary_changes({literal(self.wanted.name)}, "
            f"{literal(lsn_text(to))}, {most}, 'proto_version', '1', "
            f"'publication_names', {literal(quote(self.wanted.name))})"
        )
        many = psycopg.capabilities.has_stream_chunked()
        with self.connection.cursor(binary=True) as cursor:
            for row in cursor.stream(asked, size=1000 if many else 1):
                yield row[0]

    def has_changes(self, to: int) -> bool:
        """Tell whether the slot holds a change up to a place; True also where another is reading it."""
        import psycopg  # noqa: PLC0415 - as above

        kinds = ", ".join(map(str, b"IUDT"))
        try:
            ((found,),) = self._rows(
                "SELECT EXISTS (SELECT FROM pg_logical_slot_peek_binary_changes(%s, %s::text::pg_lsn, NULL, "
                "'proto_version', '1', 'publication_names', %s) AS message "
                f"WHERE get_byte(message.data, 0) IN ({kinds}))",
                self.wanted.name,
                lsn_text(to),
                quote(self.wanted.name),
            )
        except psycopg.errors.ObjectInUse:
            return True
        return bool(found)

    def copy(self, columns: Sequence[str], path: str) -> Copied:
        """Write the table's rows into a file of lines.

        Raises:
            OSError: the file cannot be written.
        """
        signs = "DELIMITER E'\\x1f', QUOTE E'\\x1e', ESCAPE E'\\x1e', NULL E'\\x1d'"
        asked = f"COPY (SELECT {', '.join(columns)} FROM {self.wanted.path}) TO STDOUT (FORMAT csv, {signs})"
        longest = count = 0
        with (
            open(path, "wb", buffering=1 << 20) as file,  # noqa: PTH123 - a path of the spool
            self.connection.cursor() as cursor,
            cursor.copy(asked) as rows,
        ):
            for count, piece in enumerate(rows, start=1):  # noqa: B007 - the server sends each row as one piece
                longest = max(longest, len(piece))
                file.write(piece)
        return Copied(count, longest)

    @contextmanager
    def snapshot(self) -> Iterator[Beginning]:
        """Make the slot, and read as the table was at its beginning for as long as this lasts.

        Raises:
            psycopg.Error: the server refuses, or what began before does not end in time.
        """
        import psycopg  # noqa: PLC0415 - as above

        ((moment,),) = self._rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        given = {"replication": "database", "options": f"-c lock_timeout={_WAIT}", **_patience(self.wanted)}
        with psycopg.connect(self.wanted.place.address, autocommit=True, **given) as walsender:
            asked = f"CREATE_REPLICATION_SLOT {quote(self.wanted.name)} LOGICAL pgoutput EXPORT_SNAPSHOT"
            result = walsender.pgconn.exec_(asked.encode())  # such a connection takes plain statements only
            if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                raise psycopg.errors.error_from_result(result)
            at, exported = (bytes(result.get_value(0, column) or b"").decode() for column in (1, 2))
            with self.connection.transaction():
                self._do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._do(f"SET TRANSACTION SNAPSHOT {literal(exported)}")
                yield Beginning(lsn_number(at), moment)

    def _do(self, sql: str) -> None:
        self.connection.execute(sql)


def _slot(confirmed: int | None, status: str | None, why: str | None, active: object, held: int | None) -> Slot:
    is_lost = status == "lost" or why is not None or confirmed is None
    return Slot(confirmed or 0, is_lost, why or "the server did not keep them", bool(active), max(0, held or 0))


def lsn_number(text: str) -> int:
    """Return a place in the server's log as a number.

    >>> lsn_number("1/A0"), lsn_text(4294967456)
    (4294967456, '1/A0')
    """
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(number: int) -> str:
    """Return a place in the server's log as people see it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


_SAID = "MetaLayer captures changes: "

_STANDING = """
WITH log AS (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS place
)
SELECT (place - '0/0'::pg_lsn)::bigint, (SELECT system_identifier::text FROM pg_control_system()),
    CASE WHEN pg_is_in_recovery() THEN '0' ELSE left(pg_walfile_name(place), 8) END,
    current_setting('wal_level'), p.oid::bigint, obj_description(p.oid, 'pg_publication'),
    s.slot_name::text, (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, to_jsonb(s) ->> 'wal_status',
    to_jsonb(s) ->> 'invalidation_reason', s.active, (place - s.restart_lsn)::bigint
FROM log
LEFT JOIN pg_publication AS p ON p.pubname = %s
LEFT JOIN pg_replication_slots AS s ON s.slot_name = %s
"""

_BLIND = """(c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
    SELECT 1 FROM pg_index AS x WHERE x.indrelid = c.oid AND x.indisprimary))"""

_TABLE = f"""
SELECT t.oid::bigint, t.relkind::text, t.relreplident::text, t.relpersistence = 'p',
    coalesce((SELECT min(c.oid::regclass::text) FROM pg_partition_tree(t.oid) AS tree JOIN pg_class AS c
              ON c.oid = tree.relid WHERE t.relkind = 'p' AND tree.isleaf AND {_BLIND}), '')
FROM pg_class AS t WHERE t.oid = to_regclass(%s)
"""

_COLUMNS = """
SELECT a.attname::text, a.atttypid::bigint, a.atttypmod, a.attndims::int, a.attgenerated <> '',
    c.relreplident = 'f' OR EXISTS (
        SELECT 1 FROM pg_index AS x WHERE x.indrelid = c.oid AND a.attnum = ANY (x.indkey)
        AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END)
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_TYPES = """
WITH RECURSIVE found AS (
    SELECT oid AS asked, oid, typtype, typbasetype, -1 AS modifier, typtypmod, typelem, typcategory
    FROM pg_type WHERE oid = ANY (%s::oid[])
    UNION ALL
    SELECT found.asked, below.oid, below.typtype, below.typbasetype,
        CASE WHEN found.modifier >= 0 THEN found.modifier ELSE found.typtypmod END, below.typtypmod,
        below.typelem, below.typcategory
    FROM found JOIN pg_type AS below ON below.oid = found.typbasetype WHERE found.typtype = 'd'
)
SELECT asked::bigint, oid::bigint, modifier, CASE WHEN typcategory = 'A' THEN typelem ELSE 0 END::bigint
FROM found WHERE typtype <> 'd'
"""
