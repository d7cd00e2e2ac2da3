from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cli.program import main

from .conftest import FIXTURES, Cli


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Boxes of three sizes: 6 x 12, 20 x 20 and 50 x 40 of 64 x 64 pixels."""
    y = np.zeros((9, 1, 5), np.float32)
    y[:, 0, :2] = 0.5
    y[:, 0, 2:4] = np.array([[6, 12], [20, 20], [50, 40]] * 3) / 64
    path = tmp_path / "boxes.npz"
    np.savez(path, x=np.zeros((9, 3, 64, 64), np.uint8), y=y)
    return path


def test_without_o_nothing_is_written(cli: Cli, tiny: Path, boxes: Path) -> None:
    before = sorted(tiny.parent.iterdir())
    answer = cli("anchors", f"{tiny}.cfg", boxes)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "dialect: pjreddie (no fork-only options)",
        "boxes: 9",
        "old anchors: 8,10 18,24 40,36 pixels, mean IoU 0.7116",
        "anchors: 6,12 20,20 50,40 pixels, mean IoU 1.0000",
        "layer  section  grid     mask   filters before it   boxes",
        "   11  yolo     16 x 16  0,1,2  21                 9 -> 9",
        "nothing was written; -o OUT writes the cfg",
    ]
    assert sorted(tiny.parent.iterdir()) == before


def test_the_cfg_is_written_and_loads(cli: Cli, tiny: Path, boxes: Path) -> None:
    out = tiny.with_name("new.cfg")
    answer = cli("anchors", f"{tiny}.cfg", boxes, "-o", out, "--count", 2, "-q")
    assert (answer.code, answer.err) == (0, "")
    assert [line.partition(":")[0] for line in answer.out.splitlines()] == ["anchors"]
    network = dn.build_network(dn.load_cfg(out), "pjreddie")
    head = network.heads[11]
    assert (head.value("num"), head.value("mask")) == (2, (0, 1))
    assert network.nodes[10].y.c == 14
    again = cli("anchors", f"{tiny}.cfg", boxes, "-o", out)
    assert again.code == 2
    assert "the file already exists" in again.err


def test_anchors_that_fit_are_kept(cli: Cli, tiny: Path, boxes: Path) -> None:
    out = tiny.with_name("new.cfg")
    cli("anchors", f"{tiny}.cfg", boxes, "-o", out)
    answer = cli("anchors", out, boxes)
    assert "anchors: no better ones were found; the old ones are kept" in answer.out.splitlines()
    assert cli("anchors", out, boxes, "--json").json["kept"] is True


def test_the_help_has_an_example() -> None:
    command = main.commands["anchors"]
    assert "Example: darknet-bn anchors " in str(command.help)
    assert all(isinstance(each, click.Argument) or each.help for each in command.params)


def test_what_is_wrong(cli: Cli, tiny: Path, boxes: Path) -> None:
    digits = FIXTURES / "digits"
    answer = cli("anchors", digits / "digits.cfg", digits / "test.npz")
    assert answer.code == 2
    assert "the cfg has no anchors" in answer.error
    answer = cli("anchors", boxes, f"{tiny}.cfg")
    assert "expected CFG DATA; try: darknet-bn anchors" in answer.err
