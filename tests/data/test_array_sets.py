from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data import ArrayDataset, array_dataset, load_dataset
from darknet_bn.data.array_sets import load_array_inputs
from darknet_bn.layers.shape import Shape
from darknet_bn.model.network import Network

from .sets import GRID, H, W, classifier, detector

RNG = np.random.default_rng(0)
X = np.random.default_rng(1).random((6, 3, H, W), np.float32)
BYTES = np.random.default_rng(2).integers(0, 256, (6, 3, H, W), dtype=np.uint8)
Y = np.array([0, 1, 1, 0, 1, 0])
BOXES = np.zeros((6, 2, 5))
BOXES[:, 0] = [0.5, 0.25, 0.2, 0.3, 2]
BOXES[:, 1] = [0, 0.25, 0.2, 0.3, 9]  # none: its x is 0


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_classes(tmp_path: Path) -> None:
    model = classifier()
    data = load_dataset(saved(tmp_path, x=X, y=Y, other=Y), model, train=True)
    assert isinstance(data, ArrayDataset)
    assert len(data) == 6
    assert data.describe() == "set.npz: 6 examples of 3 x 32 x 40"
    assert list(data.pictures) == []
    x, truth = data.batch([4, 0, 4], RNG, shape=model.network.input)
    assert x.dtype == truth.dtype == np.float32
    assert np.array_equal(x, X[[4, 0, 4]])
    assert truth.tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    "y", [Y[:, None], Y.astype(np.uint8), Y == 1], ids=["a column", "bytes", "bools"]
)
def test_classes_in_other_types(y: Any) -> None:
    if y.dtype == bool:
        with pytest.raises(dn.DarknetError, match="does not fit the network's output"):
            array_dataset(X, y, classifier())
        return
    data = array_dataset(X, y, classifier())
    assert data.batch([1], RNG, shape=Shape(3, H, W))[1].tolist() == [[0, 1]]


def test_bytes_are_parts_of_255() -> None:
    x, _ = array_dataset(BYTES, Y, classifier()).batch([2, 3], RNG, shape=Shape(3, H, W))
    assert x.dtype == np.float32
    assert np.array_equal(x, BYTES[2:4].astype(np.float32) / np.float32(255))


def test_rows_are_put_into_the_shape_of_the_input() -> None:
    flat = X.reshape(6, -1).astype(np.float64)
    x, _ = array_dataset(flat, Y, classifier()).batch([5], RNG, shape=Shape(3, H, W))
    assert x.dtype == np.float32
    assert np.array_equal(x, X[5:])


@pytest.mark.parametrize("shape", [(6, 2), (6, 1, 2), (6, 2, 1, 1)])
def test_values(shape: tuple[int, ...]) -> None:
    y = np.arange(12.0).reshape(shape)
    _, truth = array_dataset(X, y, classifier()).batch([1, 5], RNG, shape=Shape(3, H, W))
    assert truth.dtype == np.float32
    assert truth.tolist() == [[2, 3], [10, 11]]


def test_one_value_each() -> None:
    model = classifier(classes=1)
    data = array_dataset(X, np.arange(6), model)
    assert data.batch([1, 5], RNG, shape=Shape(3, H, W))[1].tolist() == [[1], [5]]


def test_boxes(tmp_path: Path) -> None:
    model = detector()
    data = load_dataset(saved(tmp_path, x=X, y=BOXES), model, train=True)
    _, truth = data.batch([1, 2], RNG, shape=model.network.input)
    assert truth.shape == (2, 4, 5)
    assert np.array_equal(truth[:, 0], BOXES[:2, 0].astype(np.float32))
    assert not truth[:, 1:].any()


def test_boxes_of_a_grid() -> None:
    data = array_dataset(X, BOXES, detector(head=GRID))
    truth = data.batch([1], RNG, shape=Shape(3, H, W))[1].reshape(2, 2, 8)
    assert truth[0, 1].tolist() == pytest.approx([1, 0, 0, 1, 0, 0.5, 0.2, 0.3])


def test_smoothing_is_for_training_alone() -> None:
    model = classifier(net="label_smooth_eps=0.1")
    for train, values in ((True, [0.9, 0.1]), (False, [1, 0])):
        data = array_dataset(X, Y, model, train=train)
        truth = data.batch([0], RNG, shape=Shape(3, H, W))[1]
        assert truth[0].tolist() == pytest.approx(values)


def test_pictures_are_stretched_for_an_input_of_another_size() -> None:
    data = array_dataset(X, BOXES, detector())
    x, truth = data.batch([0], RNG, shape=Shape(3, 64, 96))
    assert x.shape == (1, 3, 64, 96)
    assert np.array_equal(x[0], dn.resize_image(X[0], 96, 64))
    assert np.array_equal(truth[0, 0], BOXES[0, 0].astype(np.float32))
    flat = array_dataset(X.reshape(6, -1), BOXES, detector())
    with pytest.raises(dn.ShapeError, match="do not fit the network's input"):
        flat.batch([0], RNG, shape=Shape(3, 64, 96))


@pytest.mark.parametrize("truth", [{}, {"y": np.array([99])}])
def test_inputs_need_no_truth(tmp_path: Path, truth: dict[str, Any]) -> None:
    model = classifier()
    data = load_array_inputs(saved(tmp_path, x=X, **truth), model)
    x, _ = data.batch([4, 0], RNG, shape=model.network.input)
    assert np.array_equal(x, X[[4, 0]])
    with pytest.raises(dn.DarknetError, match=r"'x' is missing \(expected x, found others\)"):
        load_array_inputs(saved(tmp_path, y=Y), model)
    with pytest.raises(dn.DarknetError, match="does not fit the network's input"):
        load_array_inputs(saved(tmp_path, x=X[:, :2]), model)


def test_inputs_without_image_shape() -> None:
    cfg = b"[net]\ninputs=5\n[connected]\noutput=2\nactivation=linear\n[softmax]\n"
    model = dn.load(cfg, None)
    assert isinstance(model.network, Network)
    data = array_dataset(np.ones((6, 5), np.float32), Y, model)
    assert data.batch([0, 1], RNG, shape=model.network.input)[0].shape == (2, 5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"set\.npz: the array 'y' is missing \(expected x and y, found x\)"),
        ({"a": X}, r"set\.npz: the array 'x' is missing \(expected x and y, found neither\)"),
        ({"x": X.astype(object), "y": Y}, r"set\.npz: x: "),
        ({"x": X.astype(int), "y": Y}, r"set\.npz: x: the array has the wrong type"),
        ({"x": X.astype(complex), "y": Y}, r"set\.npz: x: the array has the wrong type"),
        ({"x": X, "y": Y.astype(str)}, r"set\.npz: y: the array has the wrong type"),
        ({"x": X[:, :2], "y": Y}, r"set\.npz: x: .*input \(expected .* \(n, 3, 32, 40\)"),
        ({"x": X[:0], "y": Y[:0]}, r"set\.npz: x: the array does not fit the network's input"),
        (
            {"x": X * np.inf, "y": Y},
            r"set\.npz: x: the array has values that are not finite numbers",
        ),
        (
            {"x": X.astype(float) * 1e300, "y": Y},
            r"set\.npz: x: the array has values that are not finite numbers",
        ),
        ({"x": X, "y": np.full((6, 2), -1e39)}, r"set\.npz: y: the array has values that are no"),
        (
            {"x": X, "y": Y[:5]},
            r"set\.npz: y: the array does not have as many rows as x \(expected 6",
        ),
        ({"x": X, "y": np.array(1)}, r"set\.npz: y: the array does not have as many rows as x"),
        ({"x": X, "y": Y * 2}, r"set\.npz: y: there is no such class \(expected 0 to 1, found 0 t"),
        ({"x": X, "y": Y - 1}, r"set\.npz: y: there is no such class"),
        ({"x": X, "y": Y * 1.0}, r"set\.npz: y: the array does not fit the network's output"),
        (
            {"x": X, "y": np.ones((6, 3))},
            r"set\.npz: y: the array does not fit the network's outp",
        ),
        ({"x": X, "y": np.full((6, 2), np.nan)}, r"set\.npz: y: the array has values that are no"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with np.errstate(invalid="ignore"):
        path = saved(tmp_path, **arrays)
    with pytest.raises(dn.DarknetError, match=message) as caught:
        load_dataset(path, classifier(), train=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y, r"y: the array has no boxes \(expected \(6, boxes, 5\)"),
        (
            BOXES + np.array([0, 0, 0, 0, 1]),
            r"y: there is no such class \(expected 0 to 2, found 3 to 3",
        ),
        (BOXES * [1, 1, 1e5, 1, 1], r"y: a box is far outside its picture \(expected at most 1"),
        (np.zeros((6, 20_001, 5)), r"y: there are too many boxes \(expected at most 20000, found"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(y: Any, message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message):
        array_dataset(X, y, detector())


def test_what_just_fits_is_taken() -> None:
    largest = float(np.finfo(np.float32).max)
    model = classifier()
    assert len(array_dataset(np.full(X.shape, largest), Y, model)) == 6
    assert len(array_dataset(X, np.full((6, 2), -largest), model)) == 6
    boxes = np.zeros((6, 20_000, 5))
    boxes[:, 0] = (0.5, 0.5, 10_000, 10_000, 1)
    assert len(array_dataset(X, boxes, detector())) == 6


def test_sizes_are_known_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    head = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
    with zipfile.ZipFile(path, "w") as archive:
        text = (head % b"1 << 60, 2").ljust(127) + b"\n"
        archive.writestr("x.npy", text)
    with pytest.raises(dn.DarknetError):
        load_dataset(path, classifier(), train=True)
    with zipfile.ZipFile(path, "w") as archive:
        text = (head % b"1000000000000, 3840").ljust(127) + b"\n"
        archive.writestr("x.npy", text)
    with pytest.raises(dn.DarknetError, match="the size of the array does not match its shape"):
        load_dataset(path, classifier(), train=True)


def test_a_name_must_say_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match=r"set\.zip: unsupported data set type \.zip \("):
        load_dataset(tmp_path / "set.zip", classifier(), train=True)
    with pytest.raises(dn.DarknetError, match=r"set\.npz: cannot be read as \.npz: No such file"):
        load_dataset(tmp_path / "set.npz", classifier(), train=True)
    (tmp_path / "set.npz").write_text("x")
    with pytest.raises(dn.DarknetError, match=r"set\.npz: cannot be read as \.npz"):
        load_dataset(tmp_path / "set.npz", classifier(), train=True)
