from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.data.truth import (
    BoxTruth,
    ClassTruth,
    Move,
    correct_boxes,
    fill_truth,
    fill_truth_region,
)
from darknet_bn.formats.tree import parse_tree
from darknet_bn.kernels.pictures.resize import letterbox_image
from darknet_bn.layers.shape import Shape
from tests.support.debian import floats, program

from .sets import GRID, YOLO, classifier, detector, edges

F32 = npt.NDArray[np.float32]

MOVES = [
    Move(),
    Move((0.5, 0.8), (-0.3, -0.1)),
    Move((1.6, 1.3), (0.4, 0.1)),
    Move((1.6, 1.3), (0.4, 0.1), flip=True),
    Move((0.7, 0.6), (0.2, 0.3), flip=True),
]


def random_boxes(count: int = 20, classes: int = 3) -> F32:
    rng = np.random.default_rng(count)
    boxes = rng.uniform(0, 1, (count, 5)).astype(np.float32)
    boxes[:, 2:4] *= 0.4
    boxes[:, 4] = rng.integers(classes, size=count)
    return boxes


def label_file(folder: Path, boxes: F32) -> bytes:
    """Write labels where pjreddie's program looks for a picture's; return their path."""
    lines = [f"{kind:.0f} {x:.9g} {y:.9g} {w:.9g} {h:.9g}\n" for x, y, w, h, kind in boxes]
    (folder / "a.txt").write_text("".join(lines))
    return str(folder / "a.jpg").encode()


def in_order(rows: F32) -> F32:
    """The program shuffles boxes."""
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("move", MOVES)
def test_boxes_are_those_of_the_program(move: Move, tmp_path: Path) -> None:
    kinds = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    fill = program("fill_truth_detection", *kinds, *[ctypes.c_float] * 4)
    boxes = random_boxes()
    boxes[3, :2] = 0  # somewhere
    expected = np.zeros((30, 5), np.float32)
    path = label_file(tmp_path, boxes)
    fill(path, 30, floats(expected), 3, move.flip, *move.shift, *move.scale)
    model = detector("pjreddie", head=YOLO.replace("max=4", "max=30"))
    truth = BoxTruth(model.network.nodes[-1].layer, model.dialect)
    found = truth(correct_boxes(boxes, move), model.network.input)
    # float32 in C, float64 here: a few units in the last place of shares near 1
    np.testing.assert_allclose(in_order(found), in_order(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("move", MOVES)
def test_the_grid_is_that_of_the_program(move: Move, tmp_path: Path) -> None:
    kinds = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    fill = program("fill_truth_region", *kinds, *[ctypes.c_float] * 4)
    # Boxes of which no two are in one cell, as the program shuffles them.
    boxes = random_boxes(60)
    cells = (correct_boxes(boxes, move)[:, :2] * 7).astype(int) @ (1, 7)
    boxes = boxes[np.unique(cells, return_index=True)[1]]
    expected = np.zeros(7 * 7 * 8, np.float32)
    fill(label_file(tmp_path, boxes), floats(expected), 3, 7, move.flip, *move.shift, *move.scale)
    moved = correct_boxes(boxes, move)
    moved = moved[(moved[:, 2:4] >= 0.005).all(axis=1)]
    found = fill_truth_region(moved, 7, 3)
    # 7 times the error of a share, which is what is left of x in its cell
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_centre_at_the_edge_is_in_the_last_cell() -> None:
    truth = fill_truth_region(np.array([[1, 1, 0.1, 0.2, 2]], np.float32), 2, 3).reshape(2, 2, 8)
    assert truth[1, 1].tolist() == pytest.approx([1, 0, 0, 1, 1, 1, 0.1, 0.2])
    assert np.count_nonzero(truth[..., 0]) == 1


def test_the_first_box_has_its_cell() -> None:
    boxes = np.array([[0.1, 0.1, 0.1, 0.2, 2], [0.2, 0.1, 0.3, 0.3, 0]], np.float32)
    truth = fill_truth_region(boxes, 2, 3).reshape(2, 2, 8)
    assert truth[0, 0].tolist() == pytest.approx([1, 0, 0, 1, 0.2, 0.2, 0.1, 0.2])


@pytest.mark.parametrize(
    ("dialect", "widths"),
    [("pjreddie", [0.0011, 0.02, 0.5]), ("alexeyab", [0.026, 0.5]), ("hank-ai", [0.026, 0.5])],
)
def test_small_boxes_are_left_out(dialect: str, widths: list[float]) -> None:
    # A pixel of the input is 0.025 wide, and 0.03125 high.
    boxes = np.array([[0.5, 0.5, w, 0.1, 0] for w in (0, 9e-4, 1.1e-3, 0.02, 0.026, 0.5)])
    model = detector(dialect, head=YOLO.replace("max=4", "max=9"))
    truth = BoxTruth(model.network.nodes[-1].layer, model.dialect)
    found = truth(boxes.astype(np.float32), model.network.input)
    assert found.shape == (9, 5)
    kept = found[found[:, 0] != 0, 2].tolist()
    assert kept == pytest.approx([*widths[:-1], 0.026, 0.5] if dialect == "pjreddie" else widths)


@pytest.mark.parametrize(("dialect", "smallest"), [("pjreddie", 0.005), ("alexeyab", 0.001)])
def test_small_boxes_of_a_grid_are_left_out(dialect: str, smallest: float) -> None:
    model = detector(dialect, head=GRID)
    truth = BoxTruth(model.network.nodes[-1].layer, model.dialect)
    for width, count in ((smallest * 0.99, 0), (smallest * 1.01, 1)):
        box = np.array([[0.5, 0.5, width, 0.1, 0]], np.float32)
        found = truth(box, model.network.input).reshape(2, 2, 8)
        assert np.count_nonzero(found[..., 0]) == count


def test_there_is_room_for_so_many() -> None:
    model = detector()
    truth = BoxTruth(model.network.nodes[-1].layer, model.dialect)
    boxes = np.full((9, 5), 0.5, np.float32)
    assert truth(boxes, model.network.input).tolist() == [[0.5] * 5] * 4
    assert truth(boxes[:1], model.network.input)[1:].tolist() == [[0] * 5] * 3


@pytest.mark.parametrize("size", [(30, 50), (50, 30), (32, 40), (7, 90)])
def test_a_letterbox_moves_boxes_as_the_picture(size: tuple[int, int]) -> None:
    h, w = size
    boxes = np.array([[0.5, 0.5, 1, 1, 0]], np.float32)
    moved = correct_boxes(boxes, Move.letterbox(w, h, Shape(3, 32, 40)))
    _, rows, columns = np.nonzero(letterbox_image(np.ones((3, h, w), np.float32), 40, 32) != 0.5)
    expected = columns.min() / 40, rows.min() / 32, columns.max() / 40, rows.max() / 32
    seen = edges(moved[0]) - np.array((0, 0, 1 / 40, 1 / 32))  # to the last pixel
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-6)  # float32


# -- classes -------------------------------------------------------------------------------------


def test_smoothing() -> None:
    assert fill_truth(1, 5, 0.2).tolist() == pytest.approx([0.05, 0.8, 0.05, 0.05, 0.05])
    model = classifier(net="label_smooth_eps=0.2", classes=5)
    assert ClassTruth.of(model.network, train=True)(1)[1] == pytest.approx(0.8)
    assert ClassTruth.of(model.network, train=False)(1).tolist() == [0, 1, 0, 0, 0]


TREE = b"animal -1\nthing -1\ndog 0\ncat 0\ncar 1\ncup 1\npug 2\nlab 2\n"


def test_a_tree() -> None:
    tree, unknown = parse_tree(TREE), -1234
    assert fill_truth(7, 8, 0, tree).tolist() == [1, 0, 1, 0, unknown, unknown, 0, 1]
    assert fill_truth(3, 8, 0, tree).tolist() == [1, 0, 0, 1, *[unknown] * 4]
    assert fill_truth(1, 8, 0, tree).tolist() == [0, 1, *[unknown] * 6]


@pytest.mark.parametrize("number", range(8))
def test_a_tree_of_the_program(number: int, tmp_path: Path) -> None:
    read = program("read_tree", ctypes.c_char_p, returns=ctypes.c_void_p)
    fill = program("fill_hierarchy", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    path = tmp_path / "x.tree"
    path.write_bytes(TREE)
    expected = np.zeros(8, np.float32)
    expected[number] = 1
    fill(floats(expected), 8, read(str(path).encode()))
    assert np.array_equal(fill_truth(number, 8, 0, parse_tree(TREE)), expected)
