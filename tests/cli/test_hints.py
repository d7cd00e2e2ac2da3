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
        (("detect", "a", "b.jpg", "--conf", "0.3"), "--conf; it is --thresh here"),
        (("detect", "a", "b.jpg", "--conf=0.3"), "--conf; it is --thresh here"),
        (("detect", "a", "b.jpg", "--threshold", "0.3"), "--threshold; it is --thresh here"),
        (("detect", "a", "b.jpg", "--conf-thres", "0.3"), "--conf-thres; it is --thresh here"),
        (("detect", "a", "b.jpg", "-thresh", "0.3"), "-thresh; it is --thresh here"),
        (("detect", "a", "b.jpg", "-thresh=0.3"), "-thresh; it is --thresh here"),
        (("detect", "a", "b.jpg", "--iou", "0.3"), "--iou; it is --nms here"),
        (("detect", "a", "b.jpg", "--iou-thres", "0.3"), "--iou-thres; it is --nms here"),
        (("evaluate", "a", "b", "--iou-thres", "0.3"), "--iou-thres; it is --iou-thresh here"),
        (("evaluate", "a", "b", "-iou_thresh", "0.3"), "-iou_thresh; it is --iou-thresh here"),
        (("detect", "a", "b.jpg", "-ext_output"), "-ext_output; it is --ext-output here"),
        (("detect", "a", "b.jpg", "-dont_show"), "-dont_show; no window is shown"),
        (("detect", "a", "b.jpg", "-out", "c.json"), "-out; it is --json here"),
        (("classify", "a", "b.jpg", "-out", "c.json"), "-out; it is --json here"),
        (("fold", "a", "--out", "b"), "--out; it is --output here"),
        (("detect", "a", "b.jpg", "--project", "c"), "--project; it is --output here"),
        (("detect", "a", "b.jpg", "--save-txt"), "--save-txt; it is --labels here"),
        (("detect", "a", "b.jpg", "-save_labels"), "-save_labels; it is --labels here"),
        (("detect", "a", "b.jpg", "-letter_box"), "-letter_box; it is --letterbox here"),
        (("detect", "--weights", "a", "b.jpg"), "--weights; give WEIGHTS without it"),
        (("detect", "--cfg", "a", "b.jpg"), "--cfg; give CFG without it"),
        (("detect", "a", "--source", "b.jpg"), "--source; give PICTURE without it"),
        (("run", "a", "--source", "b.npy"), "--source; give INPUT without it"),
        (("export", "a", "-o", "b.onnx"), "-o; give OUT without it"),
        (("export", "a", "--output", "b.onnx"), "--output; give OUT without it"),
        (("train", "a", "--data", "b.data"), "--data; give DATA without it"),
        (("train", "a", "b", "--resume", "c"), "--resume; give WEIGHTS without it"),
        (("train", "a", "b", "-clear"), "-clear; it is --clear here"),
        (("train", "a", "b", "-map"), "-map; darknet-bn evaluate computes the mAP"),
        (("train", "a", "b", "--device", "0"), "--device; everything is computed on the CPU"),
        (("train", "a", "b", "--batch-size", "8"), "--batch-size; it is --batch here"),
        (
            ("detect", "a", "b.jpg", "--imgsz", "640"),
            "--imgsz; the input has the size that width= and height= of the cfg say",
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
        ("predict", "predict; it is detect or classify here"),
        ("detector", "detector; it is detect, train or evaluate here"),
        ("val", "val; it is evaluate here"),
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
    assert found.err.startswith("error: -o lacks its value: --force follows\n")
    found = cli("detect", "a", "b.jpg", "--names", "--thresh", "0.5")
    assert found.err.startswith("error: --names lacks its value: --thresh follows\n")


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
