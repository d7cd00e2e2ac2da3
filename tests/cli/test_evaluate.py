"""The command evaluate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from tests.support.labelled import NAMES, box_set, class_set

from .conftest import FIXTURES, TINY, Cli

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
FIVE = ("ant", "bee", "crab", "dog", "elk")


@pytest.fixture
def boxes(tiny: Path, tmp_path: Path) -> Path:
    """A ``.data`` file of pictures with what the tiny model finds in the first as its labels."""
    model = dn.load(f"{tiny}.cfg", f"{tiny}.weights")
    box_set(tmp_path, {})
    im = dn.load_image(tmp_path / f"{NAMES[0]}.png")
    (found,) = dn.detections(model, dn.prepare(im, model), image_sizes=im.shape[1:], threshold=0.3)
    inside = [each for each in found if min(each.box[:2]) > 0 and max(each.box[:2]) < 1]
    rows = [(0, *each.box) for each in inside if each.class_id == 0][:3]
    assert len(rows) == 3
    return box_set(tmp_path, {NAMES[0]: rows})


def report_of(stem: Path, data: Path, **options: Any) -> Any:
    model = dn.load(f"{stem}.cfg", f"{stem}.weights")
    return dn.evaluate(model, dn.load_dataset(data, model, train=False), **options)


def test_a_detector(cli: Cli, tiny: Path, boxes: Path) -> None:
    report = report_of(tiny, boxes)
    cat, dog = report.classes
    answer = cli("evaluate", tiny, boxes)
    assert (answer.code, answer.err) == (0, "")
    dialect, fit, data, headings, *rows, over, counted, present, mean = answer.out.splitlines()
    assert dialect.startswith("dialect: ")
    assert fit.startswith("input: letterboxed to 64 x 64 (as ")
    assert data == "data: valid.txt: 3 pictures, 2 of them without boxes; 3 boxes of 2 classes"
    assert headings.split() == ["class", "AP", "%", "truths", "right", "wrong"]
    assert 0 < cat.average_precision < 1
    counts = (3, cat.true_positives, cat.false_positives)
    assert [row.split() for row in rows] == [
        ["cat", f"{100 * cat.average_precision:.2f}", *map(str, counts)],
        ["dog", "-", "0", "0", f"{dog.false_positives}"],
    ]
    assert over == (
        f"over 0.25: precision {report.precision:.2f}, recall {report.recall:.2f}, "
        f"F1 {report.f1:.2f}, average IoU {100 * report.average_iou:.2f} %"
    )
    assert counted == (
        f"over 0.25: {report.true_positives} right, {report.false_positives} wrong, "
        f"{report.false_negatives} missed"
    )
    half = 100 * cat.average_precision / 2
    assert present == f"mAP@0.50: {2 * half:.2f} % over the 1 with true boxes"
    assert mean == f"mAP@0.50: {half:.2f} % over 2 classes (area under the curve)"


def test_options_of_a_detector(cli: Cli, tiny: Path, boxes: Path) -> None:
    words = ("--points", 11, "--iou-thresh", 0.8, "--thresh", 0.6, "--nms", 0.3, "--batch", 2)
    facts = cli("evaluate", tiny, boxes, *words, "--stretch", "--json").json
    report = report_of(
        tiny, boxes, points=11, iou_threshold=0.8, threshold=0.6, overlap=0.3, fit="stretch"
    )
    assert facts["fit"] == "stretch"
    assert (facts["points"], facts["iou_threshold"], facts["threshold"]) == (11, 0.8, 0.6)
    # A batch of another size is multiplied in another order.
    assert facts["mean"] == pytest.approx(report.mean, rel=1e-4)
    assert facts["pairs"] == report.pairs
    assert [each["name"] for each in facts["classes"]] == ["cat", "dog"]
    assert facts["classes"][0]["truths"] == 3


def test_classes_without_anything_are_counted_only(cli: Cli, tiny: Path, boxes: Path) -> None:
    answer = cli("evaluate", tiny, boxes, "--thresh", 1)
    assert "1 other class with no true or found boxes" in answer.out.splitlines()
    assert "dog" not in answer.out


def test_a_classifier(cli: Cli, tmp_path: Path) -> None:
    model = dn.load(f"{CLASSIFIER}.cfg", f"{CLASSIFIER}.weights")
    data = class_set(tmp_path, FIVE, ("elk", "bee", "elk"))
    report = report_of(CLASSIFIER, data, top=2)
    assert model.network.nodes[-1].y.size == 5
    answer = cli("evaluate", CLASSIFIER, data)
    assert (answer.code, answer.err) == (0, "")
    _, fit, told, headings, *rows, rest, total = answer.out.splitlines()
    assert fit.startswith("input: scaled and cropped to ")
    assert told == "data: valid.txt: 3 pictures of 5 classes"
    assert headings.split("  ") == ["class", "images", "top 1 %", "top 2 %"]
    assert [row.split()[:2] for row in rows] == [["bee", "1"], ["elk", "2"]]
    assert rest == "3 other classes with no image"
    assert total == (
        f"accuracy: top 1 {100 * report.top_1:.2f} %, top 2 {100 * report.top_k:.2f} % of 3 images"
    )
    facts = cli("evaluate", CLASSIFIER, data, "--json", "--top", 5).json
    assert (facts["top"], facts["top_k"], facts["fit"]) == (5, 1.0, "crop")
    assert [each["images"] for each in facts["classes"]] == [0, 1, 0, 0, 2]


def test_arrays(cli: Cli, tmp_path: Path) -> None:
    model = dn.load(f"{CLASSIFIER}.cfg", f"{CLASSIFIER}.weights")
    x = np.random.default_rng(2).integers(0, 256, (4, *model.network.input.dims), np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=np.array([0, 1, 2, 4]))
    (tmp_path / "five.names").write_text("\n".join(FIVE))
    answer = cli("evaluate", CLASSIFIER, tmp_path / "set.npz", "--names", tmp_path / "five.names")
    assert (answer.code, answer.err) == (0, "")
    assert "input:" not in answer.out
    assert "crab" in answer.out
    answer = cli("evaluate", CLASSIFIER, tmp_path / "set.npz", "--json")
    facts = answer.json
    assert (facts["fit"], facts["bad_labels"], facts["without_labels"]) == (None, [], [])
    assert facts["seconds"] > 0
    assert answer.err == ""
    assert [each["name"] for each in facts["classes"]][:2] == ["class 0", "class 1"]
    report = report_of(CLASSIFIER, tmp_path / "set.npz")
    assert (facts["top_1"], facts["top_k"]) == (report.top_1, report.top_k)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "missing argument: DATA"),
        (("missing.data",), 2, "missing.data: cannot be read"),
        (("coco.json",), 2, "coco.json: no such file (expected .data, .npz, .yaml or .json"),
        (("set.csv",), 2, "set.csv: unsupported data set type .csv (expected .data, .npz, "),
        (("clip.mp4",), 2, "clip.mp4: unsupported data set type .mp4"),
        (("tiny.weights",), 2, "missing argument: DATA"),
        (("empty",), 2, "empty: the folder has no pictures with labels (expected .data, "),
        (("set.data", "--points", 1), 2, "needs more points"),
        (("set.data", "--iou-thresh", 2), 2, "must be from 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_refused(
    cli: Cli,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...],
    code: int,
    message: str,
) -> None:
    box_set(tmp_path, {})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    answer = cli("evaluate", tiny, *words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def odd(boxes: Path) -> list[Path]:
    """Spoil labels of pictures in a set; return the label files."""
    files = [boxes.with_name(f"{name}.txt") for name in NAMES]
    files[1].write_text("7 .5 .5 .1 .1\n0 0 0 .1 .1\n")
    files[2].write_text("0 320 240 50 60\n1 .5 .5 .1 .1\n")
    return files


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_all_boxes_that_do_not_count_are_named(
    cli: Cli, tiny: Path, boxes: Path, dialect: str
) -> None:
    _, second, third = odd(boxes)
    words = ("evaluate", tiny, boxes, "--dialect", dialect)
    answer = cli(*words)
    assert answer.code == 0
    assert answer.err.splitlines() == [
        f"warning: {boxes.with_name('valid.txt')}: 3 boxes are ignored; the first: {second}:1: "
        "there is no class 7 (expected 0 to 1)",
        f"  {second}:2: the box is at 0 0",
        f"  {third}:1: the box is outside the picture (expected x y w h as shares of the picture, "
        "0 to 1, found 320 240 50 60)",
    ]
    facts = cli(*words, "--json").json
    assert facts["without_labels"] == []
    told = [(each["file"], each["line"], each["message"]) for each in facts["bad_labels"]]
    assert told == [
        (str(second), 1, "there is no class 7"),
        (str(second), 2, "the box is at 0 0"),
        (str(third), 1, "the box is outside the picture"),
    ]
    assert facts["bad_labels"][0]["expected"] == "0 to 1"
    assert facts["bad_labels"][2]["found"] == "320 240 50 60"


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_all_lines_that_are_not_boxes_are_named(
    cli: Cli, tiny: Path, boxes: Path, dialect: str
) -> None:
    first, second, third = odd(boxes)
    first.write_text("0, 0.5, 0.5, 0.2, 0.3\n")
    answer = cli("evaluate", tiny, boxes, "--dialect", dialect)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        f"error: {boxes.with_name('valid.txt')}: 4 lines of label files cannot be used; the "
        f"first: {first}:1: not a box (expected class x y w h, found '0, 0.5, 0.5, 0.2, 0.3')",
        f"  {second}:1: there is no class 7 (expected 0 to 1)",
        f"  {second}:2: the box is at 0 0",
        f"  {third}:1: the box is outside the picture (expected x y w h as shares of the picture, "
        "0 to 1, found 320 240 50 60)",
    ]


def test_all_lines_that_are_not_boxes_are_in_the_json(cli: Cli, tiny: Path, boxes: Path) -> None:
    first, second, third = odd(boxes)
    first.write_text("0, 0.5, 0.5, 0.2, 0.3\n")
    answer = cli("evaluate", tiny, boxes, "--json")
    assert answer.code == 2
    told = answer.json["error"]["problems"]
    places = [(first, 1), (second, 1), (second, 2), (third, 1)]
    assert [(each["file"], each["line"]) for each in told] == [(str(a), b) for a, b in places]


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab", "hank-ai"])
def test_a_picture_without_labels_has_no_objects(
    cli: Cli, tiny: Path, boxes: Path, dialect: str
) -> None:
    whole = cli("evaluate", tiny, boxes, "--dialect", dialect)
    boxes.with_name(f"{NAMES[1]}.txt").unlink()  # it was empty
    answer = cli("evaluate", tiny, boxes, "--dialect", dialect)
    assert (answer.code, answer.out) == (0, whole.out)
    (warning,) = answer.err.splitlines()
    assert f"1 of 3 pictures has no label file and counts as having no objects: {boxes.parent}" in (
        warning
    )
    facts = cli("evaluate", tiny, boxes, "--dialect", dialect, "--json").json
    assert facts["without_labels"] == [str(boxes.with_name(f"{NAMES[1]}.png"))]


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab", "hank-ai"])
def test_no_labels_at_all_are_an_error(cli: Cli, tiny: Path, boxes: Path, dialect: str) -> None:
    for name in NAMES:
        boxes.with_name(f"{name}.txt").unlink()
    answer = cli("evaluate", tiny, boxes, "--dialect", dialect)
    assert (answer.code, answer.out) == (2, "")
    assert "valid.txt:1: no picture has a label file (expected " in answer.error
    assert str(boxes.with_name(f"{NAMES[0]}.txt")) in answer.error


def test_how_long_it_took_is_told_to_people(tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    words = [str(word) for word in ("evaluate", TINY, data)]
    result = CliRunner().invoke(main, words)
    assert re.fullmatch(r"took: [\d.]+ m?s, [\d.]+ m?s a picture\n", result.stderr)
    assert "took:" not in result.stdout
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.stderr == ""
    assert json.loads(result.stdout)["seconds"] > 0


def test_too_few_names_are_an_error_only_if_they_can_be_left_out(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box_set(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    Path("set.names").write_text("one\n")
    answer = cli("evaluate", tiny, "set.data")
    assert answer.code == 0
    assert (
        "warning: set.names: 1 name for 2 classes; classes from 1 on have no name\n" in answer.err
    )
    answer = cli("evaluate", tiny, "set.data", "--names", "set.names")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        "set.names: 1 name for 2 classes; leave out --names to print class numbers"
    )


def test_workers_need_a_cluster(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    answer = cli("evaluate", tiny, box_set(tmp_path, {}), "--workers", 2)
    assert answer.code == 2
    assert "--workers needs --ray" in answer.err
