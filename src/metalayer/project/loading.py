"""From a directory to a project: finds the declared files, reads each, and raises every mistake at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.errors import Location, Problem, ProjectError
from metalayer.core.names import Layer, TableName
from metalayer.core.project import Document, EnvironmentDeclaration, OnFailure, Project
from metalayer.core.source import SourceType
from metalayer.project.bronze import read_reference, read_source
from metalayer.project.columns import Holdings
from metalayer.project.documents import Judged, read_document
from metalayer.project.draft import Draft, unreadable
from metalayer.project.environment import DEFAULT_ENVIRONMENT
from metalayer.project.exports import read_exports
from metalayer.project.files import DeclaredFile, Mistakes, read_file
from metalayer.project.judging import judge
from metalayer.project.layout import DIRECTORIES, DOCUMENT_DIRECTORIES, SETTINGS_FILE, files_below
from metalayer.project.macros import read_macros
from metalayer.project.models import read_python_model, read_sql_model
from metalayer.project.nodes import MapNode, read_yaml
from metalayer.project.passwords import warn_of_passwords
from metalayer.project.policies import read_policies
from metalayer.project.reading import ShapeReader
from metalayer.project.shapes import EnvironmentShape, ProjectShape

_YAML = (".yml", ".yaml")


def load(root: str | os.PathLike[str], *, sources: Mapping[str, SourceType]) -> Project:
    """Read a project.

    Args:
        root: the directory in which ``metalayer.yml`` lies.
        sources: the types of sources that are known, by the name that stands under ``type:``.

    Raises:
        ProjectError: something is wrong; it holds every mistake of every file.
    """
    directory = Path(root).resolve()
    mistakes = Mistakes()
    reader = ShapeReader(mistakes)
    settings = _settings(directory, reader)
    reader.macros = read_macros(directory, mistakes)
    drafts = [draft for found in _declaring(directory) for draft in _drafts(found, directory, sources, reader)]
    holdings, judged = Holdings(macros=reader.macros), Judged()
    models = judge(drafts, settings.defaults.owner if settings else "", mistakes, holdings)
    documents = tuple(_documents(directory, models, reader, judged))
    policies = read_policies(judged.policies, models, holdings, reader)
    exports = read_exports(judged.exports, models, policies, reader)
    if mistakes.problems or settings is None:
        raise ProjectError(mistakes.problems)
    return Project(
        name=settings.name,
        root=str(directory),
        models=models,
        environments=_environments(settings),
        timezone=settings.defaults.timezone,
        documents=documents,
        warnings=tuple(sorted(mistakes.warnings, key=_by_place)),
        secrets=settings.secrets.command if settings.secrets else (),
        macros=reader.macros,
        policies=policies,
        exports=exports,
    )


def _by_place(problem: Problem) -> tuple[str, int, int]:
    return problem.location.path, problem.location.line or 0, problem.location.column or 0


def _settings(root: Path, reader: ShapeReader) -> ProjectShape | None:
    path = root / SETTINGS_FILE
    if not path.is_file():
        where = "This directory" if root.is_dir() else f"The directory {root} is not there and"
        raise ProjectError(
            [
                Problem(
                    f"{where} has no {SETTINGS_FILE}, so it is not a project.",
                    "`metalayer init DIRECTORY` makes a project; `metalayer -C DIRECTORY` opens another one.",
                    Location(str(path)),
                )
            ]
        )
    file = read_file(root, path, reader.mistakes)
    node = read_yaml(file, reader.mistakes) if file is not None else None
    if node is None:
        return None
    warn_of_passwords(node, reader.mistakes)
    _warn_of_strangers(root, reader.mistakes)
    environments = node.value("environments")
    for name, _ in environments.items if isinstance(environments, MapNode) else ():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name.text):
            reader.mistakes.add(
                f"'{name.text}' is not an environment's name.",
                hint="Begin with a letter and write small letters, digits, - and _ only: prod, prod-eu.",
                location=name.location,
            )
    return reader.shape(node, ProjectShape, what=f"in {SETTINGS_FILE}")


def _warn_of_strangers(root: Path, mistakes: Mistakes) -> None:
    """Warn of a directory that is named almost like one that is read."""
    for path in sorted(root.iterdir()):
        if path.name in DIRECTORIES or path.name.startswith(".") or not path.is_dir():
            continue
        near = difflib.get_close_matches(path.name.lower(), DIRECTORIES, n=1, cutoff=0.75)
        if near and any(found.suffix in {*_YAML, ".sql", ".csv"} for found in files_below(path)):
            mistakes.warn(
                f"What lies in {path.name}/ is not read.",
                hint=f"Did you mean '{near[0]}'? Rename the directory, if it holds declarations.",
                location=Location(path.name),
            )


def _environments(settings: ProjectShape) -> Mapping[str, EnvironmentDeclaration]:
    """Return the environments by name; the one for development is there by itself."""
    shapes = {DEFAULT_ENVIRONMENT: None, **settings.environments}
    return {name: _environment(name, shape or EnvironmentShape()) for name, shape in shapes.items()}


def _environment(name: str, shape: EnvironmentShape) -> EnvironmentDeclaration:
    return EnvironmentDeclaration(
        name=name,
        database=shape.database,
        data=shape.lake.data,
        encrypted=shape.lake.encrypted,
        compression=shape.lake.compression,
        on_failure=OnFailure(shape.on_failure.webhook),
        audit_key=shape.audit.key,
        audit_anchor=shape.audit.anchor,
        keep=shape.keep,
        threads=shape.threads,
        memory=shape.memory,
        objects=shape.objects,
        removing=shape.lake.removing,
        cache=shape.lake.cache,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A file below one of the project's directories."""

    directory: str
    path: Path


def _declaring(root: Path) -> Iterator[_Found]:
    """Yield the files that may declare tables, in a fixed order."""
    for directory in ("bronze", "reference", "silver", "gold"):
        for path in files_below(root / directory):
            yield _Found(directory, path)


def _drafts(found: _Found, root: Path, sources: Mapping[str, SourceType], reader: ShapeReader) -> tuple[Draft, ...]:
    """Return the tables that one file declares; none for files that are no declarations, such as a README."""
    suffix, stem = found.path.suffix, found.path.stem
    if found.directory == "reference":
        if suffix != ".csv":
            return ()
        return (read_reference(DeclaredFile.of(found.path.relative_to(root).as_posix(), ""), stem, sources, reader),)
    layer = Layer(found.directory)
    readable = {Layer.BRONZE: _YAML}.get(layer, (".sql", ".py"))
    if suffix not in readable:
        _note_misplaced(found, root, layer, reader.mistakes)
        return ()
    if suffix == ".py" and stem.startswith("_"):
        return ()
    file = read_file(root, found.path, reader.mistakes)
    if file is None:
        return (unreadable(TableName(layer, stem), DeclaredFile.of(found.path.relative_to(root).as_posix(), "")),)
    match suffix:
        case ".sql":
            return (read_sql_model(file, layer, stem, reader),)
        case ".py":
            return (read_python_model(file, layer, stem, str(root), reader),)
        case _:
            return read_source(file, stem, sources, reader)


def _note_misplaced(found: _Found, root: Path, layer: Layer, mistakes: Mistakes) -> None:
    """Note a declaration that lies in a layer which cannot have it."""
    location = Location(found.path.relative_to(root).as_posix())
    if layer is Layer.BRONZE and found.path.suffix in {".sql", ".py"}:
        mistakes.add(
            "Tables of bronze take their rows from a source; a query cannot declare one.",
            hint=f"Move the file to silver/, or write bronze/{found.path.stem}.yml with the source.",
            location=location,
        )
    elif layer is not Layer.BRONZE and found.path.suffix in _YAML:
        mistakes.add(
            f"Tables of {layer} are declared by a query; YAML alone cannot declare one.",
            hint=f"Put it into the front matter of {layer}/{found.path.stem}.sql, between `/*---` and `---*/`.",
            location=location,
        )


def _documents(root: Path, tables: Iterable[TableName], reader: ShapeReader, judged: Judged) -> Iterator[Document]:
    """Yield the declarations that other rooms read later, and keep those that are judged together."""
    known = frozenset(tables)
    found = [
        (path, kind)
        for directory, kind in DOCUMENT_DIRECTORIES.items()
        for path in files_below(root / directory)
        if path.suffix in _YAML
    ]
    found += [
        (path, "contract")
        for path in files_below(root / "contracts")
        if path.name.endswith((".odcs.yaml", ".odcs.yml"))
    ]
    found += [(root / "glossary.yml", "glossary")] if (root / "glossary.yml").is_file() else []
    for path, kind in found:
        file = read_file(root, path, reader.mistakes)
        if file is not None and (document := read_document(file, kind, known, reader, judged)) is not None:
            yield document
