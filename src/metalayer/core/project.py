"""A project: everything declared in one directory, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metalayer.core.errors import Problem, UsageError, did_you_mean
from metalayer.core.export import Export
from metalayer.core.macro import DeclaredMacro
from metalayer.core.model import Model
from metalayer.core.names import TableName
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.policy import Policies


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What to tell whom when a run fails: a URL that gets a JSON POST."""

    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentDeclaration:
    """What ``metalayer.yml`` says of one environment; ``${NAME}`` is not yet resolved here.

    ``database`` None is the embedded PostgreSQL; ``data`` None is ``.metalayer/lake``. ``objects`` says how object
    stores are reached, ``removing`` with which rights maintenance removes a lake's files from one, and ``cache`` how
    much of it is kept here.
    """

    name: str
    database: str | None = None
    data: str | None = None
    encrypted: bool = False
    compression: str = "zstd"
    on_failure: OnFailure = OnFailure()
    audit_key: str | None = None
    audit_anchor: str | None = None
    keep: str = "7d"
    threads: int | None = None
    memory: str | None = None
    objects: StoreAccess = NO_ACCESS
    removing: StoreAccess = NO_ACCESS
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A declaration that another room reads later (metrics, policies, tests …): its parsed YAML."""

    kind: str
    path: str
    content: object = field(hash=False)


@dataclass(frozen=True, slots=True)
class Project:
    """A directory's declarations. ``models`` is ordered so that each table stands after its inputs.

    ``secrets`` is the command that prints the secret whose name follows it, for those that the environment and ``.env``
    do not have. ``policies`` say who may see what. ``warnings`` are remarks that stop nothing (a model without key and
    kind is ``full``).
    """

    name: str
    root: str
    models: Mapping[TableName, Model] = field(hash=False)
    environments: Mapping[str, EnvironmentDeclaration] = field(hash=False)
    timezone: str = "UTC"
    documents: tuple[Document, ...] = ()
    warnings: tuple[Problem, ...] = ()
    secrets: tuple[str, ...] = ()
    macros: tuple[DeclaredMacro, ...] = ()
    policies: Policies = field(default_factory=Policies)
    exports: tuple[Export, ...] = ()

    def model(self, name: TableName) -> Model:
        """Return the model that declares a table (its companions included).

        Raises:
            UsageError: no file declares it.
        """
        found = self.models.get(name) or self.models.get(name.owner)
        if found is None:
            known = [str(table) for table in self.models]
            raise UsageError(
                f"The project has no table {name}.",
                hint=f"{did_you_mean(str(name), known)}`metalayer validate` lists the tables of the project.",
            )
        return found
