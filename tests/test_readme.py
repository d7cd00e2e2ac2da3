"""README.md is true: its commands print what it shows, its Python runs, its table is proven."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli import main
from darknet_bn.drawing import _text
from darknet_bn.layers import LAYERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BLOCKS = [block for block in PYTHON if "darknet_bn" in block]
DOG = "images/dog.jpg"
TRAINED = "digits.weights"  # what the README's training writes
PERCENT = re.compile(r"\d+\.\d\d\b")
# The last digits of errors depend on the order in which a processor's BLAS adds up.
NOISE = re.compile(
    r"\d(\.\d+)?e-0\d|worst is layer_?\d+|loss [\d.]+|onnxruntime [\d.]+|[01]\.\d{7}|took: .*"
)


def shown_commands() -> list[tuple[str, str]]:
    """Return every command of a console block, with the output shown under it."""
    commands: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            commands.append((command, output))
    return commands


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository to the commands, and may be written to."""
    (tmp_path / "tests").mkdir()
    for folder in ("tiny", "digits", "layers/conv_basic"):
        shutil.copytree(ROOT / "tests" / "fixtures" / folder, tmp_path / "tests/fixtures" / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def normal(text: str) -> str:
    """Return output without what depends on the machine: its noise, and how long it took."""
    return re.sub(r" +", " ", NOISE.sub("~", re.sub(r"^took: .*\n", "", text, flags=re.MULTILINE)))


@pytest.fixture
def downloads(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that a reader has to have, because they are too large for here."""
    names = ("yolov3-tiny.cfg", "yolov3-tiny.weights", "coco.names")
    for path in (*(shared / "models/yolov3-tiny" / name for name in names), shared / DOG):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def needs_downloads(command: str) -> bool:
    return "yolov3-tiny" in command


def check(command: str, expected: str) -> None:
    program, *arguments = command.split()
    assert program == "darknet-bn"
    result = CliRunner().invoke(main, arguments)
    found, expected = normal(result.output), normal(expected)
    if TRAINED in arguments:
        # Training adds up in another order elsewhere: by its end, some digits are told otherwise,
        # up to 3 of some 36 of a class, so 9 points.
        shares, shown = PERCENT.findall(found), PERCENT.findall(expected)
        np.testing.assert_allclose(np.array(shares, float), np.array(shown, float), atol=9)
        found, expected = PERCENT.sub("~", found), PERCENT.sub("~", expected)
    assert found == expected, command


def test_commands_print_what_is_shown(checkout: Path) -> None:
    commands = [each for each in shown_commands() if not needs_downloads(each[0])]
    assert {command.split()[1] for command, _ in commands} >= {"check", "info", "fold", "verify"}
    for command, expected in commands:
        check(command, expected)


def test_commands_on_pictures_print_what_is_shown(downloads: Path) -> None:
    detect, export = (each for each in shown_commands() if needs_downloads(each[0]))
    check(*detect)
    check(*export)
    _, expected = detect
    # The picture in the README is what the command writes, the names of all lines in it.
    found, shown = dn.load_image("found.jpg"), dn.load_image(ROOT / "docs/dog.jpg")
    different = np.abs(found - shown).max(axis=0) > 32 / 255  # beyond what JPEG does
    # The line of a box that is rounded the other way takes less than this, a name takes more.
    assert different.mean() < 1e-3
    lines = {line.replace(":", "") for line in expected.splitlines() if line.endswith("%")}
    model = dn.load("yolov3-tiny")
    x = dn.prepare(dn.load_image("dog.jpg"), model)
    (boxes,) = dn.detections(model, x, names=dn.load_names("coco.names"))
    labels = [label for box in boxes for label in _text(box, plain=True).split(", ")]
    assert (len(labels), set(labels)) == (5, lines)


def test_the_first_line_folds_and_verifies(checkout: Path) -> None:
    line = next(line for line in README.splitlines() if "darknet-bn fold" in line)
    calls = re.findall(r"darknet-bn (\w+ .*?)(?: &&|$)", line)
    assert [call.split()[0] for call in calls] == ["fold", "verify", "evaluate", "evaluate"]
    for _ in range(2):  # the line works a second time too
        answers = [CliRunner().invoke(main, call.split()) for call in calls]
        assert [answer.exit_code for answer in answers] == [0] * 4
        before, after = (answer.stdout.splitlines()[-1] for answer in answers[2:])
        assert before == after
        assert "top 1 98.61 %" in after


def test_python_runs(checkout: Path) -> None:
    code, *_ = BLOCKS
    names: dict[str, object] = {}
    exec(code, names)
    assert (checkout / "folded.weights").exists()
    assert isinstance(names["outputs"], dict)


def test_python_on_pictures_runs(downloads: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, code, *_ = BLOCKS
    exec(code, {})
    assert capsys.readouterr().out.startswith("dog 56% at 129, 187\ntruck 55% at 533, 95\n")
    assert dn.load_image("found.jpg").shape == (3, 576, 768)


def test_python_that_exports_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, code, _ = BLOCKS
    names: dict[str, object] = {}
    exec(code, names)
    assert (checkout / "tiny.onnx").exists()
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    assert list(outputs) == [11]
    printed = capsys.readouterr().out
    assert "ok=True" in printed
    assert "all 12 layers agree" in printed


WITHOUT_US = """
import sys

sys.modules["darknet_bn"] = None  # from here on, importing it fails
"""


def test_python_with_nothing_of_ours_finds_what_detect_finds(downloads: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    (code,) = (block for block in PYTHON if block not in BLOCKS)
    assert len([line for line in code.splitlines() if line]) <= 20
    model = ("yolov3-tiny.cfg", "yolov3-tiny.weights")
    words = ["export", *model, "yolov3-tiny.onnx", "--head", "nms", "--names", "coco.names"]
    assert CliRunner().invoke(main, words).exit_code == 0
    program = [sys.executable, "-c", WITHOUT_US + code]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    lines = re.findall(r"^(\S+) ([\d.]+)% \[(.*)\]$", ran.stdout, re.MULTILINE)
    found = sorted((name, float(score), *map(float, sides.split())) for name, score, sides in lines)

    words = ["detect", *model, "dog.jpg", "--names", "coco.names", "--json"]
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


def test_python_that_trains_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, _, code = BLOCKS
    names: dict[str, object] = {}
    exec(code, names)
    *lines, last = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[2][:-1]) for line in lines]
    assert len(losses) == 135
    assert losses[-1] < losses[0] / 4
    share = re.fullmatch(r"(\d+)% of digits that it has never seen", last)
    assert share is not None
    assert int(share[1]) > 85
    assert isinstance(names["trained"], dn.Model)


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
