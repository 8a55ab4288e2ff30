"""Backups: the database at one moment and every file it needs, in a directory elsewhere; and back.

A place of backups holds ``files/`` (each file of the lake once, under the path it has there) and ``backups/ID/`` (the
dump of the database, and a manifest that names the files with their sums). The dump comes first, the files after it,
and none is removed meanwhile, so that what is restored is the state of one moment. A backup is there when it is whole:
its directory gets its name last.

It reads the lake and the database and writes elsewhere; only `restore` writes here, the database last and in one
transaction.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import LakeError, UsageError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.lake import custody
from metalayer.metastore import dump as dumps

if TYPE_CHECKING:
    from metalayer.lake import Lake, LakeSettings
    from metalayer.metastore.postgres import Metastore

FORMAT = 1
_MANIFEST = "manifest.json"
_MARK = "metalayer-backups.json"
_READERS = "readers.lock"
_ID = re.compile(r"\d{8}-\d{6}(-\d+)?")

Told = Callable[[str], None]
"""Called with a sentence about what goes on."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the lake as a backup holds it; ``path`` is below ``files/``, and below the lake's directory."""

    path: str
    bytes: int
    sha256: str
    crc32: int


@dataclass(frozen=True, slots=True)
class Backup:
    """What one backup says of itself."""

    id: str
    project: str
    environment: str
    at: datetime
    version: str
    snapshot: int
    rows: int
    files: tuple[KeptFile, ...]
    place: Path

    @property
    def bytes(self) -> int:
        """The size of the files it needs."""
        return sum(file.bytes for file in self.files)

    @property
    def directory(self) -> Path:
        """Where its manifest lies, and its dump below."""
        return self.place / "backups" / self.id

    @property
    def database(self) -> Path:
        """Where its dump lies."""
        return self.directory / "database"


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup came to: of its files so many were copied now, the others were there.

    ``removed`` are older backups that were not to be kept.
    """

    backup: Backup
    copied: int
    copied_bytes: int
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What a backup is told of where it comes from."""

    project: str
    environment: str
    version: str


# --- taking one ------------------------------------------------------------------------------------------------------


def back_up(
    lake: Lake, metastore: Metastore, place: Path, about: About, now: datetime, told: Told, *, keep: int | None = None
) -> BackupReport:
    """Back up the environment into a place of backups, while runs go on; then remove all but the newest ``keep``.

    Raises:
        UsageError: the place holds something else, or another backup is being written there.
        LakeError: a file cannot be copied, or is not as it was written.
    """
    if place.resolve().is_relative_to(Path(lake.settings.root).resolve()):
        raise UsageError(
            f"{place} lies in the lake's own directory.", hint="Choose a directory elsewhere, on another disk at best."
        )
    _mark(place, about)
    with _alone(place), custody.protected(metastore):
        # What only older backups name is copied again, which does no harm; reading them all would take long.
        known = {file.path: file for name in _names(place)[:1] for file in _read(place, name).files}
        custody.remove_parts(place)
        name = _free(place, f"{now:%Y%m%d-%H%M%S}")
        part = place / "backups" / f"{name}.part"
        part.mkdir(mode=0o700)
        (part / "database").mkdir()
        with dumps.frozen(metastore) as connection:
            told("writing down the database")
            tables = dumps.write_dump(connection, part / "database")
            reach(Failpoint.BACKUP_AFTER_DUMP)
            named = custody.named_files(connection)
            snapshot = lake.newest(connection)
        _refuse_elsewhere(named)
        new = [file for file in named if not _is_held(place, known.get(file.path), file)]
        custody.require_room(place, sum(file.bytes for file in new))
        copied = {}
        for number, file in enumerate(new, 1):
            told(f"file {number} of {len(new)}: {file.path}")
            copied[file.path] = _keep(lake.settings, place, file)
            reach(Failpoint.BACKUP_AFTER_FILE)
        kept = tuple(copied.get(file.path) or known[file.path] for file in named)
        rows = sum(table.rows for table in tables)
        backup = Backup(name, about.project, about.environment, now, about.version, snapshot, rows, kept, place)
        _write_manifest(part, backup)
        reach(Failpoint.BACKUP_BEFORE_END)
        custody.make_tree_durable(part)
        part.rename(backup.directory)
        custody.make_tree_durable(backup.directory.parent)
        removed = () if keep is None else _remove_old(place, keep, told)
    return BackupReport(backup, len(copied), sum(file.bytes for file in copied.values()), removed)


def _remove_old(place: Path, keep: int, told: Told) -> tuple[str, ...]:
    """Remove all but the newest backups, then the files that none of these names; later, where somebody reads there."""
    with _unread(place) as is_unread:
        if not is_unread:
            told("old backups stay: one of them is being read")
            return ()
        names = _names(place)
        for name in names[keep:]:
            told(f"removing the backup {name}")
            part = place / "backups" / f"{name}.part"
            (place / "backups" / name).rename(part)  # from here on it is none
            shutil.rmtree(part)
        needed = {file.path for name in names[:keep] for file in _read(place, name).files}
        for path in (place / "files").rglob("*.parquet"):
            if str(path.relative_to(place / "files")) not in needed:
                path.unlink()
    return tuple(names[keep:])


def _keep(settings: LakeSettings, place: Path, file: custody.NamedFile) -> KeptFile:
    """Copy one file, and refuse one that is not as it was written."""
    with custody.file_here(settings, file.path) as here:
        done = custody.copy(here, place / "files" / file.path)
    if done.bytes != file.bytes or (file.crc32 is not None and done.crc32 != file.crc32):
        (place / "files" / file.path).unlink()
        raise LakeError(
            f"{settings.data}/{file.path} of {file.table} is damaged: it is not as it was written.",
            hint="`metalayer admin verify` tells every such file; `metalayer admin verify --mend-from DIR` takes what "
            "an earlier backup holds of them. No backup was made now.",
        )
    return KeptFile(file.path, done.bytes, done.sha256, done.crc32)


def _is_held(place: Path, known: KeptFile | None, file: custody.NamedFile) -> bool:
    if known is None or known.bytes != file.bytes:
        return False
    with contextlib.suppress(OSError):
        return (place / "files" / file.path).stat().st_size == file.bytes
    return False


def _refuse_elsewhere(named: tuple[custody.NamedFile, ...]) -> None:
    """Refuse files that were taken over where they lie: whoever owns them must back them up."""
    for file in named:
        if not file.is_ours:
            raise LakeError(
                f"{file.path} of {file.table} lies outside of the lake, and is not backed up with it.",
                hint="Load such files instead of taking them over, or back up their place by its own means.",
            )


def _mark(place: Path, about: About) -> None:
    """Make a place of this environment's backups of a directory that is empty or not there, or see that it is one."""
    mark, ours = place / _MARK, {"format": FORMAT, "project": about.project, "environment": about.environment}
    if mark.is_file():
        found = json.loads(mark.read_text("utf-8"))
        if found.get("format") != FORMAT:
            raise UsageError(
                f"{place} holds backups of a newer MetaLayer.", hint="Choose another directory, or upgrade metalayer."
            )
        if found != ours:
            raise UsageError(
                f"{place} holds backups of '{found['project']}', environment '{found['environment']}'.",
                hint="Choose a directory for each environment: their backups are told apart by it.",
            )
        return
    left = {f"{_MARK}.part", "files", "backups"}  # of one that was killed at its very beginning
    if place.exists() and (not place.is_dir() or any(path.name not in left for path in place.iterdir())):
        raise UsageError(f"{place} is there and holds no backups.", hint="Choose an empty directory, or a new one.")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = mark.with_name(f"{mark.name}.part")
    part.write_text(json.dumps(ours) + "\n", "utf-8")
    for name in ("files", "backups"):
        (place / name).mkdir(mode=0o700, exist_ok=True)
    part.rename(mark)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Be the only one that writes to a place; the lock ends with the process."""
    with (place / _MARK).open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another backup is being written to {place}.", hint="Wait until it has ended and try again."
            ) from error
        yield


@contextlib.contextmanager
def _unread(place: Path) -> Iterator[bool]:
    """Tell whether nobody reads backups of a place now, and let nobody begin inside the block."""
    with (place / "backups" / _READERS).open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def _read_there(place: Path) -> Iterator[None]:
    """Let no backup of a place be removed inside the block; a place that cannot be written is safe by itself."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = stack.enter_context((place / "backups" / _READERS).open("ab"))
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def _free(place: Path, name: str) -> str:
    """Return a name that no backup has, after what killed processes left unfinished is removed."""
    for left in (place / "backups").glob("*.part"):
        shutil.rmtree(left)
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(item for item in names if not (place / "backups" / item).exists())


def _write_manifest(directory: Path, backup: Backup) -> None:
    told = {name: value for name, value in asdict(backup).items() if name != "place"}
    text = json.dumps({"format": FORMAT, **told, "at": backup.at.isoformat()}, indent=1)
    (directory / _MANIFEST).write_text(text, "utf-8")


# --- what is there ---------------------------------------------------------------------------------------------------


def backups(place: Path) -> tuple[Backup, ...]:
    """Return the backups of a place, the newest first.

    Raises:
        UsageError: it is no place of backups.
        LakeError: a manifest cannot be read.
    """
    if not (place / _MARK).is_file():
        raise UsageError(f"{place} holds no backups.", hint=f"Make one: metalayer admin backup {place}")
    return tuple(_read(place, name) for name in _names(place))


def _names(place: Path) -> list[str]:
    """Return the names of the backups that are whole, the newest first."""
    names = [path.name for path in (place / "backups").iterdir() if _ID.fullmatch(path.name)]
    return sorted(names, key=_order, reverse=True)


def _order(name: str) -> tuple[str, int]:
    moment, number = name[:15], name[16:]
    return moment, int(number or 1)


def chosen(place: Path, backup_id: str | None) -> Backup:
    """Return one backup of a place: the newest, or the one that is named.

    Raises:
        UsageError: there is no such backup.
    """
    for backup in backups(place):
        if backup_id is None or backup.id == backup_id:
            return backup
    raise UsageError(
        f"{place} holds no backup{'' if backup_id is None else f' {backup_id}'} that is whole.",
        hint=f"`metalayer admin backups {place}` lists those that are there.",
    )


def _read(place: Path, name: str) -> Backup:
    path = place / "backups" / name / _MANIFEST
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        files = tuple(KeptFile(**item) for item in told["files"])
        return Backup(
            told["id"],
            told["project"],
            told["environment"],
            datetime.fromisoformat(told["at"]),
            told["version"],
            told["snapshot"],
            told["rows"],
            files,
            place,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"{path} cannot be read: {error}",
            hint=f"The backup is damaged: remove {path.parent}, the others of the place are whole by themselves.",
        ) from error


@dataclass(frozen=True, slots=True)
class Examined:
    """What a look at a backup found: ``damaged`` says of each bad file what is wrong."""

    backup: Backup
    damaged: Mapping[str, str]


def examine(backup: Backup, told: Told) -> Examined:
    """Look at every file of a backup, its dump included."""
    damaged = {}
    with _read_there(backup.place):
        dumps.read_dump(backup.database)
        for number, file in enumerate(backup.files, 1):
            told(f"file {number} of {len(backup.files)}: {file.path}")
            try:
                found = custody.digest_of(backup.place / "files" / file.path)
            except OSError as error:
                damaged[file.path] = error.strerror or str(error)
                continue
            if (found.bytes, found.sha256) != (file.bytes, file.sha256):
                damaged[file.path] = f"SHA-256 {found.sha256} ({found.bytes:,} bytes) instead of {file.sha256}"
    return Examined(backup, damaged)


# --- back ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to: of the backup's files so many were copied, the others lay there already."""

    backup: Backup
    copied: int
    copied_bytes: int


def restore(lake: Lake, metastore: Metastore, backup: Backup, *, over: bool, told: Told) -> Restored:
    """Let the environment hold what a backup says: its files first, then the database in one transaction.

    Raises:
        UsageError: the environment holds something, and ``over`` is not said.
        LakeError, MetastoreError: the backup is damaged or cannot be read; the environment is as it was.
    """
    _require_empty(metastore, over=over)
    settings = lake.settings
    with _read_there(backup.place):
        dump = dumps.read_dump(backup.database)
        new = [file for file in backup.files if not _lies_there(settings, file)]
        if not settings.is_remote:
            custody.require_room(Path(settings.root), sum(file.bytes for file in new))
        for number, file in enumerate(new, 1):
            told(f"file {number} of {len(new)}: {file.path}")
            _bring(backup, settings, file)
            reach(Failpoint.RESTORE_AFTER_FILE)
        told("loading the database")
        dumps.load_dump(metastore, dump, lake.create_in)
    reach(Failpoint.RESTORE_AFTER_LOAD)
    return Restored(backup, len(new), sum(file.bytes for file in new))


def _require_empty(metastore: Metastore, *, over: bool) -> None:
    if not over and dumps.is_filled(metastore.connection):
        raise UsageError(
            f"The environment is not empty: its database ({metastore.address}) holds runs or tables, which a restore "
            "would replace.",
            hint="Restore into an empty environment, or say --over if what is there may be lost (back it up before).",
        )


def _lies_there(settings: LakeSettings, file: KeptFile) -> bool:
    with contextlib.suppress(OSError, LakeError), custody.file_here(settings, file.path) as path:
        return path.stat().st_size == file.bytes and custody.digest_of(path).sha256 == file.sha256
    return False


def _bring(backup: Backup, settings: LakeSettings, file: KeptFile, *, instead: bool = False) -> None:
    data = Path(settings.root)
    done = custody.copy(backup.place / "files" / file.path, data / file.path)
    if (done.bytes, done.sha256) != (file.bytes, file.sha256):
        (data / file.path).unlink()
        raise LakeError(
            f"{backup.place / 'files' / file.path} is damaged: its SHA-256 is {done.sha256} instead of {file.sha256}.",
            hint="Choose another backup (`metalayer admin backups DIR`), or bring the file from another copy of it. "
            "The environment is as it was.",
        )
    custody.put_back(settings, file.path, instead=instead)


# --- care of the lake's files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at the lake's files found, and the paths of those that were replaced from a backup."""

    looked: custody.Verified
    mended: tuple[str, ...]

    @property
    def damaged(self) -> tuple[custody.Damage, ...]:
        """What is still damaged."""
        return tuple(item for item in self.looked.damaged if item.file.path not in self.mended)


def verify(lake: Lake, metastore: Metastore, *, quick: bool, mend_from: Path | None, told: Told) -> Verification:
    """Look at every file that the catalog needs, and replace what is damaged where a backup holds it.

    Raises:
        UsageError: the place to mend from holds no backups.
    """
    known = () if mend_from is None else backups(mend_from)
    with custody.protected(metastore):
        looked = custody.verify(
            metastore.connection, lake.settings, quick=quick, told=lambda file: told(f"{file.table}: {file.path}")
        )
        return Verification(looked, mend(lake, looked.damaged, known))


def mend(lake: Lake, damaged: tuple[custody.Damage, ...], known: tuple[Backup, ...]) -> tuple[str, ...]:
    """Replace damaged files of the lake by what backups hold of them; return the paths."""
    held = {file.path: (backup, file) for backup in reversed(known) for file in backup.files}
    mended = []
    for item in damaged:
        backup, file = held.get(item.file.path, (None, None))
        if backup is None or file is None or file.bytes != item.file.bytes:
            continue
        if item.file.crc32 is None or file.crc32 == item.file.crc32:
            _bring(backup, lake.settings, file, instead=True)
            mended.append(item.file.path)
    return tuple(mended)
