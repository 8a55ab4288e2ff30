"""Files of ``policies/`` as values of `core.policy`, each rule judged against the tables and the other rules.

What a rule names must be there: tables, columns, roles and purposes. SQL is parsed and held against the columns of
every table that it would be applied to. Users and groups are not known here: `metalayer access check` looks at those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from metalayer.core.errors import Location, did_you_mean
from metalayer.core.lineage import Point
from metalayer.core.model import Model
from metalayer.core.names import COMPANIONS, Layer, TableName
from metalayer.core.people import Scope
from metalayer.core.policy import (
    BUILT_IN,
    ColumnMatch,
    Declassified,
    Erasure,
    Grant,
    Mask,
    MaskKind,
    Policies,
    Purpose,
    Retention,
    Role,
    RowFilter,
    TableMatch,
    Whom,
)
from metalayer.core.schema import Schema
from metalayer.core.sql import PolicyExpression, SqlSyntaxError, policy_expression
from metalayer.project.clashes import Family, family
from metalayer.project.columns import Holdings, find
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.inside import Inside
from metalayer.project.judging import nearest_table
from metalayer.project.nodes import MapNode, locate
from metalayer.project.policy_shapes import (
    GrantShape,
    MaskedShape,
    MaskShape,
    PickShape,
    PoliciesShape,
    RoleShape,
    RowsShape,
    WhomShape,
)
from metalayer.project.reading import ShapeReader


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file of policies, read and not yet judged."""

    file: DeclaredFile
    node: MapNode
    shape: PoliciesShape


def read_policies(
    files: Sequence[PolicyFile], models: Mapping[TableName, Model], holdings: Holdings, reader: ShapeReader
) -> Policies:
    """Return what all files say together, and note what is wrong with it.

    Args:
        files: the files of policies.
        models: the tables.
        holdings: their columns, as far as they are known.
        reader: what read the files, for the places of values.
    """
    if not files:
        return Policies()
    judge = _Judge(models, holdings, reader, _names(files, reader.mistakes))
    return Policies(
        roles=tuple(judge.role(name, shape, file) for file in files for name, shape in file.shape.roles.items()),
        masks=tuple(mask for file in files for shape in file.shape.masks for mask in judge.mask(shape, file)),
        rows=tuple(judge.rows(shape, file) for file in files for shape in file.shape.rows),
        declassified=tuple(word for file in files for word in judge.declassified(file)),
        purposes=tuple(
            Purpose(name, words, locate(file.node, "purposes", name))
            for file in files
            for name, words in file.shape.purposes.items()
        ),
        retention=tuple(rule for file in files for rule in judge.retention(file)),
        erasure=tuple(rule for file in files for rule in judge.erasure(file)),
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """The roles and purposes that are declared anywhere."""

    roles: frozenset[str]
    purposes: frozenset[str]


def _names(files: Iterable[PolicyFile], mistakes: Mistakes) -> _Names:
    """Return what is declared, and note what is declared twice."""
    found: dict[str, dict[str, Location]] = {"roles": {}, "purposes": {}, "erasure": {}}
    for file in files:
        for key, seen in found.items():
            entries = file.node.value(key)
            for name, _ in entries.items if isinstance(entries, MapNode) else ():
                first = seen.setdefault(name.text, name.location)
                if first is not name.location:
                    mistakes.add(
                        f"'{name.text}' is declared under `{key}` twice: in {first.path} as well.",
                        hint="Keep one of them; a role may have several grants.",
                        location=name.location,
                    )
    roles = frozenset([*found["roles"], *(role.name for role in BUILT_IN)])
    return _Names(roles, frozenset(found["purposes"]))


class _Judge:
    """Judges rules against tables and other rules."""

    def __init__(
        self, models: Mapping[TableName, Model], holdings: Holdings, reader: ShapeReader, names: _Names
    ) -> None:
        self.models = models
        self.holdings = holdings
        self.reader = reader
        self.mistakes = reader.mistakes
        self.names = names
        self.column_tags = {tag for model in models.values() for column in model.columns for tag in column.tags}
        self.table_tags = {tag for model in models.values() for tag in model.tags}

    # --- values -------------------------------------------------------------------------------------------------------

    def role(self, name: str, shape: RoleShape, file: PolicyFile) -> Role:
        """Return a role."""
        roles = file.node.value("roles")
        key = roles.key(name) if isinstance(roles, MapNode) else None
        place = key.location if key is not None else file.node.location
        if not (name and name.replace("_", "a").replace("-", "a").isalnum() and name == name.lower()):
            self.mistakes.add(
                f"'{name}' is not the name of a role.",
                hint="Write small letters, digits, - and _: analyst, region_lead.",
                location=place,
            )
        grants = (shape.read,) if isinstance(shape.read, GrantShape) else shape.read
        return Role(
            name,
            tuple(self.grant(item) for item in grants),
            frozenset({Scope.READ, *shape.may}),
            groups=tuple(word.lower() for word in shape.groups),
            users=tuple(word.lower() for word in shape.users),
            description=shape.description,
            location=place,
        )

    def grant(self, shape: GrantShape) -> Grant:
        """Return a grant."""
        node = self.reader.node_of(shape)
        tables = self.tables(shape.layers, shape.tables, shape.tags, node)
        self.purposes(shape.purposes, node)
        columns, without = (self.picked(shape, key, tables, node) for key in ("columns", "without"))
        return Grant(tables, columns, without, shape.purposes, node.location)

    def picked(self, shape: GrantShape, key: str, tables: TableMatch, node: MapNode) -> ColumnMatch | None:
        """Return the columns under a key of a grant, or None where it says nothing."""
        said: PickShape | tuple[str, ...] = getattr(shape, key)
        if not said:
            return None
        path: tuple[str, ...] = (key,) if isinstance(said, tuple) else (key, "names")
        pick = PickShape(names=said) if isinstance(said, tuple) else said
        names = tuple(name.lower() for name in pick.names)
        self.columns_exist(names, tables, node, path)
        self.tags(pick.tags, self.column_tags, node, (key, "tags"))
        return ColumnMatch(names=names, tags=pick.tags)

    def mask(self, shape: MaskShape, file: PolicyFile) -> Iterable[Mask]:
        """Yield the masks of one entry: one, or one for each column where columns are listed."""
        node = self.reader.node_of(shape)
        base = Mask(
            shape.name or f"{file.file.path}:{node.location.line}",
            ColumnMatch(),
            MaskKind.SQL if shape.sql else shape.show or MaskKind.NULL,
            first=shape.first if shape.first is not None else 0,
            last=shape.last if shape.last is not None else (0 if shape.first is not None else 4),
            size=shape.size if isinstance(shape.size, float) else None,
            unit=shape.size if isinstance(shape.size, str) else "",
            sql=shape.sql,
            only=None if shape.only is None else self.whom(shape.only),
            unless=Whom() if shape.unless is None else self.whom(shape.unless),
            location=node.location,
        )
        matches = self.masked(shape.columns, node)
        self.mask_sql(base, matches, node, file)
        for match in matches:
            self.fits(base, match, node)
            yield replace(base, columns=match)

    def masked(self, said: MaskedShape | tuple[Point, ...], node: MapNode) -> list[ColumnMatch]:
        """Return the columns that a mask is about."""
        if isinstance(said, MaskedShape):
            inner = self.reader.node_of(said)
            tables = self.tables(said.layers, said.tables, (), inner)
            self.tags(said.tags, self.column_tags, inner, ("tags",))
            names = tuple(name.lower() for name in said.names)
            self.columns_exist(names, tables, inner, ("names",))
            return [ColumnMatch(tables, names, said.tags)]
        found = []
        for index, point in enumerate(said):
            self.column(point, locate(node, "columns", index))
            match = TableMatch(tables=(str(point.table),))
            found.append(ColumnMatch(match, names=(str(point.column).lower(),)))
        return found

    def rows(self, shape: RowsShape, file: PolicyFile) -> RowFilter:
        """Return a row filter."""
        node = self.reader.node_of(shape)
        tables = self.tables(shape.layers, shape.tables, shape.tags, node)
        having = tuple(name.lower() for name in shape.columns)
        self.columns_exist(having, tables, node, ("columns",))
        rule = RowFilter(
            shape.name or f"{file.file.path}:{node.location.line}",
            tables,
            shape.sql,
            having,
            only=None if shape.only is None else self.whom(shape.only),
            unless=Whom() if shape.unless is None else self.whom(shape.unless),
            location=node.location,
        )
        place = Inside(node.value("sql"), file.file, node.location)
        parsed = self.parsed(shape.sql, "a row filter", place, boolean=True)
        for table in self.meant(tables):
            held = self.holdings.of(table)
            names = {column.name.lower() for column in held or ()}
            if parsed is not None and held is not None and names.issuperset(having):
                self.columns_of_sql(parsed, table, held, place, "the row filter")
        return rule

    def whom(self, shape: WhomShape) -> Whom:
        """Return readers."""
        node = self.reader.node_of(shape)
        for index, name in enumerate(shape.roles):
            if name not in self.names.roles:
                self.mistakes.add(
                    f"There is no role '{name}'.",
                    hint=f"{did_you_mean(name, self.names.roles)}Declare it under `roles:`, or write one of: "
                    f"{', '.join(sorted(self.names.roles))}.",
                    location=locate(node, "roles", index),
                )
        self.purposes(shape.purposes, node)
        return Whom(
            shape.roles,
            tuple(word.lower() for word in shape.groups),
            tuple(word.lower() for word in shape.users),
            shape.purposes,
        )

    def declassified(self, file: PolicyFile) -> Iterable[Declassified]:
        """Yield what a steward has said."""
        for shape in file.shape.declassify:
            node = self.reader.node_of(shape)
            column = self.column(shape.column, locate(node, "column"))
            self.tags(shape.tags, self.column_tags, node, ("tags",))
            model = self.models.get(shape.column.table)
            own = find(column, model.columns) if model is not None else None
            for index, tag in enumerate(shape.tags):
                if own is not None and tag in own.tags:
                    self.mistakes.add(
                        f"{shape.column} has the tag '{tag}' because its own declaration says so.",
                        hint=f"Take the tag out of {model.location.path if model is not None else 'its file'}; only "
                        "inherited tags are declassified here.",
                        location=locate(node, "tags", index),
                    )
            yield Declassified(shape.column.table, column, shape.tags, shape.reason, node.location)

    def retention(self, file: PolicyFile) -> Iterable[Retention]:
        """Yield how long what is kept."""
        for shape in file.shape.retention:
            node = self.reader.node_of(shape)
            tables = self.tables(shape.layers, shape.tables, shape.tags, node)
            self.columns_exist((shape.by.lower(),), tables, node, ("by",))
            for table in self.meant(tables):
                held = find(shape.by, self.holdings.of(table) or ())
                if held is not None and held.type is not None and family(held.type) is not Family.TIME:
                    self.mistakes.add(
                        f"{table}.{held.name} is of type {held.type}, which does not say how old a row is.",
                        hint="Name a column that holds a date or a moment.",
                        location=locate(node, "by"),
                    )
            yield Retention(tables, shape.by, shape.keep, node.location)

    def erasure(self, file: PolicyFile) -> list[Erasure]:
        """Return how persons are found."""
        found = []
        for subject, shape in file.shape.erasure.items():
            node = self.reader.node_of(shape)
            keys = tuple(
                (point.table, self.column(point, locate(node, "keys", index))) for index, point in enumerate(shape.keys)
            )
            found.append(Erasure(subject, keys, node.location))
        return found

    # --- what rules name ----------------------------------------------------------------------------------------------

    def tables(
        self, layers: tuple[Layer, ...], patterns: tuple[str, ...], tags: tuple[str, ...], node: MapNode
    ) -> TableMatch:
        """Return which tables are meant, and note names that name none."""
        companions = [TableName(name.layer, name.name + suffix) for name in self.models for suffix in COMPANIONS]
        names = [str(name) for name in (*self.models, *companions)]
        for index, pattern in enumerate(patterns):
            if not any(fnmatchcase(name, pattern) for name in names):
                where = locate(node, "tables", index)
                if "*" in pattern:
                    self.mistakes.warn(
                        f"No table is named like {pattern}.",
                        hint="Correct the pattern, or delete it until there is one.",
                        location=where,
                    )
                else:
                    table = TableName.parse(pattern)
                    self.mistakes.add(
                        f"There is no table {table}.",
                        hint=f"{nearest_table(table.owner, self.models)}Write the name of a table that the project "
                        "declares.",
                        location=where,
                    )
        self.tags(tags, self.table_tags, node, ("tags",))
        return TableMatch(layers, patterns, tags)

    def tags(self, tags: tuple[str, ...], known: Iterable[str], node: MapNode, path: tuple[str, ...]) -> None:
        """Warn of tags that nothing has: a rule by a misspelled tag would protect nothing."""
        names = sorted(known)
        for index, tag in enumerate(tags):
            if tag not in names:
                what = "column" if known is self.column_tags else "table"
                there = f"The tags of {what}s are: {', '.join(names)}." if names else f"No {what} has a tag yet."
                self.mistakes.warn(
                    f"No {what} has the tag '{tag}'.",
                    hint=f"{did_you_mean(tag, names)}{there}",
                    location=locate(node, *path, index),
                )

    def purposes(self, names: tuple[str, ...], node: MapNode) -> None:
        """Note purposes that are not declared."""
        for index, name in enumerate(names):
            if name not in self.names.purposes:
                self.mistakes.add(
                    f"The purpose '{name}' is not declared.",
                    hint=f"{did_you_mean(name, self.names.purposes)}Declare it: `purposes: {{{name}: what it is}}`.",
                    location=locate(node, "purposes", index),
                )

    def meant(self, tables: TableMatch) -> list[TableName]:
        """Return the tables that a rule is about."""
        return [name for name, model in self.models.items() if tables.matches(name, model.tags)]

    def columns_exist(self, names: tuple[str, ...], tables: TableMatch, node: MapNode, path: tuple[str, ...]) -> None:
        """Note columns that no table has which the rule is about, where all of their columns are known."""
        meant = self.meant(tables)
        held = [self.holdings.of(table) for table in meant]
        if not meant or any(columns is None for columns in held):
            return
        known = sorted({column.name.lower() for columns in held for column in columns or ()})
        for index, name in enumerate(names):
            if not any(fnmatchcase(column, name) for column in known):
                where = str(meant[0]) if len(meant) == 1 else "any of the tables that are meant"
                shown = f"It has: {', '.join(known[:20])}." if len(meant) == 1 else "Or name other tables."
                self.mistakes.add(
                    f"There is no column '{name}' in {where}.",
                    hint=f"{did_you_mean(name, known)}{shown}",
                    location=locate(node, *path, index),
                )

    def column(self, point: Point, location: Location) -> str:
        """Return the column of a point as its table spells it, and note what is not there."""
        column = str(point.column)
        if point.table.owner not in self.models:
            self.mistakes.add(
                f"There is no table {point.table.owner}.",
                hint=f"{nearest_table(point.table.owner, self.models)}Write layer.table.column.",
                location=location,
            )
            return column
        held = self.holdings.of(point.table)
        found = find(column, held) if held is not None else None
        if held is not None and found is None:
            names = [item.name for item in held]
            self.mistakes.add(
                f"{point.table} has no column '{column}'.",
                hint=f"{did_you_mean(column, names)}It has: {', '.join(names[:20])}.",
                location=location,
            )
        return found.name if found is not None else column

    # --- SQL ----------------------------------------------------------------------------------------------------------

    def parsed(self, text: str, where: str, place: Inside, *, boolean: bool) -> PolicyExpression | None:
        """Return an expression, or None and a mistake noted."""
        try:
            return policy_expression(text, where=where, boolean=boolean)
        except SqlSyntaxError as error:
            self.mistakes.add(error.message, hint=error.hint, location=place.at(error.line, error.column))
            return None

    def columns_of_sql(
        self, parsed: PolicyExpression, table: TableName, held: Schema, place: Inside, what: str
    ) -> None:
        """Note columns of an expression that a table does not have to which it would be applied."""
        for problem in parsed.problems([column.name for column in held]):
            self.mistakes.add(
                f"{problem.message[:-1]} in {table}, to which {what} applies.",
                hint=f"{problem.hint} Or name the tables that have it: `tables:`, or `columns:` for all that do.",
                location=place.at(problem.line, problem.column),
            )

    def mask_sql(self, mask: Mask, matches: Iterable[ColumnMatch], node: MapNode, file: PolicyFile) -> None:
        """Judge the expression of a mask on the tables whose columns it is about."""
        if mask.show is not MaskKind.SQL:
            return
        place = Inside(node.value("sql"), file.file, node.location)
        parsed = self.parsed(mask.sql, "a mask", place, boolean=False)
        for match in matches if parsed is not None else ():
            for table in self.meant(match.tables):
                held = self.holdings.of(table) or ()
                # A tag may be inherited by columns of any table: what is not named is judged where it is read.
                named = match.names and not match.tags and any(match.matches(column.name, ()) for column in held)
                if parsed is not None and named:
                    self.columns_of_sql(parsed, table, held, place, "the mask")

    def fits(self, mask: Mask, match: ColumnMatch, node: MapNode) -> None:
        """Note a bucket of a column that has none, where columns are named and their types known."""
        if mask.show is not MaskKind.BUCKET or not match.names:
            return
        wanted = Family.TIME if mask.unit else Family.NUMBER
        for table in self.meant(match.tables):
            for column in self.holdings.of(table) or ():
                if column.type is None or not match.matches(column.name, column.tags or match.tags):
                    continue
                if family(column.type) is not wanted:
                    self.mistakes.add(
                        f"{table}.{column.name} is of type {column.type}, and a bucket of this size holds {wanted}.",
                        hint="Write a number for numbers, a unit such as month for dates, or `show: null`.",
                        location=locate(node, "size"),
                    )
