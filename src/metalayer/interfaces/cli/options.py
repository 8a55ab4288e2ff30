"""What every verb understands: the directory, the environment, the form of the output, and how it is told.

The shared options may stand before the verb or after it; the later one counts. A verb receives them as one `Call`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.event import Listener

if TYPE_CHECKING:
    from metalayer.core.project import Project
    from metalayer.workspace import Workspace

ENVIRONMENT = "METALAYER_ENVIRONMENT"
PRIVATE = "dev"
_SHARED = "metalayer.shared"


class Output(StrEnum):
    """The forms in which a verb prints its data; each verb says which it knows."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MERMAID = "mermaid"


@dataclass(frozen=True, slots=True)
class Call:
    """The shared options of one command."""

    directory: str = "."
    environment: str = PRIVATE
    output: Output = Output.TEXT
    yes: bool = False
    verbose: bool = False

    @property
    def json(self) -> bool:
        """Tell whether the data is for a program."""
        return self.output is Output.JSON

    def open(self, listener: Listener | None = None) -> Workspace:
        """Open the project in the environment. What happens goes to ``listener``, and with ``-v`` to stderr."""
        from metalayer.interfaces.cli.progress import listeners  # noqa: PLC0415 - start-up is a feature
        from metalayer.workspace import Workspace  # noqa: PLC0415 - start-up is a feature

        return Workspace.open(self.directory, self.environment, listener=listeners(listener, verbose=self.verbose))

    def load(self) -> Project:
        """Load the project; no database and no secret is needed."""
        from metalayer.workspace import load_project  # noqa: PLC0415 - start-up is a feature

        return load_project(self.directory)

    def confirm(self, act: str) -> None:
        """Ask before something is changed in an environment that others share.

        Raises:
            UsageError: nobody is there to be asked.
        """
        if self.environment == PRIVATE or self.yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"This would {act} in '{self.environment}', and there is nobody to ask.",
                hint="Say --yes if that is meant.",
            )
        click.confirm(f"This will {act} in '{self.environment}'. Go on?", abort=True, err=True)


def call_of(context: click.Context) -> Call:
    """Return the shared options as they stand on the command line, else in the environment, else by default."""
    given: dict[str, Any] = context.meta.get(_SHARED, {})
    return Call(
        directory=given.get("directory", "."),
        environment=given.get("environment") or os.environ.get(ENVIRONMENT) or PRIVATE,
        output=Output(given.get("output", Output.TEXT)),
        yes=given.get("yes", False),
        verbose=given.get("verbose", False),
    )


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is None or parameter.name is None:
        return
    context.meta.setdefault(_SHARED, {})[parameter.name] = value
    if parameter.name == "no_color":
        context.find_root().color = context.color = False


def shared_options(outputs: tuple[Output, ...]) -> list[click.Option]:
    """Return the shared options with the forms of output that a verb knows."""

    def option(*names: str, **words: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, default=None, **words)

    def flag(*names: str, **words: Any) -> click.Option:
        return option(*names, is_flag=True, flag_value=True, type=bool, **words)

    return [
        option("-C", "--directory", metavar="DIR", help="The project's directory. [default: where you are]"),
        option(
            "-e",
            "--env",
            "environment",
            metavar="ENV",
            help=f"The environment to work in. [default: {PRIVATE}, or what {ENVIRONMENT} names]",
        ),
        option(
            "-o", "--output", type=click.Choice([str(item) for item in outputs]), help="How to print. [default: text]"
        ),
        flag("--yes", help=f"Do not ask before changing an environment other than {PRIVATE}."),
        flag("--no-color", help="Print without colour; so does NO_COLOR=1."),
        flag("-v", "--verbose", help="Tell on stderr what happens."),
    ]


class Verb(click.Command):
    """A command with the shared options; its help ends with examples."""

    def __init__(self, *, examples: tuple[str, ...], outputs: tuple[Output, ...], **words: Any) -> None:
        super().__init__(**words)
        self.examples = examples
        self.own = tuple(self.params)
        self.shared = shared_options(outputs)
        self.params.extend(self.shared)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verb's own options, then those that every verb has."""
        own = [item for item in self.get_params(ctx) if item not in self.shared]
        for heading, options in (("Options", own), ("Options of every command", self.shared)):
            records = [item.get_help_record(ctx) for item in options if isinstance(item, click.Option)]
            if shown := [record for record in records if record is not None]:
                with formatter.section(heading):
                    formatter.write_dl(shown)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the examples."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")


class Noun(click.Group):
    """A group of verbs about one thing; the shared options may stand before the verb."""

    def __init__(self, *, name: str, help: str) -> None:  # noqa: A002 - click's word
        super().__init__(name, help=help, params=list(shared_options((Output.TEXT, Output.JSON))))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        refuse_unknown(ctx, args, self.commands)
        return super().resolve_command(ctx, args)


class NounWithVerb(Noun):
    """A group whose first verb need not be named: ``lineage TABLE`` is ``lineage show TABLE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first verb's name where none is given."""
        words = iter(args)
        for word in words:
            if word in {"-C", "--directory", "-e", "--env", "-o", "--output"}:
                next(words, None)
            elif not word.startswith("-"):
                break
        else:
            word = ""
        if word not in self.commands and not {"-h", "--help"} & set(args):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def refuse_unknown(context: click.Context, arguments: list[str], known: Iterable[str]) -> None:
    """Refuse a verb that does not exist, with the one that was probably meant.

    Raises:
        click.UsageError: there is no such verb.
    """
    names = list(known)
    if arguments and arguments[0] not in names and not arguments[0].startswith("-"):
        meant = did_you_mean(arguments[0], names)
        raise click.UsageError(f"There is no command '{arguments[0]}'. {meant}Known: {', '.join(names)}.", context)


def verb(
    name: str,
    *,
    examples: tuple[str, ...],
    outputs: tuple[Output, ...] = (Output.TEXT, Output.JSON),
) -> Callable[[Callable[..., None]], Verb]:
    """Make a function a verb. It receives the `Call` first, then its own arguments and options by name.

    Its docstring is the help; put `click.argument` and `click.option` below.
    """

    def wrap(function: Callable[..., None]) -> Verb:
        @functools.wraps(function)
        @click.pass_context
        def invoke(context: click.Context, /, **given: object) -> None:
            function(call_of(context), **given)

        command: Verb = click.command(name, cls=Verb, examples=examples, outputs=outputs)(invoke)
        return command

    return wrap


select_option = click.option(
    "-s",
    "--select",
    metavar="SELECTOR",
    help="Which tables: names, globs, +upstream, downstream+, tag:, layer:, kind:.",
)
refresh_option = click.option(
    "--full-refresh", is_flag=True, help="Compute the chosen tables again from all their inputs."
)
