"""From a fresh clone to a running MetaLayer with nothing but Python: ``python3 go.py demo``, ``python3 go.py test``.

It makes ``.venv`` beside itself, installs into it exactly what the hash-pinned lock names and then MetaLayer from this
clone, and runs the command. It installs again only when the lock, the project file or the interpreter has changed.
It needs the standard library only, changes nothing outside ``.venv``, and works on a Python that is managed by the
system's packages (which refuses ``pip install`` for itself, but not for a virtual environment).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed-by-go"
USAGE = """usage: python3 go.py demo [DIRECTORY]    install into .venv, then run the demo
       python3 go.py test [PYTEST ARGUMENT…]   install into .venv, then run style, types, rooms, tests
"""


def main() -> int:
    """Run the command that is asked for."""
    if sys.version_info < OLDEST:
        return use_newer_python()
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == "demo":
        install("requirements.lock")
        return demo(arguments)
    if command == "test":
        install("requirements-test.lock")
        return test(arguments)
    sys.stderr.write(USAGE)
    return 0 if command in {"-h", "--help", "help"} else 2


def use_newer_python() -> int:
    """Go on with a newer Python of this machine, or say that there is none."""
    for minor in range(20, OLDEST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer is not None:
            os.execv(newer, [newer, __file__, *sys.argv[1:]])  # noqa: S606 - that is the point: no shell
    have = ".".join(str(part) for part in sys.version_info[:2])
    return stop(
        f"MetaLayer needs Python 3.11 or newer; this is {have}.", "Install a newer Python and use it for go.py."
    )


def stop(message: str, mend: str) -> int:
    """End with a message and its mend."""
    sys.stderr.write(f"{message}\n  mend: {mend}\n")
    raise SystemExit(1)


# --- installing --------------------------------------------------------------------------------------------------


def install(lock: str) -> None:
    """Bring ``.venv`` to what the lock and the project say, if it is not there yet."""
    if is_installed(lock):
        return
    began = time.monotonic()
    pip = make_environment()
    say(f"Installing what {lock} names into .venv (once) …")
    # --only-binary: building a package from source would fetch build tools that no hash pins
    run_pip([*pip, "install", "--require-hashes", "--only-binary=:all:", "-r", str(ROOT / lock)])
    run_pip([*pip, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    STAMP.write_text(fingerprint(lock), encoding="utf-8")
    say(f"Installed in {time.monotonic() - began:.0f} s; the program is .venv/bin/metalayer")


def fingerprint(lock: str) -> str:
    """Return what an installation depends on, the lock first and the place last."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for name in (lock, "pyproject.toml", "src/metalayer/__init__.py"):
        digest.update((ROOT / name).read_bytes())
    return f"{lock} {digest.hexdigest()} {ROOT}"


def is_installed(lock: str) -> bool:
    """Tell whether ``.venv`` has what the lock names; what the tests need contains what the demo needs."""
    try:
        found = STAMP.read_text(encoding="utf-8")
    except OSError:
        return False
    if not found.endswith(f" {ROOT}"):  # it was moved or copied here, and its programs name another place
        shutil.rmtree(VENV)
        return False
    return found in {fingerprint(lock), fingerprint("requirements-test.lock")} and works()


def works() -> bool:
    """Tell whether the interpreter in ``.venv`` runs and is of the version that runs this."""
    check = f"import sys; raise SystemExit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    try:
        return subprocess.run([str(PYTHON), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_environment() -> list[str]:
    """Make ``.venv`` where there is none that works, and return the command that is its pip."""
    inside = [str(PYTHON), "-m", "pip"]
    outside = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if works():
        has_pip = subprocess.run([*inside, "--version"], capture_output=True, check=False).returncode == 0
        if has_pip or has("pip"):
            return inside if has_pip else outside
    if not has("venv"):
        stop("This Python has no venv module.", f"Install it: {packages()}; then run the same command again.")
    with_pip = has("ensurepip")
    if not with_pip and not has("pip"):
        stop(
            "This Python has neither ensurepip nor pip.",
            f"Install them: {packages()}; then run the same command again.",
        )
    say(f"Making .venv with Python {sys.version.split()[0]} …")
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), str(VENV)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        stop(f"The virtual environment cannot be made:\n{made.stdout.strip()}", f"If venv is incomplete: {packages()}.")
    return inside if with_pip else outside


def has(module: str) -> bool:
    """Tell whether this Python has a module."""
    return importlib.util.find_spec(module) is not None


def packages() -> str:
    """Return how a system's packages bring what is missing."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        f"`apt install python3-venv` (Debian, Ubuntu; python{version}-venv for a Python beside the system's), "
        f"`dnf install python{version}-pip` (Fedora), `apk add py3-pip` (Alpine)"
    )


def run_pip(command: list[str]) -> None:
    """Run pip quietly; when it fails, show all it said."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [*command, *quiet], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=False
    )
    if done.returncode != 0:
        stop(
            f"pip cannot install:\n{done.stdout.strip()}",
            "Where it could not reach its package index, see to the network, or set PIP_INDEX_URL or PIP_CONFIG_FILE; "
            "where no file fits, this Python or system has no ready-made package: "
            "use Python 3.11 to 3.13 on Linux or macOS.",
        )


# --- the commands ------------------------------------------------------------------------------------------------


def demo(arguments: list[str]) -> int:
    """Run the demo."""
    return subprocess.run([str(VENV / "bin" / "metalayer"), "demo", *arguments], check=False).returncode


def test(arguments: list[str]) -> int:
    """Run all that must hold, in the order of what is quickest; the first that does not hold ends it."""
    workers = [] if any(argument.startswith(("-n", "--numprocesses")) for argument in arguments) else ["-n", "2"]
    steps = [
        ("style", ["ruff", "check", "."]),
        ("format", ["ruff", "format", "--check", "."]),
        ("types", ["mypy"]),
        ("rooms", ["lint-imports"]),
        ("tests", ["pytest", *workers, "--dist", "loadfile", *arguments]),
    ]
    done = []
    for name, (program, *options) in steps:
        say(f"── {name}: {program} {' '.join(options)}")
        began = time.monotonic()
        code = subprocess.run([str(VENV / "bin" / program), *options], cwd=ROOT, check=False).returncode
        done.append(f"{name} {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - began:.0f} s)")
        if code != 0:
            say(f"{', '.join(done)}. Not tried: {len(steps) - len(done)} of {len(steps)} steps.")
            return code
    say(f"All holds: {', '.join(done)}.")
    return 0


def say(text: str) -> None:
    """Tell what is being done, at once and in order with what the commands print."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
