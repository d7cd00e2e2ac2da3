"""What evaluate measures of a detector if it is asked: the numbers of COCO."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.predictions.coco import coco_truth
from tests.support.labelled import NAMES, box_set

from .conftest import FIXTURES, TINY, Cli

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """A ``.data`` file whose labels are some of what the tiny model finds, and one it misses."""
    model = dn.load(TINY)
    box_set(tmp_path, {})
    rows: dict[str, list[tuple[float, ...]]] = {}
    for name in NAMES[:2]:
        im = dn.load_image(tmp_path / f"{name}.png")
        x = dn.prepare(im, model)
        (found,) = dn.detections(model, x, image_sizes=im.shape[1:], threshold=0.3)
        inside = [each for each in found if min(each.box[:2]) > 0 and max(each.box[:2]) < 1]
        rows[name] = [
            (each.class_id, *each.box)
            for kind in (0, 1)
            for each in [one for one in inside if one.class_id == kind][:2]
        ]
    assert {row[0] for each in rows.values() for row in each} == {0, 1}
    return box_set(tmp_path, rows | {NAMES[2]: [(1, 0.3, 0.4, 0.02, 0.9)]})


def findings_of(stem: Path, data: Path) -> dn.Findings:
    model = dn.load(stem)
    return dn.find_boxes(model, dn.load_dataset(data, model, train=False))


# -- COCO ----------------------------------------------------------------------------------


@pytest.fixture
def coco() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")


@pytest.mark.usefixtures("coco")
def test_the_numbers_of_coco_are_those_of_the_library(cli: Cli, tiny: Path, boxes: Path) -> None:
    numbers = dn.coco_numbers(findings_of(tiny, boxes))
    answer = cli("evaluate", tiny, boxes, "--coco")
    assert (answer.code, answer.err) == (0, "")
    *plain, heading, precision, counts, recall = answer.out.splitlines()
    assert plain == cli("evaluate", tiny, boxes).out.splitlines()
    assert heading.split() == ["COCO", "IoU", "0.50:0.95", "0.50", "0.75", *SIZES]
    assert counts.split() == ["1", "box", "10", "boxes", "100", "boxes", *SIZES]
    shown = precision.split()[2:] + recall.split()[2:]
    values = list(vars(numbers).values())
    assert shown == [f"{100 * each:.2f}" if each >= 0 else "-" for each in values]
    assert "-" in shown
    assert max(values) > 0
    facts = cli("evaluate", tiny, boxes, "--coco", "--json").json
    assert facts["coco"] == vars(numbers)
    assert cli("evaluate", tiny, boxes, "--json").json["coco"] is None


SIZES = ("small", "medium", "large")


@pytest.mark.usefixtures("coco")
def test_the_truth_may_come_from_a_file(cli: Cli, tiny: Path, boxes: Path, tmp_path: Path) -> None:
    findings = findings_of(tiny, boxes)
    content = json.loads(json.dumps(coco_truth(findings)))
    content["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    content["annotations"][0]["iscrowd"] = 1
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    expected = dn.coco_numbers(findings, dn.load_coco_truth(file, findings, ["cat", "dog"]))
    assert expected != dn.coco_numbers(findings, dn.load_coco_truth(file, findings))
    words = ("evaluate", tiny, boxes, "--coco", "--coco-truth", file, "--json")
    assert cli(*words).json["coco"] == vars(expected)


def test_what_coco_needs_is_said_before_any_work(
    cli: Cli, tiny: Path, boxes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    monkeypatch.setattr(dn, "find_boxes", None)
    answer = cli("evaluate", tiny, boxes, "--coco")
    assert answer.code == 2
    assert answer.error == (
        "the package faster-coco-eval is not installed; pip install 'darknet-bn[coco]'"
    )
    for words, message in (
        ((CLASSIFIER, boxes, "--coco"), "--coco is for detectors; this model is a classifier"),
        ((tiny, boxes, "--coco-truth", "a.json"), "--coco-truth needs --coco"),
    ):
        answer = cli("evaluate", *words)
        assert (answer.code, answer.err.splitlines()[0]) == (2, f"error: {message}")
