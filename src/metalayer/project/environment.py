"""The settings of one environment: what ``metalayer.yml`` says, what overrides it, and the secrets in it, resolved.

A secret's value goes where it is asked for and nowhere else: no message, no ``repr``, no log holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from metalayer.core.errors import Location, UsageError, did_you_mean
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.project import EnvironmentDeclaration, OnFailure, Project
from metalayer.project.amounts import bytes_of, parse_compression, parse_duration, parse_keep, parse_memory
from metalayer.project.files import DeclaredFile

DIRECTORY = ".metalayer"
DEFAULT_ENVIRONMENT = "dev"
OVERRIDE = "METALAYER__"

_CACHE = 20 * 1024**3
_NAME = re.compile(r"\$\{([^{}]*)\}")
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """One environment, ready to be opened.

    Attributes:
        name: the environment's name.
        database: the URL of PostgreSQL; None is the embedded one.
        data: the lake's data directory as an absolute path, or an object store's URL.
        directory: the environment's own directory: embedded database, lake, cache, reports.
        webhook: the URL that is told of a failed run.
        keep: how long old snapshots can be read.
        threads: how many threads the engine uses; None is as many as there are cores.
        memory: how much memory the engine uses, as text; None is the engine's default.
        audit_key: the file of the key that signs the journal; None is one in ``directory``.
        audit_anchor: the file that holds the journal's checkpoints; None is one in ``directory``.
        objects: how object stores are reached.
        removing: with which rights maintenance removes files from one.
        cache: how many bytes of a lake on an object store are kept here.
    """

    name: str
    database: str | None = field(repr=False)
    data: str
    encrypted: bool
    compression: str
    directory: str
    webhook: str | None = field(repr=False)
    keep: timedelta
    threads: int | None
    memory: str | None
    audit_key: str | None = None
    audit_anchor: str | None = None
    objects: StoreAccess = NO_ACCESS
    removing: StoreAccess = NO_ACCESS
    cache: int = _CACHE


@dataclass(slots=True)
class Secrets:
    """Where ``${NAME}`` is looked up: the process's environment, then ``.env``, then the project's command.

    What the command printed is kept for as long as this value lives, so that it is asked once for each name.
    """

    environ: Mapping[str, str] = field(repr=False)
    file: Mapping[str, str] = field(repr=False)
    command: tuple[str, ...] = ()
    root: str = "."
    _printed: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, project: Project, environ: Mapping[str, str]) -> Secrets:
        """Return the places in which a project's secrets are looked up."""
        return cls(environ, read_env_file(project.root), project.secrets, project.root)

    def fill(self, text: str, *, location: Location | None = None) -> str:
        """Return the text with each ``${NAME}`` replaced; ``$${NAME}`` stays as ``${NAME}``.

        Raises:
            UsageError: a name is found nowhere, or is no name.
        """

        def value(match: re.Match[str]) -> str:
            if match.start() > 0 and text[match.start() - 1] == "$":
                return match.group(0)
            return self.value(match.group(1), location)

        return _NAME.sub(value, text).replace("$${", "${")

    def value(self, name: str, location: Location | None) -> str:
        """Return one secret."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(
                f"'${{{name}}}' holds no name of a variable.",
                hint="Write letters, digits and _ between the braces: ${DATABASE_URL}.",
                location=location,
            )
        for place in (self.environ, self.file, self._printed):
            if name in place:
                return place[name]
        if self.command:
            self._printed[name] = self.ask(name, location)
            return self._printed[name]
        raise self.missing(name, "", location)

    def missing(self, name: str, found: str, location: Location | None) -> UsageError:
        """Return the error that lists where a name was looked for; ``found`` is what came of the command."""
        places = ["the environment", f"{self.root}/.env"]
        places += [f"`{' '.join(self.command)} {name}` ({found})"] if self.command else []
        return UsageError(
            f"${{{name}}} has no value. Looked for in: {', '.join(places)}.",
            hint=f"Set it: `export {name}=…`, or write a line `{name}=…` into .env, which stays out of Git.",
            location=location,
        )

    def ask(self, name: str, location: Location | None) -> str:
        """Run the project's command; what it prints never enters a message."""
        import subprocess  # noqa: PLC0415 - costs as much as reading a small project, and most have no such command

        try:
            done = subprocess.run(  # noqa: S603 - the project's own command, given as a list and run without a shell
                [*self.command, name],
                cwd=self.root,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
                env=dict(self.environ) or None,
            )
        except FileNotFoundError:
            raise self.missing(name, "the command is not there", location) from None
        except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as error:
            reason = f"no answer in {_SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else "it cannot run"
            raise self.missing(name, reason, location) from None
        if done.returncode != 0:
            raise self.missing(name, f"exit code {done.returncode}", location)
        printed = done.stdout.rstrip("\r\n")
        if not printed:
            raise self.missing(name, "it printed nothing", location)
        return printed


def read_env_file(root: str) -> dict[str, str]:
    r"""Return what ``.env`` sets; an empty mapping where there is none.

    Lines are ``NAME=value``, with ``export`` before and a comment behind them if you like; single quotes keep all that
    is inside, double quotes know ``\n``, ``\"`` and ``\\``.

    Raises:
        UsageError: a line is none of that.
    """
    path = Path(root, ".env")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "The file .env cannot be read as UTF-8 text.", hint="Mend or delete it.", location=Location(".env")
        ) from error
    result = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            # The line may hold a secret, so the message shows its number alone.
            raise UsageError(
                f"Line {number} of .env is not NAME=value.",
                hint="Write NAME=value, NAME='value' or a comment that begins with #.",
                location=Location(".env", number),
            )
        single, double, bare = match.group("single", "double", "bare")
        if double is not None:
            single = re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found.group(1), found.group(1)), double)
        result[match.group("name")] = single if single is not None else bare
    return result


_LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s'"#](?:[^#]|(?<=\S)\#)*?|))\s*(?:(?<=\s)\#.*|(?<==)\#.*)?""",
    re.VERBOSE,
)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"'{text}' is not a whole number above 0.", hint="Write digits only.")
    return int(text)


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise UsageError(f"'{text}' is neither true nor false.", hint="Write true or false.")
    return text == "true"


_SETTINGS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "DATABASE": ("database", str),
    "LAKE__DATA": ("data", str),
    "LAKE__ENCRYPTED": ("encrypted", _truth),
    "LAKE__COMPRESSION": ("compression", parse_compression),
    "LAKE__CACHE": ("cache", parse_memory),
    "ON_FAILURE__WEBHOOK": ("on_failure", OnFailure),
    "AUDIT__KEY": ("audit_key", str),
    "AUDIT__ANCHOR": ("audit_anchor", str),
    "KEEP": ("keep", parse_keep),
    "THREADS": ("threads", _number),
    "MEMORY": ("memory", parse_memory),
}
"""What may be overridden, under the name of its keys in ``metalayer.yml`` joined by two underscores."""


def read_environment(project: Project, name: str, environ: Mapping[str, str]) -> Settings:
    """Return an environment's settings.

    Args:
        project: the project that declares it.
        name: the environment's name.
        environ: the process's environment variables.

    Raises:
        UsageError: there is no such environment, an override is wrong, or a secret is found nowhere.
    """
    declared = project.environments.get(name)
    if declared is None:
        raise UsageError(
            f"The project has no environment '{name}'.",
            hint=f"{did_you_mean(name, project.environments)}It has: {', '.join(sorted(project.environments))}; "
            "others are declared under `environments:` in metalayer.yml.",
        )
    secrets = Secrets.of(project, environ)
    declared = _overridden(declared, {**secrets.file, **environ})

    def filled(text: str | None) -> str | None:
        return None if text is None else secrets.fill(text, location=_place(project.root, text))

    def placed(path: str | None) -> str | None:
        found = filled(path)
        return None if not found else os.path.normpath(Path(project.root, found))

    directory = Path(project.root, DIRECTORY)
    if name != DEFAULT_ENVIRONMENT:
        directory = directory / "environments" / name
    data = filled(declared.data) or str(directory / "lake")
    return Settings(
        name=name,
        database=filled(declared.database) or None,
        data=data if "://" in data else os.path.normpath(Path(project.root, data)),
        encrypted=declared.encrypted,
        compression=declared.compression,
        directory=str(directory),
        webhook=filled(declared.on_failure.webhook) or None,
        keep=parse_duration(declared.keep),
        threads=declared.threads,
        memory=declared.memory,
        audit_key=placed(declared.audit_key),
        audit_anchor=placed(declared.audit_anchor),
        objects=resolve(declared.objects, secrets),
        removing=resolve(declared.removing, secrets),
        cache=_CACHE if declared.cache is None else bytes_of(declared.cache),
    )


def _overridden(declared: EnvironmentDeclaration, environ: Mapping[str, str]) -> EnvironmentDeclaration:
    """Return the declaration with each ``METALAYER__…`` variable in the place of its setting."""
    for variable in sorted(environ):
        if not variable.startswith(OVERRIDE):
            continue
        key = variable.removeprefix(OVERRIDE)
        if key not in _SETTINGS:
            names = [OVERRIDE + known for known in _SETTINGS]
            raise UsageError(
                f"The environment variable {variable} overrides no setting.",
                hint=f"{did_you_mean(variable, names)}Known: {', '.join(names)}.",
            )
        attribute, parse = _SETTINGS[key]
        try:
            value = parse(environ[variable])
        except UsageError as error:
            raise UsageError(f"The environment variable {variable}: {error.message}", hint=error.hint) from error
        declared = replace(declared, **{attribute: value})
    return declared


def _place(root: str, text: str) -> Location | None:
    """Return the line of ``metalayer.yml`` on which a text with a name in it stands; an override's stands nowhere."""
    named = _NAME.search(text)
    path = Path(root, "metalayer.yml")
    if named is None or not path.is_file():
        return None
    file = DeclaredFile.of(path.name, path.read_text(encoding="utf-8-sig", errors="replace"))
    offset = file.text.find(named.group(0))
    return None if offset < 0 else file.at_offset(offset)


def resolve(value: Any, secrets: Secrets, *, location: Location | None = None) -> Any:
    """Return a source's options with each ``${NAME}`` in their texts replaced; other values stay as they are.

    Raises:
        UsageError: a name is found nowhere.
    """
    if isinstance(value, str):
        return secrets.fill(value, location=location) if "${" in value else value
    if is_dataclass(value) and not isinstance(value, type):
        changes = {item.name: resolve(getattr(value, item.name), secrets, location=location) for item in fields(value)}
        return replace(value, **{name: new for name, new in changes.items() if new is not getattr(value, name)})
    if isinstance(value, Mapping):
        return {key: resolve(item, secrets, location=location) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(resolve(item, secrets, location=location) for item in value)
    return value
