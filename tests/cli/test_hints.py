"""What users of other programs type is answered with what it is called here."""

from __future__ import annotations

import click
import pytest

from darknet_bn.cli import hints
from darknet_bn.cli.program import main

from .conftest import Cli


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("detect", "a", "b.jpg", "--conf", "0.3"), "--conf; use --thresh"),
        (("detect", "a", "b.jpg", "--conf=0.3"), "--conf; use --thresh"),
        (("detect", "a", "b.jpg", "--threshold", "0.3"), "--threshold; use --thresh"),
        (("detect", "a", "b.jpg", "--conf-thres", "0.3"), "--conf-thres; use --thresh"),
        (("detect", "a", "b.jpg", "-thresh", "0.3"), "-thresh; use --thresh"),
        (("detect", "a", "b.jpg", "-thresh=0.3"), "-thresh; use --thresh"),
        (("detect", "a", "b.jpg", "--iou", "0.3"), "--iou; use --nms"),
        (("detect", "a", "b.jpg", "--iou-thres", "0.3"), "--iou-thres; use --nms"),
        (("evaluate", "a", "b", "--iou-thres", "0.3"), "--iou-thres; use --iou-thresh"),
        (("evaluate", "a", "b", "-iou_thresh", "0.3"), "-iou_thresh; use --iou-thresh"),
        (("detect", "a", "b.jpg", "-ext_output"), "-ext_output; use --ext-output"),
        (("detect", "a", "b.jpg", "-dont_show"), "-dont_show; no windows are opened"),
        (("detect", "a", "b.jpg", "-out", "c.json"), "-out; use --json"),
        (("classify", "a", "b.jpg", "-out", "c.json"), "-out; use --json"),
        (("fold", "a", "--out", "b"), "--out; use --output"),
        (("detect", "a", "b.jpg", "--project", "c"), "--project; use --output"),
        (("detect", "a", "b.jpg", "--save-txt"), "--save-txt; use --labels"),
        (("detect", "a", "b.jpg", "-save_labels"), "-save_labels; use --labels"),
        (("detect", "a", "b.jpg", "-letter_box"), "-letter_box; use --letterbox"),
        (("detect", "--weights", "a", "b.jpg"), "--weights; give WEIGHTS as an argument"),
        (("detect", "--cfg", "a", "b.jpg"), "--cfg; give CFG as an argument"),
        (("detect", "a", "--source", "b.jpg"), "--source; give PICTURE as an argument"),
        (("run", "a", "--source", "b.npy"), "--source; give INPUT as an argument"),
        (("export", "a", "-o", "b.onnx"), "-o; give OUT as an argument"),
        (("export", "a", "--output", "b.onnx"), "--output; give OUT as an argument"),
        (("train", "a", "--data", "b.data"), "--data; give DATA as an argument"),
        (("train", "a", "b", "--resume", "c"), "--resume; give WEIGHTS as an argument"),
        (("train", "a", "b", "-clear"), "-clear; use --clear"),
        (("train", "a", "b", "-map"), "-map; use darknet-bn evaluate for the mAP"),
        (
            ("detect", "a", "b.jpg", "--device", "0"),
            "--device; only train --engine torch has another device",
        ),
        (("train", "a", "b", "--batch-size", "8"), "--batch-size; use --batch"),
        (
            ("detect", "a", "b.jpg", "--imgsz", "640"),
            "--imgsz; the input size is width= and height= in the cfg",
        ),
        (("detect", "a", "b.jpg", "-hier", "0.5"), "-hier"),
        (("detect", "a", "b.jpg", "--forc"), "--forc; did you mean --force?"),
        (("info", "a", "--nonsense"), "--nonsense"),
        (("info", "a", "-x"), "-x"),
        (("--nonsense",), "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_of_another_program(cli: Cli, words: tuple[str, ...], answer: str) -> None:
    found = cli(*words)
    assert found.code == 2
    assert found.err.splitlines()[0] == f"error: no such option: {answer}"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("predict", "predict; use detect or classify"),
        ("detector", "detector; use detect, train or evaluate"),
        ("val", "val; use evaluate"),
        ("fld", "fld; did you mean fold?"),
        ("denormalise", "denormalise; did you mean denormalize?"),
        ("xyz", "xyz"),
    ],
)
def test_a_command_of_another_program(cli: Cli, word: str, answer: str) -> None:
    found = cli(word, "a", "b")
    assert found.code == 2
    assert found.err.splitlines()[0] == f"error: no such command: {answer}"


def test_the_value_of_a_short_option_may_stand_at_it(cli: Cli) -> None:
    assert cli("fold", "no", "-onew").error.startswith("no.cfg: cannot be read")


def test_values_may_begin_with_a_dash(cli: Cli) -> None:
    assert cli("run", "no", "--layers", "-1").error.startswith("no.cfg: cannot be read")


def test_an_option_is_no_name(cli: Cli) -> None:
    found = cli("fold", "a", "-o", "--force")
    assert found.code == 2
    assert found.err.startswith("error: -o needs a value, but --force follows\n")
    found = cli("detect", "a", "b.jpg", "--names", "--thresh", "0.5")
    assert found.err.startswith("error: --names needs a value, but --thresh follows\n")


def test_every_answer_names_an_option_or_argument_that_there_is() -> None:
    params = [param for command in main.commands.values() for param in command.params]
    options = {name for param in params for name in param.opts}
    arguments = " ".join(
        param.metavar or str(param.name).upper()
        for param in params
        if isinstance(param, click.Argument)
    )
    for ours, theirs in hints._OURS.items():
        assert ours in options or ours in arguments, ours
        assert ours not in theirs.split()
