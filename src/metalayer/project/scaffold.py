"""A new project's files. It writes only where nothing is, and says what stands in the way otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.errors import UsageError
from metalayer.core.names import COMPANIONS, Layer, TableName
from metalayer.core.project import Project
from metalayer.project.layout import SETTINGS_FILE

SCHEMA_DIRECTORY = Path(__file__).with_name("schemas")

SCHEMA_FILES: Mapping[str, tuple[str, ...]] = {
    "project": ("metalayer.yml",),
    "source": ("bronze/**/*.yml", "bronze/**/*.yaml"),
    "front_matter": (),
    "metrics": ("metrics/**/*.yml",),
    "dashboard": ("dashboards/**/*.yml",),
    "alert": ("alerts/**/*.yml",),
    "policies": ("policies/**/*.yml",),
    "test": ("tests/**/*.yml",),
    "export": ("exports/**/*.yml",),
    "glossary": ("glossary.yml",),
    "contract": ("contracts/*.odcs.yaml",),
}
"""The schemas by name, with the files of a project that each is for (front matter lies in SQL files)."""

EDITOR = ".vscode"
SCHEMAS = f"{EDITOR}/metalayer"

_SETTINGS = """\
name: {name}
version: 1
# What holds for every table that does not say otherwise.
defaults: {{owner: {owner}, timezone: UTC}}
environments:
  dev: {{}}  # an embedded PostgreSQL and local files, all below .metalayer/
  # prod:
  #   database: ${{METALAYER_PROD_URL}}   # a PostgreSQL 15 or newer; the value comes from the environment or .env
  #   lake: {{data: /srv/lake, encrypted: true}}
  #   on_failure: {{webhook: "${{ALERT_URL}}"}}
"""

_IGNORED = """\
# The embedded database, the lake, caches and reports
.metalayer/
# Secrets
.env
# Python
__pycache__/
"""

_ENVIRONMENT = """\
# Copy this file to .env, which stays out of Git, and fill in what the environments in metalayer.yml name as ${NAME}.
# METALAYER_PROD_URL=postgresql://user:password@host:5432/database
"""

_IGNORE = ".gitignore"
_README = """\
# {name}

Raw files become checked tables: `metalayer source add NAME 'path/*.csv'`, then `metalayer run`.
"""

_KEPT = {
    "bronze": "One file for each source: `metalayer source add NAME PATH` writes it.",
    "silver": "One SQL file for each clean table; begin it with front matter between /*--- and ---*/.",
    "gold": "One SQL or Python file for each table that people read.",
    "reference": "Small CSV files that are kept in Git: countries.csv is bronze.countries.",
}


def init(directory: str, name: str | None = None) -> tuple[str, ...]:
    """Make a project in a directory, which is made where it is not there.

    What people have there already, such as a README, stays as it is; a .gitignore gets the lines that it lacks.

    Args:
        directory: where.
        name: the project's name; the default is the directory's.

    Returns:
        The files written, relative to the directory.

    Raises:
        UsageError: it is a project already, the name is none, or the directory cannot be written.
    """
    root = Path(directory).resolve()
    files = project_files(name or _name_of(root))
    if (root / SETTINGS_FILE).exists():
        raise UsageError(f"{root} is a project already.", hint=f"Use it as it is: `metalayer -C {directory} plan`.")
    completed = (_IGNORE,) if (root / _IGNORE).exists() and _ignore(root) else ()
    return completed + _write(root, {path: text for path, text in files.items() if not (root / path).exists()})


def _ignore(root: Path) -> bool:
    """Add to a .gitignore what it lacks; tell whether that was anything."""
    path = root / _IGNORE
    try:
        text = path.read_text("utf-8")
        lacking = [line for line in _IGNORED.splitlines() if line.strip() and line not in text.splitlines()]
        if lacking:
            separator = "" if not text or text.endswith("\n") else "\n"
            path.write_text(text + separator + "\n".join(lacking) + "\n", "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be completed: {error}.", hint="Make it a text file that you may write to, then try again."
        ) from error
    return bool(lacking)


def source_table(project: Project, name: str, *, overwrite: bool = False) -> TableName:
    """Return the table of bronze that a source of a name would fill.

    Raises:
        UsageError: no table can have the name, or it is declared already; ``overwrite`` lets its own file be one that
            is written anew.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.endswith(COMPANIONS):
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        raise UsageError(
            f"A table cannot be named '{name}'.",
            hint=f"Use small letters, digits and _, a letter first{f': {better}' if better[:1].isalpha() else ''}.",
        )
    table = TableName(Layer.BRONZE, name)
    declared = project.models.get(table)
    if declared is None:
        return table
    own = declared.location.path == f"{table.layer}/{table.name}.yml"
    if not (own and overwrite):
        raise UsageError(
            f"{table} is declared already, in {declared.location.path}.",
            hint="Give the source another name, or say --force to write the file anew."
            if own
            else "Give the source another name, or remove that file.",
        )
    return table


def add_source(
    root: str, source: SourceDraft, model: ModelDraft | None = None, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the declaration of a drafted source and, if there is one, of the model over it.

    Args:
        root: the project's.
        source: the drafted source.
        model: the drafted model over it.
        overwrite: whether files that are there are written anew.

    Returns:
        The files written, relative to the project's root.

    Raises:
        UsageError: one of the files is there already, or cannot be written; then nothing was written.
    """
    from metalayer.project.writing import drafted, model_file, source_file  # noqa: PLC0415 - `init` writes no YAML

    table = source.model.name
    files = {f"{table.layer}/{table.name}.yml": source_file(source.model, heading=source.heading, notes=source.notes)}
    if model is not None:
        files[f"{model.name.layer}/{model.name.name}.sql"] = model_file(drafted(model), heading=model.heading)
    return _write(Path(root), files, overwrite=overwrite)


def _write(root: Path, files: Mapping[str, str], *, overwrite: bool = False) -> tuple[str, ...]:
    """Write files where none of them is, or where they may be overwritten."""
    there = [path for path in files if (root / path).exists()]
    if there and not overwrite:
        raise UsageError(
            f"{root} holds files that would be overwritten: {', '.join(there)}.",
            hint="Move them away, or choose another directory or name.",
        )
    try:
        for path, text in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            # "x" never writes over what somebody wrote meanwhile.
            with target.open("w" if overwrite else "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(
            f"{error.filename or root} cannot be written: {error.strerror}.",
            hint="Choose a directory that you may write to.",
        ) from error
    return tuple(files)


def _name_of(root: Path) -> str:
    """Return a project's name made from its directory's."""
    name = re.sub(r"[^a-z0-9_-]+", "-", root.name.lower()).strip("-_")
    name = name if re.match(r"[a-z]", name) else f"project-{name}".rstrip("-")
    return name[:63]


def project_files(name: str) -> dict[str, str]:
    """Return the files of a new project by their paths.

    Raises:
        UsageError: the name is none that a project can have.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise UsageError(
            f"'{name}' is not a project's name.",
            hint="Begin with a letter and write small letters, digits, - and _ only: shop, web-shop.",
        )
    files = {
        SETTINGS_FILE: _SETTINGS.format(name=name, owner=f"{name}-data"),
        "README.md": _README.format(name=name),
        _IGNORE: _IGNORED,
        ".env.example": _ENVIRONMENT,
        f"{EDITOR}/settings.json": editor_settings(),
    }
    files |= {f"{directory}/.gitkeep": f"{words}\n" for directory, words in _KEPT.items()}
    return files | {f"{SCHEMAS}/{schema}.json": shipped(schema) for schema, paths in SCHEMA_FILES.items() if paths}


def editor_settings() -> str:
    """Return the editor's settings that hold YAML files against the schemas beside them, offline and after a clone."""
    schemas = {f"{SCHEMAS}/{schema}.json": list(paths) for schema, paths in SCHEMA_FILES.items() if paths}
    settings = {
        "yaml.schemas": schemas,
        "yaml.yamlVersion": "1.2",
        "files.associations": {"*.odcs.yaml": "yaml"},
    }
    return json.dumps(settings, indent=2) + "\n"


def shipped(name: str) -> str:
    """Return the text of a schema as it ships with the package."""
    return (SCHEMA_DIRECTORY / f"{name}.json").read_text(encoding="utf-8")
