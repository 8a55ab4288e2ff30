"""The table of verbs. A verb's module is imported when it is asked for."""

from __future__ import annotations

import importlib

import click

from metalayer import __version__
from metalayer.interfaces.cli.options import Output, refuse_unknown, shared_options

PROGRAM = "metalayer"

VERBS = {
    "init": "init",
    "demo": "demo",
    "validate": "validate",
    "plan": "plan",
    "run": "run",
    "backfill": "backfill",
    "test": "test",
    "diff": "diff",
    "query": "query",
    "render": "render",
    "history": "history",
    "rollback": "rollback",
    "lineage": "lineage",
    "catalog": "catalog",
    "quarantine": "quarantine",
    "source": "source",
    "inbox": "inbox",
    "access": "access",
    "export": "export",
    "audit": "audit",
    "admin": "admin",
    "doctor": "doctor",
}
"""Each verb and its module in `verbs`, in the order in which help lists them: that of a day's work."""


class Verbs(click.Group):
    """A group that knows its verbs by name and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"metalayer.interfaces.cli.verbs.{VERBS[cmd_name]}")
        found = module.command
        if not isinstance(found, click.Command):
            raise TypeError(cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        refuse_unknown(ctx, args, VERBS)
        return super().resolve_command(ctx, args)


application = Verbs(
    PROGRAM,
    help="Raw files to published tables on one transactional lake: sources, bronze, silver, gold.",
    params=shared_options((Output.TEXT, Output.JSON)),
    epilog="Start with: metalayer demo",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")(application)
