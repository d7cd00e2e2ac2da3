"""Commands are listed without being imported, and show their help without the library."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

import darknet_bn as dn
from darknet_bn.cli import choices
from darknet_bn.cli.commands import ALIASES, SHORT_HELP
from darknet_bn.cli.program import main
from darknet_bn.convert import SCHEMES
from darknet_bn.convert.compilers.table import COMPILERS
from darknet_bn.convert.heads import FORMS
from darknet_bn.convert.onnx.export import DEFAULT_OPSET
from darknet_bn.convert.onnx.ranges import METHODS
from darknet_bn.data.kinds import VIDEOS
from darknet_bn.data.layouts.write import TO
from darknet_bn.engines.training import ENGINES
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.pictures.places import STREAMS
from darknet_bn.predictions.average_precision import DEFAULT_IOU, DEFAULT_THRESHOLD
from darknet_bn.predictions.classification import DEFAULT_TOP
from darknet_bn.predictions.inputs import DEFAULT_BATCH


def test_choices_are_those_of_the_library() -> None:
    assert tuple(dn.DIALECTS) == choices.DIALECTS
    assert choices.FORMS == FORMS
    assert (*COMPILERS, "edgetpu") == choices.COMPILERS
    assert choices.OPSET == DEFAULT_OPSET
    assert choices.RANGES == METHODS
    assert choices.OVERLAP == DEFAULT_OVERLAP
    assert (choices.IOU, choices.THRESHOLD) == (DEFAULT_IOU, DEFAULT_THRESHOLD)
    assert (choices.TOP, choices.BATCH) == (DEFAULT_TOP, DEFAULT_BATCH)
    assert tuple(SCHEMES) == choices.SCHEMES
    assert choices.TRAINERS == ENGINES
    assert choices.LAYOUTS == TO
    assert choices.VIDEOS == VIDEOS
    assert choices.STREAMS == STREAMS


def test_every_command_is_listed_with_its_own_short_help() -> None:
    assert list(main.commands) == list(SHORT_HELP) == sorted(SHORT_HELP)
    assert len(main.commands) == len(SHORT_HELP)
    own = {name: each.get_short_help_str(limit=1000) for name, each in main.commands.items()}
    assert own == SHORT_HELP
    assert all(name == each.name for name, each in main.commands.items())
    assert set(ALIASES.values()) <= set(SHORT_HELP)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_list_is_the_one_that_click_makes_of_the_commands(width: int) -> None:
    whole = {
        name: click.Command(name, short_help=SHORT_HELP[name]) for name in reversed(SHORT_HELP)
    }
    plain = click.Group("main", commands=whole)

    def shown(group: click.Group) -> str:
        context = click.Context(
            group, info_name="main", terminal_width=width, max_content_width=width
        )
        formatter = context.make_formatter()
        group.format_commands(context, formatter)
        return formatter.getvalue()

    assert shown(main) == shown(plain)


def test_completion_is_the_one_that_click_makes_of_the_commands() -> None:
    plain = click.Group(
        "main",
        commands=dict(main.commands),
        params=list(main.params),
        context_settings=main.context_settings,
    )
    for begun in ("", "c", "co", "-", "--v", "x"):
        ours, theirs = (
            ShellComplete(each, {}, "darknet-bn", "_DARKNET_BN_COMPLETE").get_completions([], begun)
            for each in (main, plain)
        )
        assert [(each.type, each.value) for each in ours] == [
            (each.type, each.value) for each in theirs
        ]
    helps = {
        each.value: each.help for each in ShellComplete(main, {}, "", "").get_completions([], "c")
    }
    assert helps["compare"] == SHORT_HELP["compare"]


def test_an_unknown_command_is_no_command() -> None:
    with pytest.raises(KeyError):
        main.commands["fuse"]
    assert main.get_command(click.Context(main), "fuse") is main.commands["fold"]
    assert main.get_command(click.Context(main), "fusion") is None


HELP = """
import sys
from darknet_bn.cli.program import main

def loaded(*beginnings):
    return sorted(name for name in sys.modules if name.startswith(beginnings))

commands = tuple(f"darknet_bn.cli.{name}" for name in main.commands)
for words in ([], ["nonsense"]):
    try:
        main([*words, "--help"])
    except SystemExit:
        pass
print(loaded(*commands), file=sys.stderr)
for name in main.commands:
    try:
        main([name, "--help"])
    except SystemExit as error:
        assert error.code == 0
print(loaded("numpy", "darknet_bn.kernels", "darknet_bn.layers", "PIL", "onnx"), file=sys.stderr)
"""


def test_help_imports_no_other_command_and_not_the_library() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert (done.returncode, lines) == (0, ["[]", "[]"])


def test_every_help_ends_with_the_exit_codes() -> None:
    for name in main.commands:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
            main([name, "--help"])
        assert "130 interrupted." in shown.getvalue().splitlines()[-1]
