"""The command detect: what it prints of a picture, in which form."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.debian_detector import lines_of_darknet

from .conftest import FIXTURES, PICTURE, TINY, Cli, detections, lines_of

PREPROCESS = FIXTURES / "preprocess"
BOX = ("left", "top", "width", "height")


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "two.names"
    path.write_text("left shoe\nright shoe\n")
    return path


def table(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


# -- what Darknet prints -------------------------------------------------------------------


def test_the_lines_are_those_of_darknet(cli: Cli, names: Path) -> None:
    answer = cli("detect", TINY, PICTURE, "--names", names, "--thresh", "0.76")
    assert (answer.code, answer.err) == (0, "")
    # Debian's darknet detector test, with -thresh 0.76.
    assert lines_of(answer.out) == [f"right shoe: {percent}%" for percent in (80, 79, 77, 77, 76)]


@pytest.mark.parametrize("name", ["rgba_10x15", "gradient_31x17", "gray_21x12"])
def test_hundreds_of_lines_are_those_of_darknet(cli: Cli, tmp_path: Path, name: str) -> None:
    picture = PREPROCESS / f"{name}.png"
    expected = lines_of_darknet(tmp_path, TINY, picture)
    assert len(expected) > 200
    answer = cli("detect", TINY, picture, "--data", tmp_path / "their.data", "--thresh", "0.5")
    assert lines_of(answer.out) == expected


# The decoders of JPEG are up to 3 levels of 255 apart; that moves probabilities by up to 0.006,
# and by up to 0.012 if the input has only 56 x 56 pixels.
DECODER = 0.012


def expect_boxes(out: str, golden: dict[str, Any], kept: list[dict[str, Any]], top: float) -> None:
    """Check that a table holds the detections of a real program, within a pixel each."""
    width, height = golden["image_w_h"]
    rows = table(out)
    for each in kept:
        if each["prob"] < top + DECODER:
            continue
        x, y, w, h = each["box_cx_cy_w_h"]
        box = np.array([(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])
        (row,) = (
            row
            for row in rows
            if row["name"] == each["name"]
            and abs(float(row["probability"]) - each["prob"]) < DECODER
            and np.abs([float(row[side]) for side in BOX] - box).max() < 1
        )
        assert int(row["class"]) == each["class_id"]
        rows.remove(row)
    assert all(float(row["probability"]) < top + DECODER for row in rows)


def test_five_objects_and_their_boxes(cli: Cli, shared: Path) -> None:
    model, picture = shared / "models/yolov3-tiny/yolov3-tiny", shared / "images/dog.jpg"
    words = ("detect", f"{model}.cfg", f"{model}.weights", picture, "--dialect", "pjreddie")
    words += ("--names", model.with_name("coco.names"))
    report = shared / "golden/models/yolov3-tiny/dog_oracle_a.json"
    golden = json.loads(report.read_text(encoding="utf-8"))
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert lines_of(answer.out) == golden["detector_test"]["printed_thresh_default"]
    assert lines_of(answer.out) == [
        "dog: 56%",
        "car: 52%",
        "truck: 55%",
        "car: 62%",
        "bicycle: 59%",
    ]
    answer = cli(*words, "--thresh", "0.25", "--csv")
    assert len(table(answer.out)) == 6
    expect_boxes(answer.out, golden, golden["own_path"]["detections"], 0.25)


@pytest.mark.parametrize(
    ("folder", "name", "names", "image"),
    [
        ("yolov3-tiny", "yolov3-tiny", "coco", "dog"),
        ("yolo-fastest", "yolo-fastest", "coco", "dog"),
        ("yolo-fastest", "yolo-fastest-1.1", "coco", "dog"),
        ("mobilenetv2-yolo-fastest-voc", "MobileNetV2-YOLO-Fastest-voc", "voc", "dog"),
        ("yoloface-50k", "yoloface-50k", "label", "person"),
    ],
)
def test_the_boxes_of_alexeyab(
    cli: Cli, shared: Path, folder: str, name: str, names: str, image: str
) -> None:
    golden_folder = folder if folder != "yolo-fastest" else name
    report = shared / "golden/models" / golden_folder / f"{image}.json"
    golden = json.loads(report.read_text(encoding="utf-8"))
    model = shared / "models" / folder / name
    words = ("detect", model, shared / f"images/{image}.jpg", "--dialect", "alexeyab", "--csv")
    words += ("--names", model.with_name(f"{names}.names"))
    answer = cli(*words)
    assert answer.code == 0
    assert "(as AlexeyAB/darknet does)\nthreshold: 0.25, nms: 0.45\n" in answer.err
    own = golden.get("detections_nms_kind_diounms_sort", golden["detections"])
    expect_boxes(answer.out, golden, own, 0.25)
    answer = cli(*words, "--letterbox")
    assert "(given)" in answer.err
    if "nms_kind" not in dn.load_cfg(f"{model}.cfg").to_bytes().decode():
        expect_boxes(answer.out, golden, golden["letterbox"]["detections"], 0.25)


# -- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), {}),
        (("--letterbox",), {}),
        (("--stretch",), {"letterbox": False}),
        (("--nms", "0"), {"nms": 0}),
        (("--nms", "0.1"), {"nms": 0.1}),
        (("--dialect", "alexeyab"), {"dialect": "alexeyab"}),
        (("--dialect", "alexeyab", "--letterbox"), {"dialect": "alexeyab", "letterbox": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_reach_the_library(
    cli: Cli, words: tuple[str, ...], options: dict[str, Any]
) -> None:
    facts = cli("detect", TINY, PICTURE, "--thresh", "0.7", "--json", *words).json
    expected = detections(**options)
    (told,) = facts["pictures"]
    assert len(told["objects"]) == sum(len(each.classes) for each in expected) > 3
    for row, each in zip(told["objects"], expected, strict=True):
        assert row["confidence"] == pytest.approx(each.probability, abs=1e-6)  # its decimals
        assert row["box"]["left"] == pytest.approx(each.left, abs=0.006)
    letterbox = options.get("letterbox", "dialect" not in options)
    assert facts["fit"] == ("letterbox" if letterbox else "stretch")
    assert facts["nms"] == options.get("nms", 0.45)


def test_the_threshold_is_that_of_the_dialect(cli: Cli) -> None:
    for dialect, threshold in (("pjreddie", 0.5), ("alexeyab", 0.25)):
        facts = cli("detect", TINY, PICTURE, "--dialect", dialect, "--json").json
        assert facts["threshold"] == threshold
        scores = [row["confidence"] for row in facts["pictures"][0]["objects"]]
        assert threshold < min(scores) < threshold + 0.02


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "input: letterboxed to 64 x 64 (as pjreddie/darknet on the CPU does)"),
        (("--letterbox",), "input: letterboxed to 64 x 64 (given)"),
        (("--stretch",), "input: stretched to 64 x 64 (given)"),
        (("--dialect", "alexeyab"), "input: stretched to 64 x 64 (as AlexeyAB/darknet does)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_says_which_way_is_in_force(cli: Cli, words: tuple[str, ...], line: str) -> None:
    assert cli("detect", TINY, PICTURE, *words).out.splitlines()[1] == line


def test_the_positions_are_those_of_ext_output(cli: Cli) -> None:
    words = ("detect", TINY, PICTURE, "--thresh", "0.8", "--dialect", "alexeyab", "--ext-output")
    (line,) = lines_of(cli(*words).out)
    assert line == "class 1: 81%\t(left_x:    2   top_y:   13   width:    0   height:    1)"


def test_nothing_found_is_said(cli: Cli) -> None:
    answer = cli("detect", TINY, PICTURE, "--thresh", "0.99")
    assert (answer.code, lines_of(answer.out)) == (0, ["no objects found (threshold 0.99)"])


# -- names ---------------------------------------------------------------------------------


def labels_of(cli: Cli, *words: object) -> tuple[set[str], list[str]]:
    answer = cli("detect", TINY, PICTURE, "--json", *words)
    assert answer.code == 0
    return {row["name"] for row in answer.json["pictures"][0]["objects"]}, answer.err.splitlines()


def test_names_come_from_either_file(cli: Cli, tmp_path: Path, names: Path) -> None:
    data = tmp_path / "x.data"
    data.write_text("classes=2\nnames=two.names\n")
    assert labels_of(cli) == ({"class 0", "class 1"}, [])
    assert labels_of(cli, "--names", names) == ({"left shoe", "right shoe"}, [])
    assert labels_of(cli, "--data", data) == ({"left shoe", "right shoe"}, [])
    data.write_text("names=gone\n")
    assert labels_of(cli, "--data", data, "--names", names) == ({"left shoe", "right shoe"}, [])
    error = cli("detect", TINY, PICTURE, "--data", data).error
    assert error.startswith(f"{data}: names: the file does not exist (expected gone or ")


def test_names_of_another_model_are_refused(cli: Cli, tmp_path: Path) -> None:
    names, data = tmp_path / "x.names", tmp_path / "x.data"
    names.write_text("left shoe\n")
    data.write_text(f"names={names}\n")
    for option, file in (("--names", names), ("--data", data)):
        answer = cli("detect", TINY, PICTURE, option, file, "--labels", tmp_path / "new")
        assert (answer.code, answer.out) == (2, "")
        assert answer.error == (
            f"{names}: 1 name for 2 classes; leave out {option} to print class numbers"
        )
    assert not (tmp_path / "new").exists()


def test_more_names_than_classes_are_a_warning(cli: Cli, tmp_path: Path) -> None:
    names = tmp_path / "x.names"
    names.write_text("a\nb\nc\n")
    found, (warning,) = labels_of(cli, "--names", names)
    assert found == {"a", "b"}
    assert warning == f"warning: {names}: 3 names for 2 classes; the extra names are ignored"


def test_another_number_of_classes_in_the_data_file_is_a_warning(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "x.data"
    data.write_text("classes=80\n")
    _, (warning,) = labels_of(cli, "--data", data)
    assert warning == f"warning: {data}: classes: the network has 2 classes, not 80"


def test_control_characters_of_names_never_reach_the_terminal(cli: Cli, tmp_path: Path) -> None:
    names = tmp_path / "x.names"
    names.write_text("a\x1b[31mb\nc\td\n")
    words = ("detect", TINY, PICTURE, "--names", names, "--thresh", "0.5")
    lines = lines_of(cli(*words).out)
    assert {line.rpartition(":")[0] for line in lines} == {"a\\x1b[31mb", "c\td"}


# -- JSON and CSV --------------------------------------------------------------------------


def test_json_has_the_objects_of_alexeyab_and_boxes_in_pixels(cli: Cli, names: Path) -> None:
    facts = cli("detect", TINY, PICTURE, "--names", names, "--thresh", "0.8", "--json").json
    (told,) = facts["pictures"]
    assert (told["file"], told["width"], told["height"]) == (str(PICTURE), 10, 15)
    (found,) = detections(threshold=0.8)
    x, y, w, h = found.box
    assert told["objects"] == [
        {
            "class_id": 1,
            "name": "right shoe",
            "relative_coordinates": {
                "center_x": round(x, 6),
                "center_y": round(y, 6),
                "width": round(w, 6),
                "height": round(h, 6),
            },
            "confidence": round(found.probability, 6),
            "box": {
                "left": round((x - w / 2) * 10, 2),
                "top": round((y - h / 2) * 15, 2),
                "width": round(w * 10, 2),
                "height": round(h * 15, 2),
            },
        }
    ]
    assert facts["failed"] == []
    assert facts["written"] == {"pictures": None, "labels": None}


def test_csv_says_the_same_as_json(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / 'a, "b"\nc'
    folder.mkdir()
    shutil.copy(PICTURE, folder / "=1+1.png")
    names = tmp_path / "x.names"
    names.write_text('shoe, "left"\nH\u00fcndchen\n', encoding="utf-8")
    words = ("detect", TINY, folder, PICTURE, "--names", names, "--thresh", "0.7")
    answer = cli(*words, "--csv")
    assert [line.partition(":")[0] for line in answer.err.splitlines()] == [
        "dialect",
        "input",
        "threshold",
    ]
    rows = table(answer.out)
    assert list(rows[0]) == ["file", "class", "name", "probability", *BOX]
    expected = [
        {
            "file": told["file"],
            "class": str(row["class_id"]),
            "name": row["name"],
            "probability": f"{row['confidence']:.6f}",
            **{side: str(row["box"][side]) for side in BOX},
        }
        for told in cli(*words, "--json").json["pictures"]
        for row in told["objects"]
    ]
    assert rows == expected
    assert {row["file"] for row in rows} == {f"{folder}/=1+1.png", str(PICTURE)}
    assert {row["name"] for row in rows} <= {'shoe, "left"', "H\u00fcndchen"}


def test_csv_of_nothing_is_its_head(cli: Cli) -> None:
    answer = cli("detect", TINY, PICTURE, "--thresh", "0.99", "--csv")
    assert answer.out == "file,class,name,probability,left,top,width,height\n"
