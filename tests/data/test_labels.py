from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.labels import label_path, other_label_paths, program_label_path, read_labels
from darknet_bn.dialect import ALEXEYAB, HANK_AI, PJREDDIE, Dialect
from tests.support.debian import LIBRARY


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
        # Whole folders only.
        (PJREDDIE, "obj/strawberry.jpg", "obj/strawberry.txt"),
        (PJREDDIE, "drawings/raw.jpg", "drawings/raw.txt"),
        (PJREDDIE, "my_images/images1/a.jpg", "my_images/images1/a.txt"),
        (PJREDDIE, "rawJPEGImages/a.jpg", "rawJPEGImages/a.txt"),
        (PJREDDIE, "images", "images.txt"),
        (ALEXEYAB, "images/train2017/a.jpg", "images/train2017/a.txt"),  # not the first of all
        (ALEXEYAB, "JPEGImages/a.jpg", "JPEGImages/a.txt"),
        (ALEXEYAB, "/JPEGImages/a.jpg", "/labels/a.txt"),
        (ALEXEYAB, "x/images/train2017b/a.jpg", "x/images/train2017b/a.txt"),
        # The suffix at the end only, in upper and lower case.
        (PJREDDIE, "a.jpg.png", "a.jpg.txt"),
        (PJREDDIE, "x/scan.jpg_1.PNG", "x/scan.jpg_1.txt"),
        (PJREDDIE, "my.pngs/a.jpeg", "my.pngs/a.txt"),
        (PJREDDIE, "my.set/a", "my.set/a.txt"),
        (ALEXEYAB, "a.jpg.JPG", "a.jpg.txt"),
        # Paths of Windows.
        (PJREDDIE, "C:\\set\\images\\a.jpg", "C:\\set\\labels\\a.txt"),
        (PJREDDIE, "obj\\strawberry.jpg", "obj\\strawberry.txt"),
        (ALEXEYAB, "set\\images\\val2017\\a.jpg", "set\\labels\\val2017\\a.txt"),
    ],
)
def test_label_path(dialect: Dialect, picture: str, labels: str) -> None:
    assert label_path(picture, dialect) == labels


PICTURES = (
    *("obj/strawberry.jpg", "x/a.jpg.png", "x/scan.jpg_1.png", "x/a.JPG", "x/a.JPEG", "x/a.jpeg"),
    *("images/images/a.png", "train_images/a.jpg", "raw/raw.jpg", "my.pngs/a.jpg", "x/a.bmp"),
    *("JPEGImages/images/raw/a.jpg", "images/JPEGImages/a.png", "strawberry/images/raw.PNG"),
)

# The program ends when a file of labels is not there, and says which.
LOOKS_FOR = """
import ctypes, os, sys
fill = ctypes.CDLL(sys.argv[1]).fill_truth_detection
fill.argtypes = [ctypes.c_char_p] + [ctypes.c_int] + [ctypes.c_void_p] + [ctypes.c_int] * 2
fill.argtypes += [ctypes.c_float] * 4
for picture in sys.argv[2:]:
    if os.fork() == 0:
        os.dup2(1, 2)
        fill(picture.encode(), 1, (ctypes.c_float * 5)(), 1, 0, 0, 0, 1, 1)
        os._exit(1)
    os.wait()
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="Debian's package darknet is not installed")
def test_where_the_program_looks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOOKS_FOR, str(LIBRARY), *PICTURES]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = [f"Couldn't open file: {program_label_path(each, PJREDDIE)}" for each in PICTURES]
    assert result.stdout.splitlines() == expected


@pytest.mark.parametrize(
    ("dialect", "picture", "labels"),
    [
        (ALEXEYAB, "x/images/train2017/a.JPG", "x/labels/train2017/a.txt"),
        (ALEXEYAB, "images/train2017/a.jpg", "images/train2017/a.txt"),
        (ALEXEYAB, "x/a.jpg.png", "x/a.jpg.txt"),
        (HANK_AI, "raw/a.jpg", "raw/a.txt"),
    ],
)
def test_where_other_programs_look(dialect: Dialect, picture: str, labels: str) -> None:
    assert program_label_path(picture, dialect) == labels


@pytest.mark.parametrize(
    ("dialect", "picture", "first", "some"),
    [
        (PJREDDIE, "set/images/a.jpg", "set/images/a.txt", {"set/images/a.jpg.txt"}),
        (ALEXEYAB, "set/images/a.jpg", "set/labels/a.txt", {"set/labels/a.jpg.txt"}),
        (HANK_AI, "set/raw/a.jpg", "set/labels/a.txt", set()),
        (HANK_AI, "x/images/val2017/a.jpg", "x/labels/val2017/a.txt", set()),
        (PJREDDIE, "raw/set/images/a.jpg", "raw/set/images/a.txt", {"raw/set/labels/a.txt"}),
        (ALEXEYAB, "JPEGImages/a.jpg", "labels/a.txt", set()),
        (PJREDDIE, "a.png", "a.png.txt", set()),
    ],
)
def test_where_labels_may_be_too(
    dialect: Dialect, picture: str, first: str, some: set[str]
) -> None:
    others = other_label_paths(picture, dialect)
    assert others[0] == first
    assert some <= set(others)
    assert not {label_path(picture, dialect), picture} & set(others)
    assert len(set(others)) == len(others)


def test_a_line_is_a_box(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("2 0.5 0.25 0.1 .2\r\n\n 0\t1e-1 0.5 1 1\n")
    labels = read_labels(path, 3)
    assert labels.boxes.dtype == np.float32
    expected = np.array([[0.5, 0.25, 0.1, 0.2, 2], [0.1, 0.5, 1, 1, 0]], np.float32)
    assert np.array_equal(labels.boxes, expected)
    assert labels.impossible == labels.malformed == ()


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
        "0 0.5 half 0.1 0.1",
        "0,0.5,0.5,0.1,0.1",
        "0 nan 0.5 0.1 0.1",
        "0 0.5 0.5 inf 0.1",
        "0 0.5 0.5 0.1 0_1",
        "9999999999 0.5 0.5 0.1 0.1",
    ],
)
def test_lines_that_are_not_boxes(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n\n1 0.5 0.5 0.1 0.1\n")
    labels = read_labels(path, 3)
    assert labels.boxes[:, 4].tolist() == [0, 1]  # the program stops at such a line
    assert labels.impossible == ()
    (problem,) = labels.malformed
    assert str(problem) == f"{path}:2: not a box (expected class x y w h, found {line!r})"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0 0.1", "the box has no size (found 0 x 0.1)"),
        ("0 0.5 0.5 0.1 -0.1", "the box has no size (found 0.1 x -0.1)"),
        (
            "0 320 240 100 50",
            "the box is outside the picture (expected x y w h as shares of the picture, 0 to 1, "
            "found 320 240 100 50)",
        ),
        ("0 -0.2 0.5 0.1 0.1", "the box is outside the picture (expected x y w h as shares"),
        ("0 0 0 0.1 0.1", "the box is at 0 0"),
        ("3 0.5 0.5 0.1 0.1", "there is no class 3 (expected 0 to 2)"),
    ],
)
def test_boxes_that_cannot_be_meant_are_left_out(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{line}\n1 0.99 0.5 0.1 0.1\n")  # the second reaches beyond the edge
    labels = read_labels(path, 3)
    assert labels.boxes[:, 4].tolist() == [1]
    assert labels.malformed == ()
    (problem,) = labels.impossible
    assert str(problem).startswith(f"{path}:1: {message}")
    assert problem.where == dn.Where(file=str(path), line=1)


@pytest.mark.parametrize("place", range(4))
def test_the_largest_coordinates(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.txt"
    for value, fits in (("10000", True), ("10000.01", False), ("1e300", False)):
        words = ["0.5", "0.5", "10000", "10000"]
        words[place] = value
        path.write_text(f"0 {' '.join(words)}\n")
        with np.errstate(all="raise"):
            labels = read_labels(path, 1)
        assert len(labels.boxes) == (fits and place > 1)  # with its centre so far off it is outside
        if not fits:
            (problem,) = labels.impossible
            assert str(problem).startswith(f"{path}:1: the box is far outside the picture (expec")


def test_the_most_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    text = "0 0.5 0.5 0.1 0.1\n" * 10_000 + "\n" + "0 9 9 0.1 0.1\n" * 5_000 + "no box\n" * 5_000
    path.write_text(text)
    labels = read_labels(path, 1)
    assert [len(each) for each in labels] == [10_000, 5_000, 5_000]
    path.write_text(f"{text}0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(dn.DarknetError, match=r"a\.txt:20002: there are too many boxes .* 20000"):
        read_labels(path, 1)


def test_the_only_class(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 0.5 0.5 0.1 0.1\n")
    (problem,) = read_labels(path, 1).impossible
    assert str(problem) == f"{path}:1: there is no class 1 (expected 0, the only one)"


def test_all_lines_of_a_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n9 .5 .5 .1 .1\n0 .5 .5 .1 .1\ntwo\n0 0 0 1 1\n")
    labels = read_labels(path, 3)
    assert len(labels.boxes) == 1
    assert [each.where.line for each in labels.malformed] == [1, 4]
    assert [each.where.line for each in labels.impossible] == [2, 5]


def test_a_class_that_is_somewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 0 0 0 0\n")
    labels = read_labels(path, 3, class_only=True)
    assert labels.boxes.tolist() == [[0, 0, 0, 0, 1]]
    assert labels.impossible == ()
