"""Shells complete commands, options and, wherever a file is named, its name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem, ShellComplete

from darknet_bn.cli.program import main
from tests.support.paths import PROJECT

PARAMS = [
    (command, param)
    for command in main.commands.values()
    for param in command.params
    if isinstance(param, click.Argument)
    or (isinstance(param, click.Option) and not param.is_flag and param.metavar is not None)
]
# outputs|all|3,5, N|any, numbers, an address, points
NO_FILES = {
    "--layers",
    "--batch",
    "--keep",
    "--max-loss",
    "--ray",
    "--every",
    "--line",
    "--retries",
}


def completions(*words: str, of: str = "") -> list[CompletionItem]:
    return ShellComplete(main, {}, "darknet-bn", "_DARKNET_BN_COMPLETE").get_completions(
        list(words), of
    )


@pytest.mark.parametrize(
    ("command", "param"),
    [
        pytest.param(command, param, id=f"{command.name} {param.opts[0]}")
        for command, param in PARAMS
        if param.opts[0] not in NO_FILES
    ],
)
def test_files_are_completed(command: click.Command, param: click.Parameter) -> None:
    assert command.name is not None
    assert isinstance(param.type, click.Path)
    if isinstance(param, click.Option):
        words = [command.name, "net", param.opts[-1]]
    else:
        before = [each for each in command.params if isinstance(each, click.Argument)]
        words = [command.name, *["word"] * before.index(param)]
    kind = "dir" if param.metavar == "FOLDER" else "file"
    found = completions(*words, of="fi")
    assert (found[0].type, found[0].value) == (kind, "fi")
    assert not found[1:]


def test_every_argument_is_completed_however_many_there_are() -> None:
    for words in (["detect", "a", "b", "c"], ["verify", "a"], ["export", "a", "b"]):
        assert [each.type for each in completions(*words)] == ["file"]


def test_commands_options_and_choices_are_completed() -> None:
    assert [each.value for each in completions(of="co")] == ["compare", "convert"]
    assert [each.value for each in completions("fold", "a", of="--to")] == ["--tolerance"]
    assert "pjreddie-gpu" in [each.value for each in completions("fold", "--dialect", of="pj")]


def test_engines_are_completed_beside_files() -> None:
    found = completions("compare", "a", "--with", of="open")
    assert [(each.type, each.value) for each in found] == [
        *(("file", "open"), ("plain", "openvino"), ("plain", "opencv"))
    ]


def test_bash_is_told_so(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "darknet-bn info di", "COMP_CWORD": "2"}
    environment = os.environ | words | {"_DARKNET_BN_COMPLETE": "bash_complete"}
    result = subprocess.run(
        [sys.executable, "-m", "darknet_bn"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("file,di\n", "")


LINES = dict(
    re.findall(
        r"^\| (bash|zsh|fish)[^|]* \| `(.*)` \| `~",
        (PROJECT / "docs/start.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
# What bash does after the tab key, but for what only its line editor has.
TAB = """
compopt() { echo "$@"; }
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
$(complete -p darknet-bn | sed 's/.*-F //; s/ .*//') darknet-bn
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which ``darknet-bn`` is a program."""
    program = tmp_path / "darknet-bn"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m darknet_bn "$@"\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("darknet-bn fo", "fold"),
        ("darknet-bn fold net --tol", "--tolerance"),
        ("darknet-bn fold ne", "-o default\n"),  # bash's own names of files
    ],
)
def test_the_line_of_the_page_makes_bash_complete(
    environment: dict[str, str], typed: str, offered: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{LINES['bash']}\n{TAB % typed}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_script(environment: dict[str, str], shell: str) -> None:
    variable, value = re.findall(r"(_\w+)=(\w+) darknet-bn", LINES[shell])[0]
    assert value == f"{shell}_source"
    done = subprocess.run(
        ["darknet-bn"],
        env=environment | {variable: value},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert f"{variable}={shell}_complete" in done.stdout
    assert ("#compdef darknet-bn" in done.stdout) == (shell == "zsh")
