"""Shells complete commands, options and, wherever a file is named, its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem, ShellComplete

from darknet_bn.cli.program import main

PARAMS = [
    (command, param)
    for command in main.commands.values()
    for param in command.params
    if isinstance(param, click.Argument)
    or (isinstance(param, click.Option) and not param.is_flag and param.metavar is not None)
]
NO_FILES = {"--layers", "--batch"}  # outputs|all|3,5 and N|any


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
        timeout=60,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("file,di\n", "")
