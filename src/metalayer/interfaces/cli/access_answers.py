"""People, roles and what they see as the JSON objects that `shapes` describes, and as lines for the screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from metalayer.core.errors import Location
from metalayer.core.people import Person, Token
from metalayer.core.policy import Grant, Policies, Role
from metalayer.interfaces.cli.answers import Answer

if TYPE_CHECKING:
    from metalayer.governance.explain import SeenTable
    from metalayer.governance.findings import AccessFinding


def user_answer(person: Person, policies: Policies) -> Answer:
    """Return a user."""
    return {
        "name": person.name,
        "kind": person.kind,
        "display_name": person.display_name,
        "email": person.email,
        "groups": list(person.groups),
        "roles": roles_of(person, policies),
        "attributes": {name: list(values) for name, values in person.attributes},
        "issuer": person.issuer,
        "subject": person.subject,
        "password": person.has_password,
        "created_at": person.created_at,
        "disabled_at": person.disabled_at,
        "last_seen_at": person.last_seen_at,
    }


def roles_of(person: Person, policies: Policies) -> list[str]:
    """Return the names of a user's roles."""
    return [role.name for role in policies.with_built_in().roles_of(person.reader())]


def token_answer(token: Token) -> Answer:
    """Return a token, which is not its secret."""
    return {
        "id": token.token_id,
        "user": token.person,
        "label": token.label,
        "scopes": sorted(token.scopes),
        "inboxes": list(token.sources),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


def role_answer(role: Role, people: Iterable[Person]) -> Answer:
    """Return a role with who has it."""
    holders = [person.name for person in people if person.disabled_at is None and role.has(person.reader())]
    return {
        "role": role.name,
        "description": role.description,
        "may": sorted(role.may),
        "groups": list(role.groups),
        "users": list(role.users),
        "held_by": holders,
        "reads": [reads(grant) for grant in role.read],
        "place": place(role.location) or None,
    }


def reads(grant: Grant) -> str:
    """Return a grant in a few words."""
    tables = grant.tables
    words = [
        *(f"{name}: {', '.join(said)}" for name, said in (("tables", tables.tables), ("tags", tables.tags)) if said),
    ]
    if tables.layers:
        words.insert(0, ", ".join(tables.layers))
    for name, columns in (("columns", grant.columns), ("without", grant.without)):
        if columns is not None:
            words.append(f"{name} {', '.join([*columns.names, *(f'tag:{tag}' for tag in columns.tags)])}")
    if grant.purposes:
        words.append(f"for {', '.join(grant.purposes)}")
    return "; ".join(words)


def place(location: Location | None) -> str:
    """Return ``file:line`` of a rule, or nothing for one that is built in."""
    if location is None or not location.path:
        return ""
    return location.path if location.line is None else f"{location.path}:{location.line}"


def seen_answer(seen: SeenTable) -> Answer:
    """Return what a reader sees of a table."""
    return {
        "user": seen.reader,
        "table": str(seen.table),
        "columns": [
            {
                "column": column.name,
                "shown": column.shown or "as it is",
                "mask": column.mask or None,
                "tags": [{"tag": tag, "from": origin} for tag, origin in column.tags],
                "roles": list(column.roles),
            }
            for column in seen.columns
        ],
        "hidden": list(seen.hidden),
        "rows": list(seen.rows),
        "rules": list(seen.rules),
        "trouble": seen.trouble or None,
    }


def seen_lines(seen: SeenTable) -> Iterator[str]:
    """Yield what a reader sees of a table: the table, what limits its rows, each column that is not as it is."""
    plain = [column.name for column in seen.columns if not column.shown]
    yield f"{seen.table}  by {', '.join(seen.rules)}"
    for rule in seen.rows:
        yield f"    rows where {rule}"
    if plain:
        yield f"    as they are: {', '.join(plain)}"
    for column in seen.columns:
        if column.shown:
            yield f"    {column.name}: {column.shown}, by {column.mask}{_tags(column.tags)}"
    if seen.hidden:
        yield f"    not shown: {', '.join(seen.hidden)}"


def _tags(tags: Iterable[tuple[str, str]]) -> str:
    said = [f"{tag} from {origin}" for tag, origin in tags]
    return f" ({', '.join(said)})" if said else ""


def finding_answer(finding: AccessFinding) -> Answer:
    """Return something that is wrong."""
    return {
        "concern": finding.concern,
        "message": finding.message,
        "mend": finding.hint,
        "place": place(finding.location) or None,
        "remark": finding.remark,
    }
