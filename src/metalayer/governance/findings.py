"""`access check`: what is wrong between policies, tables and people that no single file can know.

Pure: it looks at rules, tags, columns and people, and reads no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from metalayer.core.errors import AccessError, Location, did_you_mean
from metalayer.core.lineage import Point
from metalayer.core.names import QUARANTINE, REJECTS, TableName
from metalayer.core.people import EVERYONE, Person
from metalayer.core.policy import Concern, Mask, MaskKind, Policies, RowFilter, Tagged
from metalayer.governance.access import Access
from metalayer.governance.masks import condition, expression, is_number, is_time

SENSITIVE = "pii"
"""The tag that asks for a policy by itself; so does every tag that a policy names."""


@dataclass(frozen=True, slots=True)
class AccessFinding:
    """Something to look at: what, why, where and how to mend it. A remark asks for nothing."""

    concern: Concern
    message: str
    hint: str
    location: Location | None = None
    remark: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as rules see it."""

    name: TableName
    tags: tuple[str, ...]
    columns: tuple[Tagged, ...]


def findings(access: Access, people: Iterable[Person], groups: Iterable[str]) -> tuple[AccessFinding, ...]:
    """Return everything that is wrong, the gravest first.

    Args:
        access: the owner's, of the tables as they are now.
        people: everybody.
        groups: the names of all groups.
    """
    persons, policies = tuple(people), access.policies
    tables = tuple(_tables(access))
    return (
        *_unprotected(policies, tables, access),
        *_closed(policies, tables),
        *_unknown_columns(policies, tables, access),
        *_reach_nothing(policies, tables),
        *_declassified(policies, access),
        *_strangers(policies, persons, frozenset(groups)),
        *_without_role(policies, persons),
        *_without_attribute(access, tables, persons),
        *_unfiltered(policies, tables, access),
        *_not_built(policies),
    )


def _tables(access: Access) -> Iterator[_Table]:
    for name, model in access.project.models.items():
        yield _Table(name, model.tags, access.tags.tagged(name, access.columns(name) or ()))


def _sensitive(policies: Policies) -> frozenset[str]:
    named = {tag for mask in policies.masks for tag in mask.columns.tags}
    without = {tag for role in policies.roles for grant in role.read if grant.without for tag in grant.without.tags}
    return frozenset({SENSITIVE, *named, *without})


def _unprotected(policies: Policies, tables: Iterable[_Table], access: Access) -> Iterator[AccessFinding]:
    """Find sensitive columns that somebody's role reads and no mask is about."""
    sensitive = _sensitive(policies)
    held = [role for role in policies.roles if role.groups or role.users]
    for table in tables:
        for column in table.columns:
            tags = sorted(column.tags & sensitive)
            if not tags or any(_is_about(mask, table, column) for mask in policies.masks):
                continue
            readers = [
                role.name
                for role in held
                if any(
                    g.tables.matches(table.name, table.tags) and g.gives(column.name, column.tags) for g in role.read
                )
            ]
            if readers:
                origin = access.tags.of(table.name, column.name)[tags[0]]
                here = Point(table.name, column.name)
                why = "" if origin == here else f" (from {origin})"
                yield AccessFinding(
                    Concern.UNPROTECTED,
                    f"{here} has the tag '{tags[0]}'{why}, and {_listed(readers)} may read it as it is.",
                    f"Mask it in policies/: `masks: [{{columns: {{tags: [{tags[0]}]}}, show: hash}}]`; or take it out "
                    f"of the grant with `without: {{tags: [{tags[0]}]}}`; or declassify it with a reason.",
                )


def _is_about(mask: Mask, table: _Table, column: Tagged) -> bool:
    return mask.columns.tables.covers(table.name, table.tags) and mask.columns.matches(column.name, column.tags)


def _closed(policies: Policies, tables: tuple[_Table, ...]) -> Iterator[AccessFinding]:
    """Find rules that cannot be applied to a table, which is thereby shown to nobody, or only as NULL."""
    for rule in policies.rows:
        needed = set(condition(rule.sql).columns)
        for table in tables:
            names = {column.name.lower() for column in table.columns}
            if names and _filters(rule, table) and (missing := needed - names):
                yield AccessFinding(
                    Concern.CANNOT_APPLY,
                    f"The row filter '{rule.name}' asks for {_listed(sorted(missing))}, which {table.name} does not "
                    "have: nobody to whom it applies can read that table.",
                    "Name the tables that have it, or add `columns:`: then it is about tables with these columns.",
                    rule.location,
                )
    for mask in policies.masks:
        for table in tables:
            for column in table.columns:
                if _is_about(mask, table, column) and (why := _misfit(mask, table, column)):
                    yield AccessFinding(
                        Concern.CANNOT_APPLY,
                        f"The mask '{mask.name}' {why}",
                        "Write another mask for that column, or name the columns that this one is for.",
                        mask.location,
                    )


def _unknown_columns(policies: Policies, tables: tuple[_Table, ...], access: Access) -> Iterator[AccessFinding]:
    """Find granted tables of which nobody knows the columns: they are shown to nobody."""
    held = [role for role in policies.roles if role.groups or role.users]
    for table in tables:
        granted = any(grant.tables.matches(table.name, table.tags) for role in held for grant in role.read)
        if granted and access.columns(table.name) is None:
            yield AccessFinding(
                Concern.CANNOT_APPLY,
                f"The columns of {table.name} are not known, so nobody to whom it is granted sees it.",
                "Build it (metalayer run), or give each column of the view a name with AS.",
                access.project.models[table.name].location,
            )


def _misfit(mask: Mask, table: _Table, column: Tagged) -> str:
    here = Point(table.name, column.name)
    match mask.show:
        case MaskKind.SQL:
            missing = set(expression(mask).columns) - {item.name.lower() for item in table.columns}
            return (
                f"asks for {_listed(sorted(missing))}, which {table.name} does not have: nobody to whom it applies can "
                "read that table."
                if missing
                else ""
            )
        case MaskKind.BUCKET:
            fits = is_time(column.type) if mask.unit else is_number(column.type)
            return "" if fits or column.type is None else f"has no bucket for {here}, a {column.type}: it shows NULL."
        case _:
            return ""


def _reach_nothing(policies: Policies, tables: tuple[_Table, ...]) -> Iterator[AccessFinding]:
    """Find grants, masks and filters that are about nothing."""
    for role in policies.roles:
        for grant in role.read:
            named = any(pattern.endswith((QUARANTINE, REJECTS)) for pattern in grant.tables.tables)
            reached = any(
                grant.tables.matches(table.name, table.tags)
                and (not table.columns or any(grant.gives(column.name, column.tags) for column in table.columns))
                for table in tables
            )
            if grant.location.path and not named and not reached:
                yield _nothing(f"A grant of the role '{role.name}' reaches no table.", grant.location)
    for mask in policies.masks:
        if not any(_is_about(mask, table, column) for table in tables for column in table.columns):
            yield _nothing(f"The mask '{mask.name}' is about no column.", mask.location)
    for rule in policies.rows:
        if not any(_filters(rule, table) for table in tables):
            yield _nothing(f"The row filter '{rule.name}' is about no table.", rule.location)


def _nothing(message: str, location: Location) -> AccessFinding:
    return AccessFinding(Concern.REACHES_NOTHING, message, "Correct the names or tags in it, or delete it.", location)


def _declassified(policies: Policies, access: Access) -> Iterator[AccessFinding]:
    """Find words of a steward that change nothing: the column declares the tag itself, or would not inherit it."""
    for word in policies.declassified:
        released = access.tags.released.get(Point(word.table, word.column.lower()), frozenset())
        for tag in word.tags:
            if tag not in released:
                yield AccessFinding(
                    Concern.REACHES_NOTHING,
                    f"{word.table}.{word.column} does not inherit the tag '{tag}', so nothing is declassified.",
                    "Correct the column or the tag, or delete the entry.",
                    word.location,
                )


def _strangers(policies: Policies, people: tuple[Person, ...], groups: frozenset[str]) -> Iterator[AccessFinding]:
    """Find groups and users that files name and nobody has added."""
    names = {person.name for person in people}
    for role in policies.roles:
        for group in role.groups:
            if group not in {*groups, EVERYONE}:
                yield AccessFinding(
                    Concern.UNKNOWN_PEOPLE,
                    f"The role '{role.name}' is given to the group '{group}', which is not there.",
                    f"{did_you_mean(group, groups)}Add it: metalayer access groups add {group}",
                    role.location,
                )
        for user in role.users:
            if user not in names:
                yield AccessFinding(
                    Concern.UNKNOWN_PEOPLE,
                    f"The role '{role.name}' is given to the user '{user}', who is not there.",
                    f"{did_you_mean(user, names)}Add the user: metalayer access users add {user}",
                    role.location,
                )


def _without_role(policies: Policies, people: Iterable[Person]) -> Iterator[AccessFinding]:
    for person in people:
        if person.disabled_at is None and not policies.roles_of(person.reader()):
            belongs = _listed(person.groups) if person.groups else "no group"
            yield AccessFinding(
                Concern.WITHOUT_ROLE,
                f"'{person.name}' has no role and sees nothing (in {belongs}).",
                "Give the role's group to the user (metalayer access groups join GROUP USER), or the group a role in "
                "policies/.",
            )


def _without_attribute(access: Access, tables: tuple[_Table, ...], people: Iterable[Person]) -> Iterator[AccessFinding]:
    """Find users who see no row because a filter asks for an attribute that they do not have."""
    for person in people:
        mine = replace(access, reader=person.reader())
        missing: dict[str, tuple[TableName, Location]] = {}
        for table in tables if person.disabled_at is None else ():
            try:
                sight = mine.sight(table.name)
            except AccessError:
                continue
            for rule in sight.filters if sight else ():
                for attribute in condition(rule.sql).attributes():
                    if not mine.reader.values(attribute):
                        missing.setdefault(attribute, (table.name, rule.location))
        for attribute, (name, location) in missing.items():
            yield AccessFinding(
                Concern.WITHOUT_ATTRIBUTE,
                f"'{person.name}' has no '{attribute}', for which a row filter of {name} asks.",
                f"Set it: metalayer access users set {person.name} {attribute}=…",
                location,
            )


def _unfiltered(policies: Policies, tables: tuple[_Table, ...], access: Access) -> Iterator[AccessFinding]:
    """Find tables that are made from rows which a filter hides, are read by somebody, and have no filter themselves."""
    held = [role for role in policies.roles if role.groups or role.users]
    above: dict[TableName, tuple[tuple[TableName, RowFilter], ...]] = {}
    for table in tables:
        own = tuple((table.name, rule) for rule in policies.rows if _filters(rule, table))
        inputs = {name.owner for name in access.project.models[table.name].inputs}
        above[table.name] = own or tuple(dict.fromkeys(item for name in inputs for item in above.get(name, ())))
        readers = [role.name for role in held if any(g.tables.matches(table.name, table.tags) for g in role.read)]
        if readers and not own and above[table.name]:
            source, rule = above[table.name][0]
            yield AccessFinding(
                Concern.UNFILTERED,
                f"{table.name} is made from {source}, whose rows '{rule.name}' limits, and has no row filter: "
                f"{_listed(readers)} may see in it what comes from all rows.",
                "Keep it where that is meant, as of totals; else give it a row filter, or take it out of the grant.",
                rule.location,
                remark=True,
            )


def _filters(rule: RowFilter, table: _Table) -> bool:
    names = {column.name.lower() for column in table.columns}
    return rule.tables.covers(table.name, table.tags) and names.issuperset(rule.having)


def _not_built(policies: Policies) -> Iterator[AccessFinding]:
    for what, rules in (("Retention", policies.retention), ("Erasure", policies.erasure)):
        for rule in rules[:1]:
            yield AccessFinding(
                Concern.NOT_BUILT,
                f"{what} is declared and not carried out: that is not built yet.",
                "Keep the declaration; until it is built, rows are kept.",
                rule.location,
                remark=True,
            )


def _listed(names: Iterable[str]) -> str:
    words = [f"'{name}'" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
