"""The reference pages of the documentation, made from what they document: commands, JSON, errors.

``python -m metalayer.interfaces.cli.reference docs/reference`` writes them; a test holds the written ones against this.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

import metalayer
from metalayer.core.errors import MetaLayerError, ProjectError, UsageError
from metalayer.interfaces.cli.application import PROGRAM, application
from metalayer.interfaces.cli.options import Verb
from metalayer.interfaces.cli.shapes import SHAPES, Shape

_MADE = (
    "<!-- Made by `python -m metalayer.interfaces.cli.reference docs/reference`: change what it says in the code. -->\n"
)


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name."""
    return {"cli.md": _cli(), "json.md": _json(), "errors.md": _errors(), "cleaning.md": _cleaning()}


def _cleaning() -> str:
    from metalayer.core.sql.conventions import LOCALES, NULL_WORDS, TEMPERATURES, UNITS  # noqa: PLC0415 - for the page
    from metalayer.core.sql.shipped import SHIPPED  # noqa: PLC0415 - as above

    lines = [
        _MADE,
        "# Macros for cleaning",
        "",
        (
            "Called in models, checks and queries like functions; what runs is plain SQL, which `metalayer "
            "render` shows. "
            "How to use them: [Cleaning](../guides/cleaning.md)."
        ),
        "",
        (
            "What cannot be read becomes NULL, never something near it; NULL stays NULL. A locale, a "
            "country, a unit or a "
            "type is written out in quotes."
        ),
    ]
    for macro in SHIPPED:
        lines += [
            "",
            f"## `{macro.call}`",
            "",
            f"{macro.says} Gives {macro.returns}.",
            "",
            "| call | gives |",
            "|---|---|",
        ]
        lines += [f"| `{_cell(call)}` | `{_cell(gives)}` |" for call, gives in macro.examples]
    lines += ["", "## Locales", "", "| locale | decimal sign | groups | order of a date |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | `{item.decimal}` | {_groups(item.groups)} | {item.order} |" for name, item in LOCALES.items()
    ]
    words = ", ".join(f"`{_cell(word)}`" for word in NULL_WORDS)
    lines += ["", "## Words for NULL", "", f"In any case, with blanks around them: {words}.", "", "## Units", ""]
    units = {**UNITS, "temperature": TEMPERATURES}
    lines += ["| kind | units |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(f'`{unit}`' for unit in found)} |" for kind, found in units.items()]
    lines += ["", *_DATA]
    return "\n".join(lines) + "\n"


_DATA = (
    "## Where the facts come from",
    "",
    (
        "Codes and names of countries and currencies are those of ISO 3166-1 and ISO 4217 as the "
        "Unicode CLDR gives them "
        "(Unicode License v3), with some usual names added; calling codes and national prefixes are those of E.164 as "
        "`phonenumbers` gives them (Apache License 2.0). They ship with the package and are looked up nowhere else."
    ),
)


def _groups(sign: str) -> str:
    return f"`{sign}` or a blank" if sign else "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def commands(
    group: click.Group = application, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its words, groups before what they hold."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))


def _page(*parts: str) -> str:
    return "\n".join((_MADE, *parts)).rstrip("\n") + "\n"


# Commands


def _cli() -> str:
    head = f"""# The command line

`{PROGRAM} VERB …` works on the project in the current directory; `-C DIR` names another one.
Data goes to stdout, everything else to stderr. Tables are always named `layer.table`.

| exit code | says |
|---|---|
| 0 | done |
| 1 | work failed: a table, a check, a source, the database |
| 2 | wrong use: a mistake in the project, an unknown table, a bad option |
| 130 | stopped by Ctrl-C (143: by SIGTERM); what was committed stays, nothing else is visible |
| 141 | the reader of the output went away |

These options stand before or after every command:
"""
    shared = _options([item for item in application.params if isinstance(item, click.Option)], application)
    tail = """
| variable | does |
|---|---|
| `METALAYER_ENVIRONMENT` | names the environment where `-e` does not |
| `METALAYER__…` | overrides a setting of the environment, for example `METALAYER__LAKE__DATA` |
| `NO_COLOR` | prints without colour |
| `METALAYER_DEBUG` | `1` shows the traceback of a fault of MetaLayer itself, else in `.metalayer/crash-….log` |
| `METALAYER_TEST_DATABASE_URL` | a PostgreSQL on which `metalayer test` makes its databases, not the embedded one |
| `METALAYER_FAILPOINT` | for tests: a fault at a step of a run: `name=kill`, `stop`, `error` or `sleep:SECONDS` |
"""
    parts = [head, shared, tail]
    for words, command in commands():
        parts.append(_command(words, command))
    return _page(*parts)


def _command(words: tuple[str, ...], command: click.Command) -> str:
    name = " ".join((PROGRAM, *words))
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"{'#' * (len(words) + 1)} {name}", "", inspect.cleandoc(command.help or ""), ""]
    if isinstance(command, Verb):
        lines += ["```", usage, "```", ""]
        own = [item for item in command.params if isinstance(item, click.Option) and item not in command.shared]
        if own:
            lines += [_options(own, command), ""]
        output = next(item for item in command.shared if item.name == "output")
        assert isinstance(output.type, click.Choice)  # noqa: S101 - shared_options makes it one
        lines += [f"Prints: {', '.join(f'`-o {item}`' for item in output.type.choices)}.", ""]
        lines += ["```sh", *command.examples, "```", ""]
    return "\n".join(lines)


def _options(options: list[click.Option], command: click.Command) -> str:
    context = click.Context(command)
    lines = ["| option | does |", "|---|---|"]
    for item in options:
        record = item.get_help_record(context)
        if record is not None and item.name not in {"version", "help"}:
            names, words = (text.replace("|", "\\|") for text in record)
            lines.append(f"| `{names}` | {' '.join(words.split())} |")
    return "\n".join(lines)


# JSON


def _json() -> str:
    head = """# What `-o json` prints

Each command prints one JSON value on stdout: what stands below, and nothing else. A field is never renamed or dropped
within a major version; new fields may appear. Errors go to stderr as text and leave stdout empty; the exit code says
which kind they are (`validate` prints its mistakes as JSON).

Values of rows: integers and decimals are numbers with all their digits (read them with a parser that keeps them where
53 bits do not suffice), NaN and the infinities are null, dates, times and moments are ISO 8601 text, intervals are
ISO 8601 durations (a month counts as 30 days), bytes are base64 text, UUIDs and values of type JSON are text, lists are
arrays, structs and maps are objects.
"""
    parts = [head]
    first: dict[int, str] = {}
    for words, shape in SHAPES.items():
        parts.append(f"## {PROGRAM} {words}\n")
        same = first.setdefault(id(shape), words)
        parts += [*(_shape_lines(shape) if same == words else [f"Prints what `{PROGRAM} {same}` prints."]), ""]
    return _page(*parts)


def _shape_lines(shape: Shape) -> Iterator[str]:
    said = shape.get("description")
    form = "one array" if shape.get("type") == "array" else "one object"
    yield f"Prints {form}{f': {said}' if said else ''}."
    rows = list(_fields(shape, "[]" if form == "one array" else ""))
    if rows:
        yield ""
        yield "| field | type | is |"
        yield "|---|---|---|"
        for path, type_, words in rows:
            yield f"| `{path}` | {type_} | {words} |"


def _fields(shape: Shape, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and words of every field below a shape."""
    for option in _options_of(shape):
        if option is SHAPES["run"] and path.endswith("[]"):
            continue  # it has a section of its own
        items = option.get("items")
        if isinstance(items, Mapping):
            yield from _fields(items, path if path.endswith("[]") else f"{path}[]")
        properties = option.get("properties")
        if isinstance(properties, Mapping):
            for name, field in properties.items():
                inner = f"{path}.{name}" if path else str(name)
                yield inner, _type(field), str(field.get("description", ""))
                yield from _fields(field, inner)


def _options_of(shape: Shape) -> list[Shape]:
    options = shape.get("anyOf")
    return list(options) if isinstance(options, list) else [shape]


def _type(shape: Shape) -> str:
    if "enum" in shape:
        values = shape["enum"]
        assert isinstance(values, list)  # noqa: S101 - shapes makes it one
        return ", ".join(f"`{value}`" for value in values)
    names: list[str] = []
    for option in _options_of(shape):
        type_ = option.get("type", "any")
        names += type_ if isinstance(type_, list) else [str(type_)]
        if option.get("format") == "date-time":
            names[0] = "moment"
    return " or ".join(dict.fromkeys(names))


# Errors


def errors() -> list[type[MetaLayerError]]:
    """Return every class of error in the package, each after its parent."""
    for module in pkgutil.walk_packages(metalayer.__path__, "metalayer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(parent: type[MetaLayerError]) -> Iterator[type[MetaLayerError]]:
        yield parent
        for child in sorted(parent.__subclasses__(), key=lambda item: item.__name__):
            yield from below(child)

    return [item for item in below(MetaLayerError) if item.__module__.startswith("metalayer.")]


def _errors() -> str:
    head = """# Errors

What MetaLayer refuses or cannot do it says with one of these: what happened, where, and the mend. They can be caught in
Python; the command line prints them on stderr. An error that is transient may go away by itself: a run tries again.

| error | is a | transient | exit code | says |
|---|---|---|---|---|
"""
    lines = []
    for error in errors():
        parent = error.__bases__[0].__name__
        code = 2 if issubclass(error, ProjectError | UsageError) else 1
        words = " ".join(inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
        place = error.__module__.removeprefix("metalayer.")
        name = f"`{error.__name__}`" if place == "core.errors" else f"`{error.__name__}` ({place})"
        lines.append(f"| {name} | `{parent}` | {'yes' if error.transient else 'no'} | {code} | {words} |")
    return _page(head + "\n".join(lines))


def main(directory: str) -> None:
    """Write the pages."""
    for name, text in pages().items():
        Path(directory, name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
