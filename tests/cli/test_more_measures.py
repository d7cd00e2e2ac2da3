"""What evaluate measures of a detector if it is asked: COCO's numbers, plots, rows."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.predictions.coco import coco_truth
from darknet_bn.predictions.curves import curves
from darknet_bn.predictions.finding_rows import finding_rows
from darknet_bn.predictions.plots import confusion_plot
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


@pytest.mark.usefixtures("coco")
def test_the_truth_is_data_itself_if_that_is_a_file_of_coco(
    cli: Cli, tiny: Path, boxes: Path, tmp_path: Path
) -> None:
    findings = findings_of(tiny, boxes)
    content = json.loads(json.dumps(coco_truth(findings, ["cat", "dog"])))
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).name  # next to the file
    content["annotations"][0]["iscrowd"] = 1
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    answer = cli("evaluate", tiny, file, "--coco", "--json")
    assert "1 box left out: marked as crowd" in answer.err  # of average precision only
    numbers = answer.json["coco"]
    assert numbers == vars(dn.coco_numbers(findings, dn.load_coco_truth(file, findings)))
    assert numbers != vars(dn.coco_numbers(findings))


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


# -- plots and rows ------------------------------------------------------------------------

PLOTS = ["confusion.svg", "precision_recall.svg", "thresholds.svg"]


def test_plots_are_drawn_and_their_numbers_are_in_the_json(
    cli: Cli, tiny: Path, boxes: Path, tmp_path: Path
) -> None:
    findings = findings_of(tiny, boxes)
    plots = tmp_path / "new" / "plots"
    words = ("evaluate", tiny, boxes, "--plots", plots, "--thresh", 0.4, "--iou-thresh", 0.6)
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert sorted(each.name for each in plots.iterdir()) == PLOTS
    assert answer.out.splitlines()[-1].startswith(f"written: {plots / 'precision_recall.svg'}, ")
    made = dn.confusion(findings, threshold=0.4, iou_threshold=0.6)
    svg = (plots / "confusion.svg").read_text()
    assert svg == confusion_plot(made, ["cat", "dog"])
    again = cli(*words)
    assert (again.code, "already exists; use --force" in again.err) == (2, True)
    facts = cli(*words, "--force", "--json").json
    assert facts["confusion"] == {
        "threshold": 0.4,
        "iou_threshold": 0.6,
        "counts": made.counts.tolist(),
    }
    made_curves = curves(findings, 0.6)
    assert facts["curves"]["f1"] == made_curves.f1.tolist()
    assert [each["name"] for each in facts["curves"]["classes"]] == ["cat", "dog"]
    assert facts["curves"]["classes"][1]["precision"] == made_curves.classes[1].precision.tolist()
    assert len(facts["written"]["plots"]) == 3


def test_every_detection_is_saved_with_what_became_of_it(
    cli: Cli, tiny: Path, boxes: Path, tmp_path: Path
) -> None:
    expected = list(finding_rows(findings_of(tiny, boxes), ["cat", "dog"], 0.5))
    for name in ("rows.csv", "rows.jsonl"):
        answer = cli("evaluate", tiny, boxes, "--save-rows", tmp_path / name)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines()[-1] == f"written: {tmp_path / name}"
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected
    with open(tmp_path / "rows.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in expected
    ] == table
    assert {row["result"] for row in table} == {"right", "wrong", "missed"}
    facts = cli("evaluate", tiny, boxes, "--json").json
    assert facts["written"] == {"plots": [], "rows": None}


def test_what_cannot_be_written_is_said_before_any_work(
    cli: Cli, tiny: Path, boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dn, "find_boxes", None)
    (tmp_path / "rows.csv").touch()
    for words, message in (
        (("--save-rows", "rows.txt"), "--save-rows needs a name that ends in .csv or .jsonl"),
        (
            ("--save-rows", tmp_path / "rows.csv"),
            f"{tmp_path / 'rows.csv'}: the file already",
        ),
        (("--plots", boxes), f"{boxes}: cannot be created: "),
        (("--save-rows", tmp_path / "no" / "rows.csv"), f"{tmp_path / 'no'}: "),
    ):
        answer = cli("evaluate", tiny, boxes, *words)
        assert answer.code == 2
        assert answer.err.splitlines()[0].startswith(f"error: {message}")
    answer = cli("evaluate", CLASSIFIER, boxes, "--plots", tmp_path / "plots")
    assert answer.err.startswith("error: --plots is for detectors; this model is a classifier")
    assert not (tmp_path / "plots").exists()
