"""Sets of labels in other layouts, given directly to train, evaluate and calibrate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.layouts.places import LAYOUTS, NAMES, coco, voc

from .conftest import Cli

TRAINED = ("coco", "cvat_yolo", "ultralytics", "voc")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_each_layout_is_evaluated(cli: Cli, tiny: Path, tmp_path: Path, name: str) -> None:
    make, _, has_valid = LAYOUTS[name]
    answer = cli("evaluate", tiny, make(tmp_path / "set"), "--json")
    assert (answer.code, answer.err) == (0, "")
    facts = answer.json
    assert [each["name"] for each in facts["classes"]] == list(NAMES)
    assert [each["truths"] for each in facts["classes"]] == ([1, 0] if has_valid else [2, 1])


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_each_layout_calibrates(cli: Cli, tiny: Path, tmp_path: Path, name: str) -> None:
    make, _, has_valid = LAYOUTS[name]
    words = ("calibrate", tiny, make(tmp_path / "set"), "-o", tmp_path / "new", "--json")
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["images"] == (1 if has_valid else 2)
    assert (tmp_path / "new.weights").is_file()


@pytest.mark.parametrize("name", TRAINED)
def test_layouts_train(cli: Cli, tiny: Path, tmp_path: Path, name: str) -> None:
    place = LAYOUTS[name][0](tmp_path / "set")
    words = ("train", f"{tiny}.cfg", place, "-o", tmp_path, "--iterations", 1, "--batch", 1)
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "data: 1 example; training begins" in answer.out
    assert (tmp_path / "tiny_final.weights").is_file()


def test_how_classes_are_numbered_is_told(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    place = voc(tmp_path / "set")
    (place / "labelmap.txt").unlink()
    answer = cli("evaluate", tiny, place)
    assert "classes are numbered in the order of the alphabet\n" in answer.out
    names = tmp_path / "my.names"
    names.write_text("zebra\nant\n")
    facts = cli("evaluate", tiny, place, "--names", names, "--json").json
    assert [each["truths"] for each in facts["classes"]] == [1, 0]
    answer = cli("evaluate", tiny, coco(tmp_path / "coco"))
    assert "category ids 3 to 90 become classes 0 to 1 in their order\n" in answer.out


def test_what_is_wrong_is_told_in_one_line_with_the_rest_below(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    place = LAYOUTS["fiftyone_yolov4"][0](tmp_path / "set")
    label = place / "data/a.txt"
    label.write_text("0 .5 .5 .1\n1 x\n")
    answer = cli("evaluate", tiny, place)
    assert answer.code == 2
    first, *rest = answer.err.splitlines()
    assert first.startswith(f"error: {place}: 2 places of the labels cannot be used; the first: ")
    assert rest == [f"  {label}:2: not a box (expected class x y w h, found '1 x')"]
