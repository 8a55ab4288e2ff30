"""`metalayer access users`: the people and services of an environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.core.people import PersonKind
from metalayer.interfaces.cli.access_answers import roles_of, user_answer
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.values import visible

if TYPE_CHECKING:
    from metalayer.core.people import Person
    from metalayer.workspace import Workspace

users = Noun(name="users", help="People and services.")


@verb("list", examples=("metalayer access users list", "metalayer access users list -o json"))
def list_users(call: Call) -> None:
    """List the users, their groups and roles."""
    with call.open() as workspace:
        found, policies = workspace.people.all(), workspace.project.policies
    if call.json:
        print_json([user_answer(person, policies) for person in found])
        return
    if not found:
        say("nobody yet")
        note("  add one: metalayer access users add NAME")
        return
    rows = [
        [
            person.name if person.disabled_at is None else f"{person.name} (disabled)",
            Label(", ".join(person.groups)),
            Label(", ".join(roles_of(person, policies))),
            Label("; ".join(f"{name}={','.join(values)}" for name, values in person.attributes)),
        ]
        for person in found
    ]
    for line in table(("user", "groups", "roles", "attributes"), rows, width=screen_width()):
        say(line)


@verb("show", examples=("metalayer access users show ana",))
@click.argument("name", metavar="USER")
def show(call: Call, name: str) -> None:
    """Show all that is known of a user."""
    with call.open() as workspace:
        _tell(call, workspace, workspace.people.find(name))


@verb(
    "add",
    examples=(
        "metalayer access users add ana --group sales",
        "metalayer access users add nightly --service",
        "metalayer access users add eva --identity https://id.example.org 42",
    ),
)
@click.argument("name", metavar="USER")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group to join; may be given several times.")
@click.option("--display-name", default="", metavar="TEXT", help="How the user is called.")
@click.option("--email", default="", metavar="ADDRESS", help="Where the user is written to.")
@click.option("--service", is_flag=True, help="It is a program: tokens only, no password.")
@click.option(
    "--identity", nargs=2, metavar="ISSUER SUBJECT", help="The OpenID provider's URL and what it calls the user."
)
def add(
    call: Call,
    name: str,
    groups: tuple[str, ...],
    display_name: str,
    email: str,
    identity: tuple[str, str] | None,
    *,
    service: bool,
) -> None:
    """Add a user.

    A user sees nothing until a role does: files in policies/ give roles to groups, and users join groups here.
    """
    with call.open() as workspace:
        call.confirm(f"add the user '{name}'")
        person = workspace.people.add(
            name,
            kind=PersonKind.SERVICE if service else PersonKind.USER,
            display_name=display_name,
            email=email,
            groups=groups,
            identity=identity,
        )
        _tell(call, workspace, person)


@verb(
    "set",
    examples=(
        "metalayer access users set ana region=north",
        "metalayer access users set ana region=north,south level=3",
        "metalayer access users set ana region=",
    ),
)
@click.argument("name", metavar="USER")
@click.argument("attributes", nargs=-1, required=True, metavar="ATTRIBUTE=VALUE…")
def set_attributes(call: Call, name: str, attributes: tuple[str, ...]) -> None:
    """Set what row filters may ask of a user.

    Several values are parted by commas; without a value the attribute is taken away.
    """
    given = []
    for text in attributes:
        attribute, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"'{text}' says no value.", hint="Write attribute=value: region=north.")
        given.append((attribute.strip(), tuple(value.strip() for value in values.split(",") if value.strip())))
    with call.open() as workspace:
        call.confirm(f"change the user '{name}'")
        _tell(call, workspace, workspace.people.set(name, given))


@verb(
    "password",
    examples=("metalayer access users password ana",),
)
@click.argument("name", metavar="USER")
def password(call: Call, name: str) -> None:
    """Set a user's password.

    It is asked for twice on a terminal, else read from standard input; never given as an argument, where others
    could see it.
    """
    with call.open() as workspace:
        person = workspace.people.find(name)
        call.confirm(f"change the password of '{person.name}'")
        workspace.people.set_password(person.name, _password())
        _tell(call, workspace, workspace.people.find(name), words=f"'{person.name}' has a new password")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given: str = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    return given


@verb("disable", examples=("metalayer access users disable ana",))
@click.argument("name", metavar="USER")
def disable(call: Call, name: str) -> None:
    """Shut a user out, tokens included.

    All that is known of the user is kept; `enable` lets the user in again.
    """
    with call.open() as workspace:
        call.confirm(f"shut '{name}' out")
        _tell(call, workspace, workspace.people.disable(name), words=f"'{name}' is shut out")


@verb("enable", examples=("metalayer access users enable ana",))
@click.argument("name", metavar="USER")
def enable(call: Call, name: str) -> None:
    """Let a user in again."""
    with call.open() as workspace:
        call.confirm(f"let '{name}' in")
        _tell(call, workspace, workspace.people.enable(name), words=f"'{name}' is let in")


@verb("remove", examples=("metalayer access users remove ana",))
@click.argument("name", metavar="USER")
def remove(call: Call, name: str) -> None:
    """Forget a user with all tokens."""
    with call.open() as workspace:
        person = workspace.people.find(name)
        call.confirm(f"forget the user '{person.name}'")
        workspace.people.remove(person.name)
    if call.json:
        print_json({"removed": person.name})
    else:
        say(f"'{person.name}' is forgotten")


def _tell(call: Call, workspace: Workspace, person: Person, words: str = "") -> None:
    policies = workspace.project.policies
    if call.json:
        print_json(user_answer(person, policies))
        return
    if words:
        say(words)
        return
    roles = roles_of(person, policies)
    rows = [
        ("user", person.name + (f" ({person.kind})" if person.kind is PersonKind.SERVICE else "")),
        ("called", person.display_name),
        ("e-mail", person.email),
        ("groups", ", ".join(person.groups)),
        ("roles", ", ".join(roles)),
        *((name, ", ".join(values)) for name, values in person.attributes),
        ("identity", f"{person.subject} at {person.issuer}" if person.issuer else ""),
        ("password", "is set" if person.has_password else ""),
        ("state", "disabled" if person.disabled_at is not None else ""),
    ]
    for label, text in rows:
        if text:
            say(f"{label:<10} {visible(text)}")
    if not roles:
        note(
            f"  '{person.name}' has no role yet and sees nothing; `metalayer access roles` shows which groups have one."
        )


for _verb in (list_users, show, add, set_attributes, password, disable, enable, remove):
    users.add_command(_verb)
