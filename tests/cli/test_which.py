from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

import darknet_bn as dn
from darknet_bn.cli.program import main

from .conftest import PICTURE, Cli


@pytest.fixture
def yolov3_tiny(tmp_path: Path) -> Path:
    path = tmp_path / "unknown.weights"
    path.write_bytes(dn.Header(seen=32013312).to_bytes())
    os.truncate(path, 20 + 4 * 8858734)
    return path


def test_a_published_size_is_named_with_what_it_leaves_open(cli: Cli, yolov3_tiny: Path) -> None:
    answer = cli("which", yolov3_tiny)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "header: version 0.2.0, 20 bytes; 32013312 images seen in training",
        "size: 8858734 parameters",
        "fits: yolov3-tiny or yolov3-tiny_obj with 80 classes (pjreddie, AlexeyAB, hank-ai): "
        "24 layers, input 416 x 416 x 3",
        "fits: yolov3-tiny_xnor with 80 classes (AlexeyAB, hank-ai): "
        "24 layers, input 416 x 416 x 3",
        "the size does not tell them apart; they differ in:",
        "  activations: leaky 11, linear 2 (yolov3-tiny); "
        "leaky 11, linear 2, xnor 9 (yolov3-tiny_xnor)",
    ]
    quiet = cli("which", yolov3_tiny, "-q").out.splitlines()
    assert [line.partition(":")[0] for line in quiet] == ["fits", "fits"]


def test_another_number_of_classes_and_a_backbone(cli: Cli, yolov3_tiny: Path) -> None:
    os.truncate(yolov3_tiny, 20 + 4 * (8858734 - 78 * 2310))
    (line,) = cli("which", yolov3_tiny, "-q").out.splitlines()[:1]
    assert line.startswith("fits: yolov3-tiny or yolov3-tiny_obj with 2 classes (pjreddie")
    assert ", whose cfg has 80: 24 layers" in line
    os.truncate(yolov3_tiny, 6303188)
    first = cli("which", yolov3_tiny, "-q").out.splitlines()[0]
    assert first.startswith("fits: layers 0 to 10 of ")


def test_a_size_that_nothing_has_is_1(cli: Cli, yolov3_tiny: Path) -> None:
    os.truncate(yolov3_tiny, 20 + 4 * 8858735)
    answer = cli("which", yolov3_tiny)
    assert (answer.code, answer.err) == (1, "")
    nothing, near = answer.out.splitlines()[-2:]
    assert nothing.startswith("nothing fits: no published cfg has this size")
    assert near.startswith(
        "nearest: 4 bytes more than yolov3-tiny or yolov3-tiny_obj with 80 classes"
    )
    facts = cli("which", yolov3_tiny, "--json").json
    assert (facts["fits"], facts["off_bytes"], facts["nearest"]["layers"]) == ([], 4, 24)
    os.truncate(yolov3_tiny, 20 + 4 * 8858734 - 1)
    near = cli("which", yolov3_tiny).out.splitlines()[-1]
    assert near.startswith("nearest: 1 byte fewer than yolov3-tiny ")
    assert near.endswith("; is the file cut off?")


def test_a_folder(cli: Cli, tiny: Path, yolov3_tiny: Path) -> None:
    answer = cli("which", tiny.with_name("tiny.weights"), "--cfg", tiny.parent)
    assert answer.code == 0
    cfg = tiny.with_name("tiny.cfg")
    assert answer.out.splitlines()[-1] == (
        f"fits: {cfg} with 2 classes: 12 layers, input 64 x 64 x 3"
    )
    answer = cli("which", yolov3_tiny, "--cfg", tiny.parent)
    assert f"nothing in {tiny.parent} fits; published cfgs:" in answer.out.splitlines()


def test_the_help_has_an_example() -> None:
    command = main.commands["which"]
    assert "Example: darknet-bn which " in str(command.help)
    assert all(isinstance(each, click.Argument) or each.help for each in command.params)


def test_pictures(cli: Cli, tiny: Path) -> None:
    weights, cfg = tiny.with_name("tiny.weights"), tiny.with_name("tiny.cfg")
    cfg.with_name("same.cfg").write_bytes(cfg.read_bytes())
    answer = cli("which", weights, "--cfg", tiny.parent, "--pictures", PICTURE)
    assert answer.code == 0
    verdict, *names = answer.out.splitlines()[-3:]
    assert verdict == "pictures show: unknown, 2 remain:"
    assert names == [f"  {cfg.with_name(name)} with 2 classes" for name in ("same.cfg", "tiny.cfg")]
    facts = cli("which", weights, "--cfg", tiny.parent, "--pictures", PICTURE, "--json").json
    assert facts["likely"] == [str(cfg.with_name("same.cfg")), str(cfg)]
    refused = cli("which", weights, "--pictures", PICTURE)
    assert refused.code == 2
    assert "--pictures needs --cfg" in refused.err


def test_what_is_not_weights_is_told_apart(cli: Cli, tiny: Path) -> None:
    cfg, weights = f"{tiny}.cfg", f"{tiny}.weights"
    for words, expected in (
        ((cfg,), f"is a cfg, and this shows it: darknet-bn info {cfg}"),
        ((cfg, weights), f"whether this pair fits: darknet-bn check {cfg} {weights}"),
        ((weights, cfg), f"whether this pair fits: darknet-bn check {cfg} {weights}"),
        ((weights, weights), f"expected WEIGHTS alone; unexpected argument: {weights}"),
        ((weights, "--cfg", cfg), "--cfg takes a folder of cfgs; whether this one fits: "),
        ((), "Missing argument 'WEIGHTS'"),
    ):
        answer = cli("which", *words)
        assert (answer.code, answer.out) == (2, ""), words
        assert expected in answer.err.replace("\n", " ")


def test_the_stem_of_a_model_is_its_weights(cli: Cli, tiny: Path) -> None:
    assert cli("which", tiny, "--json").json == cli("which", f"{tiny}.weights", "--json").json
