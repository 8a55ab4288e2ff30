"""Files that lie elsewhere: which objects a declaration means, and how they come here for as long as they are read.

An object is known by what its store tells (its ETag, else size and time) until it is fetched, and then by its content,
like any file: the hash is taken of the bytes that were fetched, and these are the bytes that are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from metalayer.core.errors import (
    MissingObjectError,
    ShortageError,
    SourceError,
    SourceUnavailableError,
    StoreError,
    StoreUnavailableError,
)
from metalayer.core.objects import Address, ObjectInfo, StoreAccess, address, is_remote, is_web, shown
from metalayer.core.source import Position
from metalayer.objects import Store, open_store
from metalayer.sources.listing import Found, find

_MAGIC = re.compile(r"[*?\[]")
_AT_ONCE = 8


def find_all(patterns: Sequence[str], root: str, suffixes: Sequence[str], access: StoreAccess) -> tuple[Found, ...]:
    """Return the files and objects that the patterns mean, each once, sorted by name; objects have no path yet.

    Raises:
        SourceError: a file, an object or what a pattern looks in does not exist, or may not be read.
        SourceUnavailableError: a directory or a store cannot be read now.
    """
    local = [pattern for pattern in patterns if not is_remote(pattern)]
    found = {item.name: item for item in find(local, root, suffixes)} if local else {}
    for pattern in patterns:
        if is_web(pattern):
            found[shown(pattern)] = _on_the_web(pattern, access)
        elif is_remote(pattern):
            found |= {item.name: item for item in _in_a_store(address(pattern), suffixes, access)}
    return tuple(found[name] for name in sorted(found))


def _on_the_web(url: str, access: StoreAccess) -> Found:
    from metalayer.objects.web import WebFile  # noqa: PLC0415 - a project without such files does not pay for it

    with _as_source():
        info = WebFile(url, access).head()
    return _found(shown(url), url, info)


def _in_a_store(wanted: Address, suffixes: Sequence[str], access: StoreAccess) -> Iterator[Found]:
    """Yield the objects that a pattern means: one, all below a prefix, or those that fit."""
    with _as_source():
        store = open_store(wanted, access)
        if _MAGIC.search(wanted.key):
            steps = _MAGIC.split(wanted.key, maxsplit=1)[0].rpartition("/")[0]
            listed = store.list(f"{steps}/" if steps else "")
            fits = _pattern(wanted.key)
            chosen = [item for item in listed if fits(item.key)]
        else:
            chosen = _exact(store, wanted)
            if not chosen:
                prefix = f"{wanted.key.rstrip('/')}/" if wanted.key else ""
                listed = store.list(prefix)
                if not listed and prefix:
                    raise SourceError(
                        f"'{wanted}' does not exist: there is neither such an object nor any below it.",
                        hint="Correct the path; what a directory is elsewhere is a prefix here.",
                    )
                fits = _pattern(f"{_escaped(prefix)}**/*")
                chosen = [item for item in listed if fits(item.key) and item.key.lower().endswith(tuple(suffixes))]
    for item in chosen:
        if not item.key.endswith("/"):
            place = Address(wanted.scheme, wanted.bucket, item.key)
            yield _found(str(place), str(place), item)


def _exact(store: Store, wanted: Address) -> list[ObjectInfo]:
    if not wanted.key or wanted.key.endswith("/"):
        return []
    try:
        return [store.head(wanted.key)]
    except MissingObjectError:
        return []


def _escaped(key: str) -> str:
    return _MAGIC.sub(lambda sign: f"[{sign.group()}]", key)


def _pattern(key: str) -> Callable[[str], bool]:
    """Return whether a key fits a pattern, by the rules for files: ``*`` within a step, ``**`` across steps.

    >>> fits = _pattern("in/**/o*.csv")
    >>> [fits(key) for key in ("in/o1.csv", "in/a/b/o2.csv", "in/_old/o.csv", "in/x.csv")]
    [True, True, False, False]
    """
    steps = key.split("/")
    text = ""
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if step == "**":
            text += r"(?:[^/._][^/]*/)*" + (r"[^/._][^/]*" if last else "")
            continue
        hidden = "" if step[:1] in {".", "_"} or not _MAGIC.search(step) else r"(?![._])"
        text += hidden + _step(step) + ("" if last else "/")
    return lambda found: re.fullmatch(text, found, re.DOTALL) is not None


def _step(step: str) -> str:
    text, place = "", 0
    while place < len(step):
        sign = step[place]
        end = step.find("]", place + 2) if sign == "[" else -1
        if sign == "*":
            text += "[^/]*"
        elif sign == "?":
            text += "[^/]"
        elif end > 0:
            inner = step[place + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            text += f"[{'^' + inner[1:] if inner.startswith('!') else inner.replace('^', chr(92) + '^')}]"
            place = end
        else:
            text += re.escape(sign)
        place += 1
    return text


def _found(name: str, url: str, info: ObjectInfo) -> Found:
    return Found(name, "", max(info.size, 0), info.modified_ns, url, info.etag, info.version)


def differs(found: Found, before: Position) -> bool:
    """Tell whether an object is another than a position says, as far as its store tells."""
    if found.etag and before.get("etag"):
        return found.etag != before["etag"]
    if not found.mtime_ns:  # nothing tells: its content will
        return True
    return (found.size, found.mtime_ns) != (before["size"], before["mtime_ns"])


class Downloads:
    """Objects brought here until they are read."""

    def __init__(self, access: StoreAccess, spool: Callable[[], str]) -> None:
        self._access = access
        self._spool = spool
        self._files: list[Path] = []
        self._stores: dict[tuple[str, str], Store] = {}
        self._come: dict[str, Found | StoreError] = {}

    def close(self) -> None:
        """Remove what was fetched."""
        for file in self._files:
            file.unlink(missing_ok=True)

    def bring(self, wanted: Iterable[Found]) -> None:
        """Fetch objects, several at once; `of` tells what came of each."""
        remote = [item for item in wanted if item.url]
        if not remote:
            return
        directory = Path(self._spool())
        work = []
        for number, item in enumerate(remote):
            suffixes = "".join(Path(item.url.partition("?")[0]).suffixes[-2:])
            target = directory / f"{number}{suffixes if re.fullmatch(r'[.A-Za-z0-9]*', suffixes) else ''}"
            self._files.append(target)
            work.append((item, target, None if is_web(item.url) else self._open(address(item.url))))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for item, come in zip(remote, pool.map(lambda given: self._fetch(*given), work), strict=True):
                self._come[item.name] = come

    def of(self, found: Found) -> Found:
        """Return a file as it lies here: what it was known by is what was fetched.

        Raises:
            StoreError: it could not be fetched.
        """
        if not found.url:
            return found
        come = self._come[found.name]
        if isinstance(come, StoreError):
            raise come
        return come

    def _open(self, wanted: Address) -> Store:
        place = (wanted.scheme, wanted.bucket)
        if place not in self._stores:
            with _as_source():
                self._stores[place] = open_store(wanted, self._access)
        return self._stores[place]

    def _fetch(self, item: Found, target: Path, store: Store | None) -> Found | StoreError:
        from metalayer.objects.web import WebFile  # noqa: PLC0415 - a project without such files does not pay for it

        try:
            if store is None:
                info = WebFile(item.url, self._access).fetch(target)
            else:
                info = store.fetch(address(item.url).key, target)
        except StoreError as error:
            return error
        except OSError as error:
            raise ShortageError(
                f"What is fetched cannot be written to {target.parent}: {error.strerror}.",
                hint="Free some space on its disk and run it again.",
            ) from error
        size = target.stat().st_size
        return replace(
            item, path=str(target), size=size, mtime_ns=info.modified_ns, etag=info.etag, version=info.version
        )


def refused(error: StoreError) -> SourceError:
    """Return an error of a store as one of a source."""
    kind = SourceUnavailableError if isinstance(error, StoreUnavailableError) else SourceError
    return kind(error.message, hint=error.hint)


@contextmanager
def _as_source() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise refused(error) from None
