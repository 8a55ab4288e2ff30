"""A guide as something that runs: its fenced blocks in order, as commands with their output and files with their text.

A block of the language ``console`` holds commands after ``$ `` (``> `` continues one) and what they print; ``…`` stands
for anything, and a line of its own for any lines. A block of ``yaml``, ``sql`` or ``python`` whose first line is a
comment with a path is that file; other ``python`` is run. The word ``sketch`` behind the language marks what is only
looked at.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from metalayer.interfaces.cli.process import run_process

ROOT = Path(__file__).resolve().parent.parent.parent
_FENCE = re.compile(r"^```(\w*) *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?:#|--) (\S+\.(?:yml|sql|py))(?: .*)?")
_PLAIN = re.compile(r"metalayer [^|&;<>`]*")
RUNNABLE = ("console", "yaml", "sql", "python")
DEMO = "metalayer demo shop"
"""Run once where its output is shown; where a guide only begins with it, the project is copied, database and all."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a guide."""

    place: str
    language: str
    info: str
    text: str

    @property
    def is_sketch(self) -> bool:
        return "sketch" in self.info or self.language not in RUNNABLE


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what the guide says it prints; None where it says nothing."""

    command: str
    expected: str | None


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text("utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{path.relative_to(ROOT)}:{line}", found[1], found[2], found[3])


def steps(text: str) -> Iterator[Step]:
    command: list[str] = []
    output: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(output) if output else None)
            command, output = [line[2:]], []
        elif line.startswith("> ") and not output:
            command.append(line[2:])
        elif line == ">" and not output:
            command.append("")
        else:
            output.append(line)
    if command:
        yield Step("\n".join(command), "\n".join(output) if output else None)


_CHANGING = (
    (re.compile(r"\b([rb])-\d{8}-\d{6}-[0-9a-f]{6}\b"), r"\1-id"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "a moment"),
    (re.compile(r"\b\d+\.\d+ s\b"), "n s"),
    (re.compile(r"(?<= )\d+\.\d\d$", re.MULTILINE), "n"),
    (re.compile(r" \(such as .*\)$", re.MULTILINE), " (such as these)"),
    (re.compile(r"/\S*/\.metalayer/"), ".metalayer/"),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run: ids, times, places, and the width of columns that hold them."""


def timeless(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, shown in _CHANGING:
        text = pattern.sub(shown, text)
    return text


def fits(expected: str, printed: str) -> bool:
    """Tell whether the output is what a guide shows."""
    pattern = ""
    for line in timeless(expected).splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*?".join(map(re.escape, re.split("…", line.rstrip()))) + r"[ ]*\n"
    return re.fullmatch(pattern, timeless(printed).rstrip() + "\n") is not None


class Shell:
    """A directory in which a guide's blocks are run, one after the other."""

    def __init__(self, directory: Path, shared: Path) -> None:
        """Start in a directory; ``shared`` holds what guides have in common: the command, and a demo that was run."""
        self.directory = directory
        self.demo = shared / "shop"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("METALAYER_")},
            "PATH": f"{tool(shared)}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT / "src"),
            "TZ": "UTC",
        }

    def run(self, block: Block) -> None:
        """Run one block.

        Raises:
            AssertionError: it does not do what the guide says.
        """
        written = _PATH.fullmatch(block.text.partition("\n")[0])
        if block.language == "console":
            for step in steps(block.text):
                self._step(block, step)
        elif written is not None:
            path = self.directory / written[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        else:
            assert block.language == "python", f"{block.place}: the block names no file; mark it as a sketch"
            self._step(block, Step(f"{shlex.quote(sys.executable)} - <<'END'\n{block.text}END", None))

    def _step(self, block: Block, step: Step) -> None:
        if step.command.startswith("cd "):
            self.directory = (self.directory / step.command[3:].strip()).resolve()
            return
        if step == Step(DEMO, "…") and self.demo.is_dir():
            shutil.copytree(self.demo, self.directory / "shop")
            return
        code, printed = self._here(step.command) if _PLAIN.fullmatch(step.command) else self._there(step.command)
        told = f"{block.place}\n$ {step.command}\n{printed}(exit code {code})"
        assert code == 0, told
        if step.expected is not None:
            assert fits(step.expected, printed), f"{told}\nthe guide says:\n{step.expected}"
        if step.command == DEMO and not self.demo.is_dir():
            self._wait_for_server(self.directory / "shop")
            shutil.copytree(self.directory / "shop", self.demo)
            self.demo.with_name("demo.txt").write_text(printed, "utf-8")

    def _there(self, command: str) -> tuple[int, str]:
        """Run a command in a shell; return its exit code and what it printed."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def _here(self, command: str) -> tuple[int, str]:
        """Run `metalayer` in this process, which spares it to start: its process is tested elsewhere."""
        arguments = shlex.split(command.replace("$PWD", str(self.directory)))[1:]
        before = signal.getsignal(signal.SIGTERM)
        printed = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        try:
            with (
                mock.patch.dict(os.environ, self.environment, clear=True),
                contextlib.chdir(self.directory),
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(printed),
            ):
                code = run_process(arguments)
        finally:
            signal.signal(signal.SIGTERM, before)
        printed.seek(0)
        return code, printed.read()

    @staticmethod
    def _wait_for_server(project: Path) -> None:
        """Wait until the embedded server has stopped, so that its files can be copied."""
        for _ in range(600):
            if not (project / ".metalayer" / "pg" / "postmaster.pid").exists():
                return
            time.sleep(0.05)


def tool(shared: Path) -> Path:
    """Return a directory that holds `metalayer` as a command of this checkout."""
    directory = shared / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "metalayer"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m metalayer.interfaces.cli "$@"\n', "utf-8")
    script.chmod(0o755)
    return directory
