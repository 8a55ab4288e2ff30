"""PostgreSQL's own change messages (pgoutput, version 1) as lines that the engine reads: one line for each change.

A table's messages are split by code that is made for its number of columns: measured, that is cheaper than splitting
them in the engine, and reading lines is what the engine is best at. What a value means is left to the engine: here it
stays the text that PostgreSQL wrote. Nothing here talks to a server.

A line holds the change's number, its operation, its moment (microseconds since 1970), the places of values that did
not come because they are unchanged, and the values.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

SEPARATOR, QUOTE, NULL = b"\x1f", b"\x1e", b"\x1d"
"""Signs that hardly ever stand in a text: lines that hold none in a value need no quotes, which is most of the work."""

_EPOCH = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000 on."""

_CHUNK_BYTES = 4_000_000
_INSERT, _UPDATE, _DELETE, _BEGIN, _COMMIT, _RELATION, _TRUNCATE = b"IUDBCRT"
_OLD_KEY, _OLD_ROW, _NEW_ROW = b"KON"
_NULL, _UNCHANGED, _TEXT = b"nut"
_VALUES = 8
"""Where the first value of a row stands that comes without an old one."""

_WORDS = {_INSERT: b"insert", _UPDATE: b"update"}
_CHANGES = frozenset((_INSERT, _UPDATE, _DELETE))
_SPECIAL = (b"\n", b"\r", SEPARATOR, QUOTE, NULL)


@dataclass(frozen=True, slots=True)
class SentColumn:
    """A column as the server describes it: ``type`` and ``modifier`` as in its catalog, ``is_identity`` for its key."""

    name: str
    type: int
    modifier: int
    is_identity: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table's rows come: ``identity`` is d(efault), i(ndex), f(ull) or n(othing)."""

    columns: tuple[SentColumn, ...]
    identity: str

    @property
    def identity_places(self) -> tuple[int, ...]:
        """Return the places of the columns that tell a row from others."""
        return tuple(place for place, column in enumerate(self.columns) if column.is_identity)


@dataclass(frozen=True, slots=True)
class Lines:
    """A file of lines of one shape: how many, the longest one's bytes, and where values did not always come."""

    path: str
    shape: Shape
    rows: int
    longest: int
    unchanged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Spooled:
    """What came of a stream.

    Attributes:
        files: lines in their order.
        rows: how many there are.
        last: the number of the last change.
        changed_at: the moment of the latest transaction.
        reached: the end of the last transaction, as a number; 0 where none came.
        passed: transactions that were there but lie before the beginning.
        truncates: numbers of the moments at which the table was emptied, with their times.
        chains: a file of lines (number, chain, the first key's values) for changes of rows whose key has changed.
        chained: how many values a key has in that file; 0 where there is none.
        longest: the longest line's bytes.
        messages: how many messages came.
    """

    files: tuple[Lines, ...] = ()
    rows: int = 0
    last: int = 0
    changed_at: int = 0
    reached: int = 0
    passed: int = 0
    truncates: tuple[tuple[int, int], ...] = ()
    chains: str = ""
    chained: int = 0
    longest: int = 0
    messages: int = 0


class MessageError(ValueError):
    """A message is not what the protocol says."""


TRUNCATED = 1_000_000_000
"""Numbers that are kept free for the deletes that a truncation stands for."""


def shape_of(message: bytes) -> tuple[int, Shape]:
    """Return the table's number and its shape, as a relation message tells it."""
    (relation,) = struct.unpack_from(">I", message, 1)
    schema_end = message.index(b"\0", 5)
    name_end = message.index(b"\0", schema_end + 1)
    identity = chr(message[name_end + 1])
    (count,) = struct.unpack_from(">H", message, name_end + 2)
    at, columns = name_end + 4, []
    for _ in range(count):
        end = message.index(b"\0", at + 1)
        type_, modifier = struct.unpack_from(">Ii", message, end + 1)
        columns.append(SentColumn(message[at + 1 : end].decode(), type_, modifier, bool(message[at] & 1)))
        at = end + 9
    return relation, Shape(tuple(columns), identity)


def values_of(message: bytes, at: int) -> tuple[list[bytes | int | None], int]:
    """Return the values of a row that begins at a place, and the place behind it; an unchanged one is a number."""
    (count,) = struct.unpack_from(">H", message, at)
    at += 2
    values: list[bytes | int | None] = []
    for _ in range(count):
        kind = message[at]
        if kind == _TEXT:
            (length,) = struct.unpack_from(">I", message, at + 1)
            values.append(message[at + 5 : at + 5 + length])
            at += 5 + length
        elif kind == _NULL:
            values.append(None)
            at += 1
        elif kind == _UNCHANGED:
            values.append(_UNCHANGED)
            at += 1
        else:
            raise MessageError(f"a value of an unknown kind: {kind}")
    return values, at


Split = Callable[[bytes, int, bytes], "bytes | None"]
"""Make a line of a message's row: the message, the place of its first value, and what the line begins with. Values
stand unquoted; None where one is unchanged."""


def splitter(count: int) -> Split:
    """Return a function that splits rows of so many columns: one pass, no loop, one name for each value."""
    body = ["def split(b, o, p, U=U):"]
    returned = f"return S(({', '.join(['p', *(f'v{place}' for place in range(count))])},))"
    # Of a short message each value's length is one byte.
    for condition, end in (("len(b) < 256", "o + 5 + b[o + 4]"), ("True", "o + 5 + U(b, o + 1)[0]")):
        body.append(f" if {condition}:")
        for place in range(count):
            body += [
                "  k = b[o]",
                f"  if k == {_TEXT}: e = {end}; v{place} = b[o + 5:e]; o = e",
                f"  elif k == {_NULL}: v{place} = N; o += 1",
                "  else: return None",
            ]
        body.append(f"  {returned}")
    given = {"U": struct.Struct(">I").unpack_from, "N": NULL, "S": SEPARATOR.join}
    exec("\n".join(body), given)  # noqa: S102 - made of numbers alone
    return given["split"]  # type: ignore[return-value]


def quoted(value: bytes) -> bytes:
    """Return a value as it stands in a line."""
    if any(sign in value for sign in _SPECIAL):
        return QUOTE + value.replace(QUOTE, QUOTE + QUOTE) + QUOTE
    return value


def list_as_json(text: bytes) -> bytes:
    """Return PostgreSQL's text of an array as JSON, each element a text or null.

    >>> list_as_json(b'{{1,NULL},{"a, b","NULL"}}')
    b'[["1",null],["a, b","NULL"]]'
    """
    given = text.decode()
    at = given.index("{")  # before it may stand the bounds: [0:1]={…}
    stack: list[list[object]] = []
    top: list[object] = []
    while at < len(given):
        sign = given[at]
        if sign == "{":
            stack.append(top)
            top = []
            at += 1
        elif sign == "}":
            outer = stack.pop()
            outer.append(top)
            top = outer
            at += 1
        elif sign in ",;":
            at += 1
        elif sign == '"':
            letters = []
            at += 1
            while given[at] != '"':
                at += given[at] == "\\"
                letters.append(given[at])
                at += 1
            top.append("".join(letters))
            at += 1
        else:
            end = at
            letters = []
            while given[end] not in ",;}":
                end += given[end] == "\\"
                letters.append(given[end])
                end += 1
            word = "".join(letters)
            top.append(None if word == "NULL" else word)
            at = end
    return json.dumps(top[0], separators=(",", ":")).encode()


@dataclass(slots=True)
class _File:
    """Lines of one shape that are being written."""

    path: str
    shape: Shape
    stream: BinaryIO
    lists: tuple[int, ...]
    rows: int = 0
    longest: int = 0
    unchanged: set[int] = field(default_factory=set)
    lines: list[bytes] = field(default_factory=list)
    kept: list[tuple[bytes, bytes]] = field(default_factory=list)

    def write(self, prefix: bytes, values: Sequence[bytes | None]) -> None:
        """Write a line of values that may need quotes."""
        self.flush()
        given = [NULL if value is None else quoted(value) for value in values]
        line = SEPARATOR.join((prefix, *given)) + b"\n"
        self.longest = max(self.longest, len(line))
        self.stream.write(line)
        self.rows += 1

    def flush(self) -> None:
        """Write the lines that are kept, with quotes where a value holds a sign that means something."""
        if not self.lines:
            return
        text = b"\n".join(self.lines)
        if not self._is_plain(text):
            self.lines[:] = [self._careful(*item) for item in self.kept]
            text = b"\n".join(self.lines)
        self.longest = max(self.longest, *map(len, self.lines))
        self.stream.write(text)
        self.stream.write(b"\n")
        self.rows += len(self.lines)
        self.lines.clear()
        self.kept.clear()

    def _is_plain(self, text: bytes) -> bool:
        """Tell whether every sign that means something was put there by us, by counting what has to be there."""
        rows, width = len(self.lines), len(self.shape.columns)
        # A text costs five bytes more in a message than in a line, a NULL as many; what a line has beside is known.
        sent = sum(len(message) - _VALUES for _, message in self.kept)
        own = sum(len(prefix) + width for prefix, _ in self.kept)
        texts = (sent - (len(text) - (rows - 1) - own)) // 5
        nulls = rows * width - texts
        return (
            text.count(b"\n") == rows - 1
            and b"\r" not in text
            and QUOTE not in text
            and text.count(NULL) == nulls + rows
            and text.count(SEPARATOR) == rows * (width + 3)
        )

    def _careful(self, prefix: bytes, message: bytes) -> bytes:
        values, _ = values_of(message, _VALUES - 2)
        given = [NULL if value is None else quoted(value) for value in values if not isinstance(value, int)]
        return SEPARATOR.join((prefix, *given))


class Spooler:
    """Writes one table's changes as lines, transaction by transaction; used for one stream and then left.

    It is told where the lines before ended: transactions that lie before ``after`` are passed over, moments never go
    back behind ``changed_at``, and numbers go on from ``last``.
    """

    def __init__(
        self,
        directory: str,
        relation: int,
        *,
        after: int,
        changed_at: int,
        last: int,
        key: Sequence[str] = (),
        is_list: Callable[[int], bool] = lambda number: False,  # noqa: ARG005 - no type is
    ) -> None:
        """Begin; ``key`` names the columns of the declared key, ``is_list`` tells types whose texts are arrays."""
        self._directory, self._relation, self._after = directory, relation, after
        self._changed_at, self._last = changed_at, last
        self._key, self._is_list = tuple(key), is_list
        self._shape: Shape | None = None
        self._split: Split | None = None
        self._key_places: tuple[int, ...] = ()
        self._lists: tuple[int, ...] = ()
        self._files: list[_File] = []
        self._file: _File | None = None
        self._truncates: list[tuple[int, int]] = []
        self._chains = _Chains()
        self._reached = self._passed = 0
        self._passing, self._stamp = False, b""
        self._messages = 0

    def take(self, messages: Iterable[bytes]) -> Spooled:
        """Take messages until there are none, and say what came of them.

        Raises:
            MessageError: a message is not what the protocol says.
        """
        try:
            self._take(messages)
        finally:
            for file in self._files:
                file.flush()
                file.stream.close()
        chains = self._chains.write(f"{self._directory}/chains")
        return Spooled(
            tuple(Lines(f.path, f.shape, f.rows, f.longest, frozenset(f.unchanged)) for f in self._files if f.rows),
            sum(file.rows for file in self._files),
            self._last,
            self._changed_at,
            self._reached,
            self._passed,
            tuple(self._truncates),
            chains,
            self._chains.width,
            max((file.longest for file in self._files), default=0),
            self._messages,
        )

    def _take(self, messages: Iterable[bytes]) -> None:
        count = size = 0
        heads, file, split = self._heads(), self._file, self._split
        for count, message in enumerate(messages, start=1):  # noqa: B007 - told at the end
            rest = heads.get(message[:6])
            if rest is None or file is None or split is None:
                self._other(message)
                heads, file, split = self._heads(), self._file, self._split
                continue
            self._last += 1
            prefix = b"%d%b" % (self._last, rest)
            line = split(message, _VALUES, prefix)
            if line is None:
                self._row(message, prefix)
                continue
            file.lines.append(line)
            file.kept.append((prefix, message))
            size += len(line)
            if size >= _CHUNK_BYTES:
                file.flush()
                size = 0
        self._messages = count

    def _heads(self) -> dict[bytes, bytes]:
        """Return how messages of plain rows begin, and what stands behind the number in their lines.

        There are none where each message has to be looked at: of transactions that are passed over, of rows whose key
        has changed, of arrays.
        """
        if self._passing or self._chains or self._split is None:
            return {}
        number = self._relation.to_bytes(4, "big")
        return {
            bytes([kind]) + number + bytes([_NEW_ROW]): b"\x1f%b\x1f%b\x1f\x1d" % (word, self._stamp)
            for kind, word in _WORDS.items()
        }

    def _other(self, message: bytes) -> None:
        """Take a message that is no plain row, or the first one of its shape."""
        kind = message[0]
        if kind == _BEGIN:
            final, moment = struct.unpack_from(">Qq", message, 1)
            self._passing = final < self._after
            self._passed += self._passing
            if not self._passing:
                self._changed_at = max(self._changed_at, moment + _EPOCH)
                self._stamp = b"%d" % self._changed_at
        elif kind == _RELATION:
            self._describe(message)
        elif self._passing:
            return
        elif kind == _COMMIT:
            (self._reached,) = struct.unpack_from(">Q", message, 10)
        elif kind == _TRUNCATE:
            self._truncate(message)
        elif kind in _CHANGES and int.from_bytes(message[1:5], "big") == self._relation:
            self._change(kind, message)

    def _change(self, kind: int, message: bytes) -> None:
        if kind == _DELETE:
            values, _ = values_of(message, 6)
            self._last += 1
            self._write(b"%d\x1fdelete\x1f%b\x1f\x1d" % (self._last, self._stamp), values)
            self._chains.end(self._identity(values))
        elif message[5] == _NEW_ROW:
            self._last += 1
            self._row(message, b"%d\x1f%b\x1f%b\x1f\x1d" % (self._last, _WORDS[kind], self._stamp))
        else:
            self._update(message)

    def _row(self, message: bytes, prefix: bytes) -> None:
        values, _ = values_of(message, _VALUES - 2)
        self._chains.follow(self._last, self._identity(values))
        self._write(prefix, values)

    def _describe(self, message: bytes) -> None:
        relation, shape = shape_of(message)
        if relation == self._relation and shape != self._shape:
            self._shape, self._file = shape, None
            names = [column.name for column in shape.columns]
            self._key_places = tuple(names.index(name) for name in self._key if name in names)
            self._lists = tuple(place for place, c in enumerate(shape.columns) if self._is_list(c.type))
            self._split = None if self._lists else splitter(len(names))

    def _opened(self) -> _File:
        if self._file is None:
            if self._shape is None:
                raise MessageError("a change of a table that was not described")
            path = f"{self._directory}/changes-{len(self._files)}"
            stream = open(path, "wb", buffering=1 << 20)  # noqa: SIM115, PTH123 - closed by `take`
            if self._files:
                self._files[-1].flush()
            self._file = _File(path, self._shape, stream, self._lists)
            self._files.append(self._file)
        return self._file

    def _identity(self, values: Sequence[bytes | int | None]) -> tuple[bytes, ...]:
        if self._shape is None:
            raise MessageError("a change of a table that was not described")
        return tuple(
            bytes(v) if isinstance(v, bytes) else b"" for v in (values[p] for p in self._shape.identity_places)
        )

    def _write(self, prefix: bytes, values: Sequence[bytes | int | None]) -> None:
        """Write a row that is not plain; places of values that did not come stand in the line."""
        file = self._opened()
        missing = [place for place, value in enumerate(values) if isinstance(value, int)]
        given: list[bytes | None] = [None if isinstance(value, int) else value for value in values]
        for place in file.lists:
            text = given[place]
            given[place] = None if text is None else list_as_json(text)
        if missing:
            file.unchanged.update(missing)
            prefix = prefix[:-1] + ("," + ",".join(map(str, missing)) + ",").encode()
        file.write(prefix, given)

    def _update(self, message: bytes) -> None:
        """Write an update that tells the old row or its key: another key is a delete and an insert."""
        if message[5] not in (_OLD_KEY, _OLD_ROW):
            raise MessageError(f"an update with a row of an unknown kind: {message[5]}")
        old, at = values_of(message, 6)
        new, _ = values_of(message, at + 1)
        if message[5] == _OLD_ROW:
            new = [before if isinstance(value, int) else value for value, before in zip(new, old, strict=True)]
        moved = any(not isinstance(new[place], int) and new[place] != old[place] for place in self._key_places)
        if moved:
            self._last += 1
            self._write(b"%d\x1fdelete\x1f%s\x1f\x1d" % (self._last, self._stamp), old)
        self._last += 1
        if message[5] == _OLD_KEY:
            new = [
                before if isinstance(value, int) and before is not None else value
                for value, before in zip(new, old, strict=True)
            ]
            self._chains.move(self._identity(old), self._identity(new))
        self._chains.follow(self._last, self._identity(new))
        self._write(b"%d\x1f%s\x1f%s\x1f\x1d" % (self._last, _WORDS[_INSERT if moved else _UPDATE], self._stamp), new)

    def _truncate(self, message: bytes) -> None:
        count, _ = struct.unpack_from(">IB", message, 1)
        if self._relation in struct.unpack_from(f">{count}I", message, 6):
            self._truncates.append((self._last + 1, self._changed_at))
            self._last += TRUNCATED
            self._chains.clear()


@dataclass(slots=True)
class _Chains:
    """Rows whose key has changed: by which key, and which life of that key, a row was known before this stream.

    A value that did not come because it is unchanged is looked for in the same row's earlier changes; where the row
    then had another key, this tells which.
    """

    roots: dict[tuple[bytes, ...], tuple[int, tuple[bytes, ...]]] = field(default_factory=dict)
    found: list[tuple[int, int, tuple[bytes, ...]]] = field(default_factory=list)
    lives: int = 0
    width: int = 0

    def __bool__(self) -> bool:
        return bool(self.roots)

    def move(self, old: tuple[bytes, ...], new: tuple[bytes, ...]) -> None:
        """Note that a row has another key from here on."""
        self.roots[new] = self.roots.pop(old, (0, old))
        self.end(old)

    def end(self, key: tuple[bytes, ...]) -> None:
        """Note that the next row of this key is another one."""
        if self.roots:
            self.lives += 1
            self.roots[key] = (self.lives, key)

    def follow(self, number: int, key: tuple[bytes, ...]) -> None:
        """Note a change of a row by its number."""
        if key in self.roots:
            self.found.append((number, *self.roots[key]))

    def clear(self) -> None:
        """Forget the rows: the table is empty."""
        self.lives += 1
        self.roots = {key: (self.lives, key) for key in self.roots}

    def write(self, path: str) -> str:
        """Write what was noted, if anything was; return the file's path or an empty text."""
        if not self.found:
            return ""
        self.width = len(self.found[0][2])
        with open(path, "wb") as stream:  # noqa: PTH123 - as above
            stream.writelines(
                SEPARATOR.join((b"%d" % number, b"%d" % life, *map(quoted, key))) + b"\n"
                for number, life, key in self.found
            )
        return path


def read_lines(path: str, columns: Mapping[str, str], longest: int) -> str:
    """Return the table function that reads a file of lines with these columns and types."""
    from metalayer.core.names import literal  # noqa: PLC0415 - kept near its only use

    largest = max(2_000_000, longest + 1_000)
    named = ", ".join(f"{literal(name)}: {literal(type_)}" for name, type_ in columns.items())
    signs = "delim = '\x1f', quote = '\x1e', escape = '\x1e', nullstr = '\x1d'"
    return (
        f"read_csv({literal(path)}, {signs}, header = false, auto_detect = false, allow_quoted_nulls = false, "
        f"new_line = '\\n', max_line_size = {largest}, buffer_size = {max(16_000_000, 2 * largest)}, "
        f"columns = {{{named}}})"
    )


def chunks(rows: Iterator[tuple[bytes, ...]]) -> Iterator[bytes]:
    """Return the messages of rows that hold one each."""
    return (row[0] for row in rows)
