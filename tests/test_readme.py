"""README.md is true: its commands print what it shows, its Python runs, its table is proven."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from darknet_bn.layers import LAYERS
from darknet_bn.predictions.drawing import _text

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOG = "images/dog.jpg"
TRAINED = "digits.weights"  # what the README's training writes
PERCENT = re.compile(r"\d+\.\d\d\b")
# The last digits of errors depend on the order in which a processor's BLAS adds up.
NOISE = re.compile(
    r"\d(\.\d+)?e-0\d|worst is layer_?\d+|loss [\d.]+|onnxruntime [\d.]+|[01]\.\d{7}|took: .*"
)


@dataclass(frozen=True)
class Block:
    """A block of the README: the line that it begins in, its language, and its text."""

    line: int
    kind: str
    text: str

    @property
    def needs_downloads(self) -> bool:
        return "yolov3-tiny" in self.text


@dataclass(frozen=True)
class Ran:
    """What a block did: what it printed, for commands one by one, and what its names are then."""

    printed: list[tuple[str, str]]
    names: dict[str, Any]


def blocks() -> list[Block]:
    """Return every block in the order of the README; the lines of its first are shell commands."""
    found = []
    pattern = r"^```(\w+)\n(.*?)^```|^    (python3 [^\n]*)\n"
    for match in re.finditer(pattern, README, re.DOTALL | re.MULTILINE):
        line = README.count("\n", 0, match.start()) + 1
        found.append(Block(line, match[1] or "shell", match[2] or match[3]))
    return found


BLOCKS = blocks()
MAIN_LINE, TEST_LINE = (each for each in BLOCKS if each.kind == "shell")
PYTHON = [each for each in BLOCKS if each.kind == "python"]
MODEL, PICTURES, ALONE, EXPORT, TRAIN = PYTHON
# A program that uses an exported file runs where nothing of ours can be imported.
WITHOUT_US = """
import sys

sys.modules["darknet_bn"] = None  # from here on, importing it fails
"""


def shown(block: Block) -> list[tuple[str, str]]:
    """Return every command of a console block, with the output shown under it."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def follow(block: Block) -> Ran:
    """Do what a block says."""
    if block.kind == "shell":
        calls = re.findall(r"darknet-bn (\w+ .*?)(?: &&|$)", block.text)
        return Ran([(call, call_program(call)) for call in calls], {})
    if block.kind == "console":
        calls = [command.removeprefix("darknet-bn ") for command, _ in shown(block)]
        return Ran([(call, call_program(call)) for call in calls], {})
    if block == ALONE:
        program = [sys.executable, "-c", WITHOUT_US + block.text]
        ran = subprocess.run(program, capture_output=True, text=True, check=True)
        return Ran([("", ran.stdout)], {})
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.text, f"README.md:{block.line}", "exec"), names)
    return Ran([("", printed.getvalue())], names)


def call_program(call: str) -> str:
    result = CliRunner().invoke(main, call.split())
    failed = "error: " in result.output and "conv_basic" not in call  # the one that is shown
    assert not failed, f"{call}: {result.output}"
    return result.output


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory, shared_or_none: Path | None
) -> Iterator[dict[Block, Ran]]:
    """The README, followed from top to bottom in one folder that looks like a fresh checkout.

    What a reader has to download, because it is too large for here, lies there too; without the
    shared folder, the blocks that need it are left out.
    """
    folder, there = tmp_path_factory.mktemp("checkout"), shared_or_none
    for name in ("tiny", "digits", "layers/conv_basic"):
        shutil.copytree(ROOT / "tests/fixtures" / name, folder / "tests/fixtures" / name)
    if there is not None:
        names = ("yolov3-tiny.cfg", "yolov3-tiny.weights", "coco.names")
        for path in (*(there / "models/yolov3-tiny" / name for name in names), there / DOG):
            (folder / path.name).symlink_to(path)
    possible = [
        each
        for each in BLOCKS
        if each != TEST_LINE and not (each.needs_downloads and there is None)
    ]
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield {block: follow(block) for block in possible}
    finally:
        os.chdir(before)


def of(followed: dict[Block, Ran], block: Block) -> Ran:
    if block not in followed:
        pytest.skip("the shared golden data is absent")
    return followed[block]


def normal(text: str) -> str:
    """Return output without what depends on the machine: its noise, and how long it took."""
    return re.sub(r" +", " ", NOISE.sub("~", re.sub(r"^took: .*\n", "", text, flags=re.MULTILINE)))


@pytest.mark.parametrize(
    "block",
    [each for each in BLOCKS if each.kind == "console"],
    ids=lambda each: f"line {each.line}",
)
def test_commands_print_what_is_shown(followed: dict[Block, Ran], block: Block) -> None:
    for (command, expected), (_, found) in zip(
        shown(block), of(followed, block).printed, strict=True
    ):
        assert command.startswith("darknet-bn ")
        found, expected = normal(found), normal(expected)
        if TRAINED in command.split():
            # Training adds up in another order elsewhere: by its end, some digits are told
            # otherwise, up to 3 of some 36 of a class, so 9 points.
            shares, told = PERCENT.findall(found), PERCENT.findall(expected)
            np.testing.assert_allclose(np.array(shares, float), np.array(told, float), atol=9)
            found, expected = PERCENT.sub("~", found), PERCENT.sub("~", expected)
        assert found == expected, command


def test_every_command_that_a_newcomer_meets_is_shown() -> None:
    commands = {command.split()[1] for each in BLOCKS for command, _ in shown(each)}
    assert commands >= {"check", "info", "fold", "verify", "detect", "export", "train", "convert"}


def test_the_first_line_folds_and_verifies(followed: dict[Block, Ran]) -> None:
    answers = followed[MAIN_LINE].printed
    assert [call.split()[0] for call, _ in answers] == ["fold", "verify", "evaluate", "evaluate"]
    again = follow(MAIN_LINE)  # the line works a second time too
    for printed in (answers, again.printed):
        before, after = (
            next(line for line in output.splitlines() if line.startswith("accuracy: "))
            for _, output in printed[2:]
        )
        assert before == after
        assert "top 1 98.61 %" in after


def test_the_picture_shows_what_the_text_lists(followed: dict[Block, Ran]) -> None:
    block = next(each for each in BLOCKS if "-o found.jpg" in each.text)
    ((_, printed),) = of(followed, block).printed
    # The picture in the README is what the command writes, the names of all lines in it.
    found, there = dn.load_image("found.jpg"), dn.load_image(ROOT / "docs/dog.jpg")
    different = np.abs(found - there).max(axis=0) > 32 / 255  # beyond what JPEG does
    # The line of a box that is rounded the other way takes less than this, a name takes more.
    assert different.mean() < 1e-3
    lines = {line.replace(":", "") for line in printed.splitlines() if line.endswith("%")}
    names = of(followed, PICTURES).names
    labels = [label for box in names["found"] for label in _text(box, plain=True).split(", ")]
    assert (len(labels), set(labels)) == (5, lines)


def test_python_folds(followed: dict[Block, Ran]) -> None:
    names = followed[MODEL].names
    assert isinstance(names["outputs"], dict)
    folded = dn.load("tiny-folded")
    assert not any("scales" in params for params in folded.params)


def test_python_finds_what_is_in_a_picture(followed: dict[Block, Ran]) -> None:
    ((_, printed),) = of(followed, PICTURES).printed
    assert printed.startswith("dog 56% at 129, 187\ntruck 55% at 533, 95\n")
    assert dn.load_image("boxes.jpg").shape == (3, 576, 768)


def test_python_exports(followed: dict[Block, Ran]) -> None:
    ran = followed[EXPORT]
    assert list(ran.names["outputs"]) == [11]
    ((_, printed),) = ran.printed
    assert "all 12 layers agree" in printed
    assert ran.names["exported"].path.exists()


def test_python_with_nothing_of_ours_finds_what_detect_finds(followed: dict[Block, Ran]) -> None:
    assert len([line for line in ALONE.text.splitlines() if line]) <= 20
    ((_, printed),) = of(followed, ALONE).printed
    lines = re.findall(r"^(\S+) ([\d.]+)% \[(.*)\]$", printed, re.MULTILINE)
    found = sorted((name, float(score), *map(float, sides.split())) for name, score, sides in lines)

    words = ["detect", "yolov3-tiny", "dog.jpg", "--names", "coco.names", "--json"]
    (picture,) = json.loads(CliRunner().invoke(main, words).stdout)["pictures"]
    expected = []
    for each in picture["objects"]:
        left, top, width, height = each["box"].values()
        box = (left, top, left + width, top + height)
        expected.append((each["name"], 100 * each["confidence"], *box))
    expected.sort()

    assert [name for name, *_ in found] == [name for name, *_ in expected]
    assert len(found) == 5
    # Both are rounded to hundredths, the second before a sum; else float32 rounds otherwise.
    np.testing.assert_allclose(
        [each[1:] for each in found], [each[1:] for each in expected], rtol=0, atol=0.025
    )


def test_python_trains(followed: dict[Block, Ran]) -> None:
    ran = followed[TRAIN]
    ((_, printed),) = ran.printed
    *lines, last = printed.splitlines()
    losses = [float(line.split()[2][:-1]) for line in lines]
    assert len(losses) == 135
    assert losses[-1] < losses[0] / 4
    share = re.fullmatch(r"(\d+)% of digits that it has never seen", last)
    assert share is not None
    assert int(share[1]) > 85
    assert isinstance(ran.names["trained"], dn.Model)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_the_table_names_proofs() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| (\S+) \| (\S+) \|$", README, re.MULTILINE)
    proven = {name: cells for names, *cells in rows for name in re.findall(r"`(\w+)`", names)}
    kinds = {kind.names[0] for kind in LAYERS.values()}
    assert kinds <= set(proven)
    for section in kinds:
        for dialect, case in zip(("pjreddie", "alexeyab"), proven[section], strict=True):
            if case == "–":
                continue
            folder = ROOT / "tests" / "fixtures" / "layers" / case
            assert (folder / f"{dialect}.npz").exists(), (section, case)
            cfg = dn.load_cfg(folder / "model.cfg")
            assert any(LAYERS[each.name].names[0] == section for each in cfg.sections[1:])


def test_ci_finds_the_line_that_tests() -> None:
    lines = [line for line in README.splitlines() if "-m pytest" in line]
    assert len(lines) == 1
    assert "'.[test]'" in lines[0]
