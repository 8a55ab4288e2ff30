"""The house is in order: what exists is on the map and documented, and nothing of one machine is in the repository."""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib import resources
from pathlib import Path

import click
import pytest

import metalayer
from metalayer.core.errors import MetaLayerError
from metalayer.interfaces.cli.application import application
from metalayer.interfaces.cli.examples import example
from metalayer.interfaces.cli.options import Noun, Verb
from metalayer.interfaces.cli.reference import commands, errors, pages
from metalayer.interfaces.cli.shapes import SHAPES

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src" / "metalayer"
REFERENCE = ROOT / "docs" / "reference"
COMMANDS = {" ".join(words): command for words, command in commands()}
VERBS = {name: command for name, command in COMMANDS.items() if isinstance(command, Verb)}


def tracked() -> list[Path]:
    """Return the files of the repository; those that would be in it where this is no clone."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("not a clone")
    return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_every_room_is_on_the_map() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.stem for path in SOURCE.glob("*.py") if path.stem != "__init__"}
    on_the_map = set(
        re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.MULTILINE)
    )
    assert on_the_map == rooms


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCE.rglob("*.py")
        if not path.read_text("utf-8").startswith(('"""', 'r"""'))
    ]
    assert silent == []


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_reference_is_current(name: str) -> None:
    written = (REFERENCE / name).read_text("utf-8") if (REFERENCE / name).is_file() else ""
    assert written == pages()[name], "run: python -m metalayer.interfaces.cli.reference docs/reference"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert isinstance(command, Verb | Noun)
    assert command.help
    assert command.get_short_help_str(58).endswith("."), "the first sentence must fit the list of commands"
    assert not command.get_short_help_str(58).endswith("...")
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_example_is_understood(name: str) -> None:
    assert VERBS[name].examples
    for text in VERBS[name].examples:
        program, *words = shlex.split(re.sub(r" > \S+$", "", text))
        assert program == "metalayer"
        assert parse(application, words) == name, text


def parse(command: click.Command, words: list[str]) -> str:
    """Let click read the words, running nothing; return the verb's name."""
    context = command.make_context("metalayer", words)
    if not isinstance(command, click.Group):
        return ""
    rest = [*context._protected_args, *context.args]
    found, below, words = command.resolve_command(context, rest)
    assert below is not None
    return f"{found} {parse(below, words)}".strip()


def test_every_verb_documents_its_json() -> None:
    assert {re.sub(r" [A-Z_]+$", "", name) for name in SHAPES} == set(VERBS)


def test_every_error_is_named_and_said() -> None:
    for error in errors():
        assert error.__name__.endswith("Error")
        assert error.__doc__
        assert issubclass(error, MetaLayerError)


def test_every_variable_is_documented() -> None:
    read = set()
    for path in SOURCE.rglob("*.py"):
        read |= set(re.findall(r"\"(METALAYER_[A-Z_]+)\"", path.read_text("utf-8")))
    documented = "\n".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert {name for name in read if name not in documented} == set()


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
        broken += [f"{path.relative_to(ROOT)}: {target}" for target in inside if not (path.parent / target).exists()]
    assert broken == []


PLACES = re.compile(r"/root/|/Users/|artifactory|nexus\.|index-url|\b10\.\d+\.\d+\.\d+\b|\.internal\b", re.IGNORECASE)


def test_nothing_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".gz", ".zst", ".parquet", ".xz"}:
            continue
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
            if PLACES.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_what_the_package_needs_lies_in_it() -> None:
    package = resources.files(metalayer)
    assert package.joinpath("py.typed").is_file()
    assert [item for item in package.joinpath("metastore", "migrations").iterdir() if item.name.endswith(".sql")]
    assert [item for item in package.joinpath("project", "schemas").iterdir() if item.name.endswith(".json")]
    assert list((example("shop") / "data").glob("*.csv.gz"))
    assert list((example("shop") / "drops").glob("*.csv.gz"))
