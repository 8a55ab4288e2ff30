"""What the operating system holds a worker to: no network, no other files, no new programs, bounded memory and time.

DuckDB's own settings already keep a query to its files; these are the walls behind them. Each is put up where the host
has it (Landlock, seccomp and network namespaces are Linux's), and what stands is reported, never assumed. Only system
calls are made here: nothing of queries is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LINUX: Final = sys.platform == "linux"
_FIRST_USER: Final = 0x7FF00000
"""Users of these numbers exist nowhere: each worker is one of its own, so that none can touch another."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def leave_network() -> bool:
    """Move this process, and those it will fork, into a network of its own with nothing in it, where that is allowed.

    It must have one thread only.
    """
    if not _LINUX:
        return False
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    return bool(_library().unshare(flags) == 0)


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that forked it ends."""
    if _LINUX:
        _library().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may use: bytes of memory beyond what it has now, seconds of CPU, open files."""

    memory: int
    cpu: int
    files: int


def bound(bounds: Bounds) -> tuple[str, ...]:
    """Set the limits that the kernel keeps, and return which there are."""
    held = []
    wanted = [
        ("cpu", resource.RLIMIT_CPU, bounds.cpu),
        ("file-size", resource.RLIMIT_FSIZE, 0),
        ("open-files", resource.RLIMIT_NOFILE, bounds.files),
        ("core", resource.RLIMIT_CORE, 0),
    ]
    if _LINUX:
        wanted.insert(0, ("memory", resource.RLIMIT_AS, _address_space() + bounds.memory))
    for name, limit, value in wanted:
        _, most = resource.getrlimit(limit)
        ceiling = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (ceiling, ceiling))
            held.append(name)
    return tuple(held)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


def give_up_rights(files: Sequence[str]) -> str | None:
    """Leave root behind: another user where that one may read the files, else root without its powers.

    Returns what was done, None where there was nothing to give up.
    """
    if os.geteuid() != 0 or not _LINUX:
        return None
    user = _FIRST_USER + os.getpid() % 0xF0000
    done = "no-capabilities"
    if all(_others_may_read(Path(path)) for path in files):
        with contextlib.suppress(OSError):  # a container may not know that number
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            done = "another-user"
    if os.geteuid() == 0:
        _drop_capabilities()
    _library().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return done


def _others_may_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004) and all(part.stat().st_mode & 0o001 for part in path.parents)
    except OSError:
        return False


def _drop_capabilities() -> None:
    library = _library()
    for capability in range(64):
        library.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    # capset with version 3 and two empty sets of (effective, permitted, inheritable)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0))
    if library.syscall(_CALLS["capset"][_column()], header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


# Landlock: this thread, and those it starts, can open nothing but the files that are named, and these only to read.

_ACCESS_FILES = (1 << 16) - 1
_READ_FILE = 1 << 2
_ACCESS_NET = 0b11
_SCOPES = 0b11
_RULE_PATH = 1


def allow_only(files: Sequence[str]) -> bool:
    """Let nothing be opened but these files, to read. False where the kernel has no Landlock."""
    if not _LINUX or _column() is None:
        return False
    library = _library()
    create, add, restrict = (_CALLS[name][_column()] for name in ("landlock_create", "landlock_add", "landlock_self"))
    version = library.syscall(create, None, 0, 1)
    if version < 1:
        return False
    handled = _ACCESS_FILES if version >= 5 else (1 << (13 + min(version - 1, 2))) - 1
    attributes = struct.pack("=Q", handled)
    if version >= 4:
        attributes += struct.pack("=Q", _ACCESS_NET)
    if version >= 6:
        attributes += struct.pack("=Q", _SCOPES)
    rules = library.syscall(create, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    if rules < 0:
        return False
    try:
        for path in files:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = ctypes.create_string_buffer(struct.pack("=Qi", _READ_FILE, place), 12)
                if library.syscall(add, rules, _RULE_PATH, rule, 0) != 0:
                    raise OSError(ctypes.get_errno(), "landlock")
            finally:
                os.close(place)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(library.syscall(restrict, rules, 0) == 0)
    finally:
        os.close(rules)


# seccomp: calls that a query never needs answer EPERM. Numbers are those of x86-64 and of the generic table (arm64).

_CALLS: Final[dict[str, tuple[int, int]]] = {
    "landlock_create": (444, 444),
    "landlock_add": (445, 445),
    "landlock_self": (446, 446),
    "capset": (126, 91),
}
_DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "bind": (49, 200),
    "listen": (50, 201),
    "socketpair": (53, 199),
    "accept4": (288, 242),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "creat": (85, None),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_OPENS: Final = ((2, None, 1), (257, 56, 2))
"""open and openat: their numbers, and which argument holds the flags."""
_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x10000
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _NOT_THERE = 0x00050000 | 1, 0x00050000 | 38  # EPERM, ENOSYS


def _column() -> int:
    return _ARCHITECTURES.get(platform.machine(), (0, 0))[0]


def refuse_calls() -> bool:
    """Refuse system calls that a query does not need, from now on, for this thread and those it starts."""
    if not _LINUX or platform.machine() not in _ARCHITECTURES:
        return False
    program = b"".join(struct.pack("=HBBI", *step) for step in _steps())
    filled = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(filled))
    library = _library()
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(library.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header, len(header)), 0, 0) == 0)


def _steps() -> Iterator[tuple[int, int, int, int]]:
    """Yield the filter as steps: operation, jump if true, jump if false, value."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    yield from ((_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0))
    if column == 0:  # the other numbering of the same machine
        yield from ((_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL))
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            yield from ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE))
    yield from ((_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _NOT_THERE))  # the C library then uses clone, whose flags show
    yield from _unless(_CLONE[column], 0, _CLONE_THREAD, refuse_set=False)
    for opening in _OPENS:
        number = opening[column]
        if number is not None:
            yield from _unless(number, opening[2], _WRITES, refuse_set=True)
    yield (_RETURN, 0, 0, _ALLOW)


def _unless(number: int, argument: int, bits: int, *, refuse_set: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yield the steps that refuse one call where bits of an argument are set, or where they are not."""
    yield (_EQUAL, 0, 4, number)
    yield (_LOAD, 0, 0, 16 + 8 * argument)
    yield (_ANY_BIT, 0 if refuse_set else 1, 1 if refuse_set else 0, bits)
    yield (_RETURN, 0, 0, _REFUSE)
    yield (_LOAD, 0, 0, 0)
