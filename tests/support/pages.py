"""README and the pages under ``docs/``: their blocks by name, and what following them gives.

A block that is to be run has its name in a comment directly above it::

    <!-- block: fold -->
    ```console
    $ darknet-bn fold net -o folded
    ```

``console`` blocks show commands and what they print, ``python`` blocks are programs, ``sh`` blocks
are commands without their output, ``yaml`` blocks have commands after ``run:``.  A ``text`` block
called ``NAME-output`` is what the program NAME prints.  ``<!-- block: NAME; shared -->`` needs the
models that are too large for here, and ``<!-- block: NAME; torch -->`` a package that may be
absent; ``; shared; torch`` needs both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from darknet_bn.cli.program import main

from .paths import FIXTURES, PROJECT

PAGES = (
    PROJECT / "README.md",
    *sorted(
        page
        for page in (PROJECT / "docs").rglob("*.md")
        if page.relative_to(PROJECT / "docs").parts[0] not in ("batch-norm", "_build")
    ),
)
KINDS = ("console", "python", "sh", "yaml")
_MODELS = (
    "models/yolov3-tiny/yolov3-tiny.cfg",
    "models/yolov3-tiny/yolov3-tiny.weights",
    "models/yolov3-tiny/coco.names",
    "models/yolo-fastest/yolo-fastest-1.1.cfg",
    "models/yolo-fastest/yolo-fastest-1.1.weights",
    "models/yoloface-50k/yoloface-50k.cfg",
    "models/yoloface-50k/yoloface-50k.weights",
)
_FENCE = re.compile(
    r"^(?:<!-- block: ([\w-]+)((?:; \w+)*) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_SHELL = re.compile(r"[|<>;&$`*]")
_FILE = re.compile(r"# (\w+\.py)\n")  # a program that a later block runs again
_OURS = re.compile(r"(?:\.venv/bin/)?darknet-bn (.*)")
# A program that uses an exported file runs without access to this package.
_ALONE = "import sys\nsys.modules['darknet_bn'] = None  # from here on, importing it fails\n"


@dataclass(frozen=True)
class Block:
    """A block of a page: its name, its language, its text, and what it needs to be run."""

    page: str
    name: str
    kind: str
    text: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        """Return what names it in the list of tests."""
        return f"{self.page}:{self.name}"

    def lacks(self, shared: Path | None) -> str:
        """Return what is absent of what it needs: "shared", or the name of a package."""
        for need in self.needs:
            if need == "shared":
                is_there = shared is not None
            else:
                is_there = importlib.util.find_spec(need) is not None
            if not is_there:
                return need
        return ""

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Every command, with the output shown under it."""
        if self.kind == "console":
            parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
            pairs = (part.partition("\n") for part in parts)
            return [(command, output) for command, _, output in pairs]
        before = "run: " if self.kind == "yaml" else ""
        lines = (line.strip().partition(before or "\0") for line in self.text.splitlines())
        commands = [after if before else line for line, _, after in lines]
        return [(command, "") for command in commands if _OURS.fullmatch(command)]


@dataclass
class Ran:
    """What a block did: what each command printed, and what the names of a program are then."""

    printed: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


def label(page: Path) -> str:
    """Return the path of a page in the project."""
    return page.relative_to(PROJECT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Return every block of a page that has a language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(label(page), name, kind, inside, tuple(needs.split("; ")[1:]))
        for name, needs, kind, inside in _FENCE.findall(text)
    ]


def furnish(folder: Path, shared: Path | None) -> None:
    """Make a folder look like a fresh checkout, with the files that a reader downloads."""
    (folder / "tests").mkdir()
    (folder / "tests/fixtures").symlink_to(FIXTURES)
    (folder / "bin").mkdir()
    for name, words in (("darknet-bn", " -m darknet_bn"), ("python", "")):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{words} "$@"\n')
        program.chmod(0o755)
    if shared is None:
        return
    for name in (*_MODELS, "images/dog.jpg", "images/person.jpg"):
        (folder / Path(name).name).symlink_to(shared / name)


def follow_page(page: Path, folder: Path, shared: Path | None) -> dict[str, Ran]:
    """Do what a page says from top to bottom, in a folder of its own."""
    furnish(folder, shared)
    with inside(folder):
        return {
            block.name: follow(block)
            for block in blocks_of(page)
            if block.kind in KINDS and not block.lacks(shared)
        }


def follow(block: Block) -> Ran:
    """Do what a block says; an error is kept for whoever looks at this block."""
    ran = Ran()
    try:
        if block.kind == "python":
            _run_program(block, ran)
        else:
            _run_commands(block, ran)
    except (Exception, SystemExit) as error:
        ran.error = error
    return ran


def _run_program(block: Block, ran: Ran) -> None:
    if file := _FILE.match(block.text):
        Path(file[1]).write_text(block.text, encoding="utf-8")
    if "darknet_bn" not in block.text:
        program = [sys.executable, "-c", _ALONE + block.text]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        ran.printed.append(done.stdout)
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.text, str(block), "exec"), ran.names)
    ran.printed.append(printed.getvalue())


def _run_commands(block: Block, ran: Ran) -> None:
    code = 0
    for command, _ in block.shown:
        ours = _OURS.fullmatch(command)
        if command == "echo $?":
            ran.printed.append(f"{code}\n")
        elif ours and not _SHELL.search(command.replace("'", "")):
            result = CliRunner().invoke(main, shlex.split(ours[1]), prog_name="darknet-bn")
            ran.printed.append(result.output)
            code = result.exit_code
        else:
            done = subprocess.run(
                ["bash", "-c", command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=_environment(),
            )
            ran.printed.append(done.stdout)
            code = done.returncode


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PATH": f"{Path.cwd() / 'bin'}{os.pathsep}{os.environ['PATH']}"}


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
