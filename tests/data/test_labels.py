from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.labels import label_path, read_labels
from darknet_bn.dialect import ALEXEYAB, HANK_AI, PJREDDIE, Dialect


@pytest.mark.parametrize(
    ("dialect", "picture", "labels"),
    [
        (PJREDDIE, "set/images/a.jpg", "set/labels/a.txt"),
        (PJREDDIE, "VOC2007/JPEGImages/000012.jpg", "VOC2007/labels/000012.txt"),
        (PJREDDIE, "raw/a.JPEG", "labels/a.txt"),
        (PJREDDIE, "images/images/a.png", "labels/images/a.txt"),  # the first only
        (PJREDDIE, "set/a.b.jpg", "set/a.b.txt"),
        (ALEXEYAB, "coco/images/train2017/a.jpg", "coco/labels/train2017/a.txt"),
        (ALEXEYAB, "coco/images/val2014/a.jpg", "coco/labels/val2014/a.txt"),
        (ALEXEYAB, "VOC2007/JPEGImages/000012.jpg", "VOC2007/labels/000012.txt"),
        (ALEXEYAB, "set/images/a.tiff", "set/images/a.txt"),
        (HANK_AI, "VOC2007/JPEGImages/000012.jpg", "VOC2007/JPEGImages/000012.txt"),
    ],
)
def test_label_path(dialect: Dialect, picture: str, labels: str) -> None:
    assert label_path(picture, dialect) == labels


def test_a_line_is_a_box(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("2 0.5 0.25 0.1 .2\r\n\n 0\t1e-1 0.5 1 1\n")
    boxes, oddities = read_labels(path, 3)
    assert boxes.dtype == np.float32
    expected = np.array([[0.5, 0.25, 0.1, 0.2, 2], [0.1, 0.5, 1, 1, 0]], np.float32)
    assert np.array_equal(boxes, expected)
    assert oddities == ()


def test_an_empty_file_has_no_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n")
    assert read_labels(path, 3).boxes.shape == (0, 5)


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.1",
        "0 0.5 0.5 0.1 0.1 0.9",
        "dog 0.5 0.5 0.1 0.1",
        "-1 0.5 0.5 0.1 0.1",
        "1.5 0.5 0.5 0.1 0.1",
        "0,0.5,0.5,0.1,0.1",
        "0 nan 0.5 0.1 0.1",
        "0 0.5 0.5 inf 0.1",
        "0 0.5 0.5 0.1 0_1",
        "9999999999 0.5 0.5 0.1 0.1",
    ],
)
def test_what_is_no_box_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(dn.DarknetError, match=r"a\.txt:2: this is no box \(expected class x y w h"):
        read_labels(path, 3, strict=False)


@pytest.mark.parametrize(
    ("line", "oddity"),
    [
        ("0 0.5 0.5 0 0.1", "the box has no size"),
        ("0 0.5 0.5 0.1 -0.1", "the box has no size"),
        ("0 320 240 100 50", "the box at 320 240 of size 100 50 is outside of the picture"),
        ("0 -0.2 0.5 0.1 0.1", "the box at -0.2 0.5 of size 0.1 0.1 is outside of the picture"),
        ("0 0 0 0.1 0.1", "the box is at 0 0"),
    ],
)
def test_boxes_that_cannot_be_meant_are_left_out(tmp_path: Path, line: str, oddity: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{line}\n1 0.99 0.5 0.1 0.1\n")  # the second reaches beyond the edge
    boxes, oddities = read_labels(path, 3)
    assert boxes[:, 4].tolist() == [1]
    assert oddities == (f"{path}:1: {oddity}",)


def test_unknown_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("3 0.5 0.5 0.1 0.1\n")
    with pytest.raises(dn.DarknetError, match=r"a\.txt:1: there is no class 3 \(expected 0 to 2\)"):
        read_labels(path, 3)
    boxes, oddities = read_labels(path, 3, strict=False)
    assert len(boxes) == 0
    assert oddities == (f"{path}:1: there is no class 3",)


def test_a_class_that_is_somewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 0 0 0 0\n")
    boxes, oddities = read_labels(path, 3, class_only=True)
    assert boxes.tolist() == [[0, 0, 0, 0, 1]]
    assert oddities == ()
