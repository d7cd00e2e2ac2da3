"""Data sets of arrays: an ``.npz`` with ``x`` and ``y``.

====== =========================== ===============================================================
member type                        meaning
====== =========================== ===============================================================
x      floats (n, c, h, w) or      the inputs of a network, as they are; or bytes, which are
       (n, inputs); or uint8       divided by 255
y      whole numbers (n,)          the class of each input
y      numbers (n, outputs)        the target outputs, in any shape with that many values
y      numbers (n, boxes, 5)       for a detector: x, y, w, h and class of each box, relative to
                                   the picture; zeros after the last
====== =========================== ===============================================================

Other members are ignored.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.data.base import Dataset, many
from darknet_bn.data.labels import LARGEST, MOST_BOXES
from darknet_bn.data.truth import BoxTruth, ClassTruth
from darknet_bn.errors import DarknetError, ShapeError, Where
from darknet_bn.formats.npz import ArrayHeader, read_npz
from darknet_bn.kernels.pictures.resize import resize_image
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.values import brief
from darknet_bn.work.memory import require_memory


@dataclass(frozen=True, eq=False)
class ArrayDataset(Dataset):
    """Arrays in memory.  Nothing about them is random: they are not augmented.

    Attributes
    ----------
    x, y : arrays
        The arrays, as described in the module.
    truth : BoxTruth, ClassTruth or None
        What turns ``y`` into the truth; None if ``y`` is the truth itself.
    name : str
        Where the arrays come from.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    truth: BoxTruth | ClassTruth | None = None
    name: str = "arrays"

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, self.describe())

    def __len__(self) -> int:
        """Return how many examples there are."""
        return len(self.x)

    def batch(
        self, indices: Sequence[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return some examples.

        Pictures are stretched if the net's input changes its size.
        """
        rows = np.asarray(indices, np.intp)
        x = self.x[rows].astype(np.float32)
        if self.x.dtype == np.uint8:
            x /= np.float32(255)
        y = self.y[rows]
        if isinstance(self.truth, BoxTruth):
            truth = np.stack([self.truth(_boxes(each), shape) for each in y])
        elif self.truth is not None:
            truth = np.stack([self.truth(int(number)) for number in y])
        else:
            truth = y.reshape(len(y), -1).astype(np.float32)
        return _shaped(x, shape), truth

    @property
    def boxes(self) -> Sequence[F32]:
        """The boxes of each example; none if the truth is not boxes."""
        return [_boxes(each) for each in self.y] if isinstance(self.truth, BoxTruth) else []

    def describe(self) -> str:
        """Return a line about the data set."""
        dims = " x ".join(map(str, self.x.shape[1:]))
        return f"{Path(self.name).name}: {many(len(self), 'example')} of {dims}"


def load_array_set(path: str | os.PathLike[str], model: Model, *, train: bool) -> ArrayDataset:
    """Read a data set of arrays for a model.

    Parameters
    ----------
    path : path
        An ``.npz``; nothing in it is unpickled, and sizes are checked before memory is allocated.
    model : Model
    train : bool
        Whether the model is to be trained: ``label_smooth_eps`` counts then.

    Raises
    ------
    DarknetError
        The file cannot be read or lacks an array, or the arrays do not fit the network or each
        other.
    """
    arrays = _arrays(path, ("x", "y"))
    return array_dataset(arrays["x"], arrays["y"], model, train=train, name=os.fspath(path))


def load_array_inputs(path: str | os.PathLike[str], model: Model) -> ArrayDataset:
    """Read the inputs of a data set of arrays; its truth is neither needed nor read.

    Parameters
    ----------
    path : path
        An ``.npz``, read as by `load_array_set`.
    model : Model

    Raises
    ------
    DarknetError
        The file cannot be read or lacks ``x``, or it does not fit the network.
    """
    name, x = os.fspath(path), _arrays(path, ("x",))["x"]
    _check_x(x, model.network.input, Where(file=name, key="x"))
    return ArrayDataset(x, np.zeros(len(x), np.float32), None, name)


def _arrays(
    path: str | os.PathLike[str], members: tuple[str, ...]
) -> Mapping[str, npt.NDArray[Any]]:
    """Return these members of a file, all of them."""
    name = os.fspath(path)

    def wants(member: str, head: ArrayHeader) -> bool:
        if member not in members:
            return False
        if head.dtype.kind not in "biuf" or (member == "x" and head.dtype.kind in "bi"):
            raise DarknetError(
                "the array has the wrong type",
                where=Where(file=name, key=member),
                expected="float32 or uint8" if member == "x" else "numbers",
                found=f"{head.dtype}",
            )
        require_memory(head.size, f"the array {member}")
        return True

    arrays = read_npz(path, wants)
    for member in members:
        if member not in arrays:
            raise DarknetError(
                f"the array '{member}' is missing",
                where=Where(file=name),
                expected=" and ".join(members),
                found=", ".join(arrays) or ("neither" if len(members) > 1 else "others"),
            )
    return arrays


def array_dataset(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    model: Model,
    *,
    train: bool = True,
    name: str = "arrays",
) -> ArrayDataset:
    """Make a data set for a model from arrays.

    Parameters
    ----------
    x, y : arrays
        The arrays, as described in the module.
    model : Model
    train : bool
        As in `load_array_set`.
    name : str
        The name to use in messages.

    Raises
    ------
    DarknetError
        The arrays do not fit the network or each other.
    """
    _check_x(x, model.network.input, Where(file=name, key="x"))
    where = Where(file=name, key="y")
    if y.ndim == 0 or len(y) != len(x):
        raise DarknetError(
            "the array does not have as many rows as x",
            where=where,
            expected=f"{len(x)}",
            found=f"{y.shape}",
        )
    if not _fits_float32(y):
        raise DarknetError("the array has values that are not finite numbers", where=where)
    head = model.network.last_head
    if head is not None:
        _check_boxes(y, head.classes, where)
        return ArrayDataset(x, y, BoxTruth(head, model.dialect), name)
    truth = ClassTruth.of(model.network, train=train)
    values = math.prod(y.shape[1:])
    if values == truth.classes:
        return ArrayDataset(x, y, None, name)
    if values != 1 or y.dtype.kind not in "iu":
        raise DarknetError(
            "the array does not fit the network's output",
            where=where,
            expected=f"classes as whole numbers ({len(x)},), or values ({len(x)}, {truth.classes})",
            found=f"{y.dtype} {y.shape}",
        )
    _check_classes(y, truth.classes, where)
    return ArrayDataset(x, y.reshape(-1), truth, name)


def _check_x(x: npt.NDArray[Any], shape: Shape, where: Where) -> None:
    known = x.dtype.kind == "f" or x.dtype == np.uint8
    fits = x.ndim > 1 and x.shape[1:] in (shape.dims, (shape.size,))
    if not (known and fits and len(x)):
        raise DarknetError(
            "the array does not fit the network's input",
            where=where,
            expected=f"float32 or uint8 (n, {', '.join(map(str, shape.dims))})",
            found=f"{x.dtype} {x.shape}",
        )
    if not _fits_float32(x):
        raise DarknetError("the array has values that are not finite numbers", where=where)


def _fits_float32(array: npt.NDArray[Any]) -> bool:
    """Return whether all values are finite in float32, without copying them."""
    largest = np.finfo(np.float32).max
    return bool(array.min(initial=0) >= -largest and array.max(initial=0) <= largest)


def _check_boxes(y: npt.NDArray[Any], classes: int, where: Where) -> None:
    if y.ndim != 3 or y.shape[2] != 5:
        raise DarknetError(
            "the array has no boxes",
            where=where,
            expected=f"({len(y)}, boxes, 5): x, y, w, h and class of each",
            found=f"{y.shape}",
        )
    if y.shape[1] > MOST_BOXES:
        raise DarknetError(
            "there are too many boxes",
            where=where,
            expected=f"at most {MOST_BOXES}",
            found=f"{y.shape[1]}",
        )
    if y.size and np.abs(y[..., :4]).max() > LARGEST:
        raise DarknetError(
            "a box is far outside its picture", where=where, expected=f"at most {LARGEST:g}"
        )
    _check_classes(y[..., 4][y[..., 0] != 0], classes, where)


def _check_classes(numbers: npt.NDArray[Any], classes: int, where: Where) -> None:
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < classes):
        raise DarknetError(
            "there is no such class",
            where=where,
            expected=f"0 to {classes - 1}",
            found=f"{numbers.min():g} to {numbers.max():g}",
        )


def _boxes(rows: npt.NDArray[Any]) -> F32:
    """Return the rows (boxes, 5) before the first whose x is 0."""
    ends = np.flatnonzero(rows[:, 0] == 0)
    return rows[: ends[0] if len(ends) else len(rows)].astype(np.float32)


def _shaped(x: F32, shape: Shape) -> F32:
    """Return inputs in this shape: the same values, or pictures of another size."""
    if x[0].size == shape.size:
        return x.reshape(len(x), *shape.dims)
    if x.ndim != 4 or shape.flat or x.shape[1] != shape.c:
        raise ShapeError(
            "the examples do not fit the network's input",
            expected=f"{shape}",
            found=f"{x.shape[1:]}",
        )
    return np.stack([resize_image(each, shape.w, shape.h) for each in x])
