"""Which files a declaration means: found by name, known by size, time and content.

Only names, stats and bytes for hashing are read here; nothing is parsed.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.sources.archives import GzipCheck, Search, check_zstd

_MAGIC = re.compile(r"[*?\[]")
_CHUNK = 1 << 19
_SWELLS = 20


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file as it lies there.

    Attributes:
        name: its path relative to the project, with forward slashes; the part of the cursor.
        path: where the engine finds it.
        size: in bytes.
        mtime_ns: when it was last written, in nanoseconds.
        url: where it is fetched from, for one that lies elsewhere; it may hold secrets and is never shown.
        etag: what its content is known by there.
        version: the id of its version there.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    url: str = field(default="", repr=False)
    etag: str = ""
    version: str = ""


def find(patterns: Sequence[str], root: str, suffixes: Sequence[str]) -> tuple[Found, ...]:
    """Return the files that the patterns mean, each once, sorted by name.

    A pattern is a file, a directory (all files of the type in it, at any depth) or a glob with ``*``, ``?``, ``[]`` and
    ``**``. Names that begin with ``.`` or ``_`` are passed over unless the pattern names them.

    Raises:
        SourceError: a file, or the directory in which a pattern looks, does not exist.
        SourceUnavailableError: a directory cannot be read now.
    """
    found: dict[str, Found] = {}
    for pattern in patterns:
        for path in _paths(pattern, root, suffixes):
            try:
                stat = Path(path).stat()
            except FileNotFoundError:
                continue  # it went away while we looked, or is a link to nothing: the next look sees it
            except OSError as error:
                raise SourceUnavailableError(
                    f"'{path}' cannot be looked at: {error.strerror}.", hint="Check the disk and the permissions."
                ) from error
            name = part_name(path, root)
            found[name] = Found(name, path, stat.st_size, stat.st_mtime_ns)
    return tuple(found[name] for name in sorted(found))


def part_name(path: str, root: str) -> str:
    """Return a path as the cursor knows it: relative to the project where it lies inside, with forward slashes."""
    relative = os.path.relpath(path, root)
    name = path if relative.startswith("..") else relative
    return name.replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()


def _paths(pattern: str, root: str, suffixes: Sequence[str]) -> Iterator[str]:
    whole = Path(os.path.normpath(Path(root, Path(pattern).expanduser())))
    if whole.is_file():
        yield str(whole)
        return
    if whole.is_dir():
        for path in _walk(str(whole), ("**", "*"), (_identity(whole.stat()),)):
            if path.lower().endswith(tuple(suffixes)):
                yield path
        return
    steps = whole.parts
    magic = next((place for place, step in enumerate(steps) if _MAGIC.search(step)), None)
    base = Path(*steps[:magic])
    if magic is None or not base.is_dir():
        missing = "such file" if magic is None else f"directory '{base}'"
        raise SourceError(
            f"'{pattern}' does not exist: there is no {missing}.",
            hint="Correct the path (it is relative to the project's directory), or put the files there.",
        )
    yield from _walk(str(base), steps[magic:], (_identity(base.stat()),))


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _walk(directory: str, steps: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the files below a directory that the steps of a pattern lead to; a link to a directory above ends there."""
    step, rest = steps[0], steps[1:]
    deep = step == "**"
    if deep and not rest:
        rest = ("*",)
    if deep:
        yield from _walk(directory, rest, above)
    fits = re.compile(fnmatch.translate(step)).match
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceUnavailableError(
            f"The directory '{directory}' cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    for entry in found:
        hidden = entry.name[0] in "._" and (deep or step[0] != entry.name[0])
        if hidden or not (deep or fits(entry.name)):
            continue
        if not deep and not rest:
            if _leads_to(entry.is_file):
                yield entry.path
        elif _leads_to(entry.is_dir):
            identity = _identity(entry.stat())
            if identity not in above:
                yield from _walk(entry.path, steps if deep else rest, (*above, identity))


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Ask an entry what it is; a link that leads in a circle leads to nothing, like one whose target is gone."""
    try:
        return kind()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


@dataclass(frozen=True, slots=True)
class Content:
    """What a file's bytes are known by.

    Attributes:
        hash: their hash, with the name of what made it before it; without a name it is a SHA-256.
        signs: which of the signs that were asked for occur among them; of what is compressed with zstd, all may.
        size: how many they are when they are not compressed; of what is compressed with zstd, a likely bound.
    """

    hash: str
    signs: frozenset[bytes]
    size: int


class Hashing(Enum):
    """What files are known by: BLAKE3, or the SHA-256 with which a cursor began before that. The value is the name."""

    BLAKE3 = "blake3:"
    SHA256 = ""

    @classmethod
    def of(cls, hashes: Iterable[str]) -> Hashing:
        """Return what made the hashes, so that new ones can be compared with them; the best where there are none.

        >>> Hashing.of(["blake3:af13"]), Hashing.of(["e3b0"])
        (<Hashing.BLAKE3: 'blake3:'>, <Hashing.SHA256: ''>)
        """
        return cls.BLAKE3 if all(hash_.startswith(cls.BLAKE3.value) for hash_ in hashes) else cls.SHA256

    def begin(self) -> _Hash:
        """Return a hash of no bytes yet."""
        if self is Hashing.SHA256:
            return hashlib.sha256()
        from blake3 import blake3  # noqa: PLC0415 - there is a file to read

        return blake3()


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...


def content(
    path: str,
    signs: Iterable[bytes] = (),
    compression: str = "none",
    hashing: Hashing = Hashing.BLAKE3,
) -> Content:
    """Return what a file's bytes are known by.

    BLAKE3 was measured at 4.4 GB/s, SHA-256 at 1.6 with the processor's help; both are safe against what is made to
    collide.

    Raises:
        SourceError: the file is compressed and not whole.
        OSError: it cannot be read.
    """
    hashed = hashing.begin()
    search = Search(signs)
    check = GzipCheck(search) if compression == "gzip" else None
    buffer = bytearray(_CHUNK)  # one for all: fresh memory for each chunk costs as much as a quarter of the hashing
    with Path(path).open("rb", buffering=0) as file, memoryview(buffer) as view:
        while count := file.readinto(buffer):
            hashed.update(view[:count])
            if check is not None:
                check.feed(bytes(view[:count]))
            elif compression == "none":
                search.look(buffer, count)
    if check is not None:
        check.finish()
    elif compression == "zstd":
        check_zstd(path)
    if compression == "zstd":
        return Content(hashing.value + hashed.hexdigest(), frozenset(signs), Path(path).stat().st_size * _SWELLS)
    return Content(hashing.value + hashed.hexdigest(), search.found, search.length)


def engine_path(path: str) -> str:
    """Return an absolute path as the engine must read it so that no sign in it is taken for a pattern."""
    return _MAGIC.sub(lambda sign: f"[{sign.group()}]", path)
