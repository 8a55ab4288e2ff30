"""`metalayer access tokens`: what programs prove themselves by."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.people import Scope
from metalayer.interfaces.cli.access_answers import token_answer
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.project.amounts import parse_duration

tokens = Noun(name="tokens", help="What programs prove themselves by.")


@verb("list", examples=("metalayer access tokens list", "metalayer access tokens list nightly"))
@click.argument("user", required=False, metavar="[USER]")
def list_tokens(call: Call, user: str | None) -> None:
    """List the tokens, the newest first.

    Secrets are not among what is shown: they are not kept.
    """
    with call.open() as workspace:
        found = workspace.people.tokens(user)
    if call.json:
        print_json([token_answer(token) for token in found])
        return
    if not found:
        say("no token")
        return
    now = datetime.now(UTC)
    rows = [
        (
            token.token_id,
            token.person,
            Label(", ".join(sorted(token.scopes))),
            Label(token.refusal(now) or f"until {token.expires_at:%Y-%m-%d}"),
            Label("" if token.last_used_at is None else f"{token.last_used_at:%Y-%m-%d %H:%M}"),
            Label(token.label),
        )
        for token in found
    ]
    for line in table(("id", "user", "scopes", "state", "last used", "label"), rows, width=screen_width()):
        say(line)


@verb(
    "create",
    examples=(
        "metalayer access tokens create nightly --scope read --scope run",
        "metalayer access tokens create ana --expires 30d --label laptop",
        "metalayer access tokens create till --scope ingest --inbox sales",
    ),
)
@click.argument("user", metavar="USER")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([str(scope) for scope in Scope]),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it allows at most; may be given several times.",
)
@click.option(
    "--inbox",
    "inboxes",
    multiple=True,
    metavar="NAME",
    help="With the scope ingest: the only inbox it may send to; may be given several times.",
)
@click.option("--expires", default="90d", show_default=True, metavar="DURATION", help="How long it lives.")
@click.option("--label", default="", metavar="TEXT", help="What it is for.")
def create(call: Call, user: str, scopes: tuple[str, ...], inboxes: tuple[str, ...], expires: str, label: str) -> None:
    """Make a token of a user.

    Its secret is printed once and not kept. It allows what its scopes and the user's roles both allow; to send to
    inboxes (the scope ingest) no role is needed.
    """
    with call.open() as workspace:
        call.confirm(f"make a token of '{user}'")
        issued = workspace.people.issue(
            user,
            label=label,
            scopes=frozenset(map(Scope, scopes)),
            lifetime=parse_duration(expires),
            sources=tuple(_inbox(name, workspace.inboxes()) for name in inboxes),
        )
    if call.json:
        print_json({**token_answer(issued.token), "secret": issued.secret})
        return
    say(issued.secret)
    note(f"this is shown once; it lives until {issued.token.expires_at:%Y-%m-%d}")
    note(f"  to end it: metalayer access tokens revoke {issued.token.token_id}")


def _inbox(name: str, known: tuple[str, ...]) -> str:
    """Return the table whose inbox is meant.

    Raises:
        UsageError: there is no such inbox.
    """
    table = name if name.startswith("bronze.") else f"bronze.{name}"
    if table not in known:
        raise UsageError(
            f"There is no inbox '{name}'.",
            hint=f"{did_you_mean(table, known)}The inboxes are: {', '.join(known) or 'none'}.",
        )
    return table


@verb("revoke", examples=("metalayer access tokens revoke abcdefghijkl",))
@click.argument("token_id", metavar="ID")
def revoke(call: Call, token_id: str) -> None:
    """Accept a token no longer.

    It is named by its id, or by the secret itself where that was found somewhere.
    """
    with call.open() as workspace:
        call.confirm("revoke a token")
        token = workspace.people.revoke(token_id)
    if call.json:
        print_json({"revoked": token.token_id, "user": token.person})
    else:
        say(f"the token {token.token_id} of '{token.person}' is not accepted any more")


for _verb in (list_tokens, create, revoke):
    tokens.add_command(_verb)
