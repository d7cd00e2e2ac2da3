"""Windows over pixels in TFLite's operators: convolution and pooling, with channels last.

TFLite pads by itself only as its ``SAME`` does: as many windows as strides, what is missing half
before and half after, the larger half after.  Any other padding is an operator of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.convert.tflite.flat_model import Option, Tensor
from darknet_bn.convert.tflite.lowering import Lowering, whole, wholes
from darknet_bn.errors import ExportError
from darknet_bn.graph.graph import Op
from darknet_bn.kernels.pooling.windows import LOWEST

_DILATED = 2  # the version of a depthwise convolution that dilates
_GROUPED = 6  # of a convolution of groups
_BIASED = 3  # of a transposed convolution that adds biases


@dataclass(frozen=True)
class Windows:
    """Windows that move over rows and columns; each entry is for these two.

    Attributes
    ----------
    size, strides, dilations : tuples of int
    pads : pair of (before, after)
        What is outside of the image and belongs to a window; negative after the last window.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, low: Lowering, op: Op) -> Windows:
        """Read the windows of an op."""
        size, strides, dilations = (
            (pair[0], pair[1])
            for pair in (
                wholes(op, key, (1, 1)) for key in ("kernel_shape", "strides", "dilations")
            )
        )
        given = wholes(op, "pads", (0, 0, 0, 0))
        x, y = low.dims(op.inputs[0])[2:], low.dims(op.outputs[0])[2:]
        pads = []
        for axis in (0, 1):
            reach = (size[axis] - 1) * dilations[axis] + 1
            after = (y[axis] - 1) * strides[axis] + reach - x[axis] - given[axis]
            pads.append((given[axis], after))
        return cls(size, strides, dilations, (pads[0], pads[1]))

    def padding(self, x: Tensor) -> str | None:
        """Return the name of TFLite's padding that is this one; None if neither is."""
        if all(before == 0 and after <= 0 for before, after in self.pads):
            return "VALID"
        for axis, (before, after) in enumerate(self.pads):
            size, stride = x.shape[1 + axis], self.strides[axis]
            reach = (self.size[axis] - 1) * self.dilations[axis] + 1
            missing = max(0, (-(-size // stride) - 1) * stride + reach - size)
            if (before, max(0, after)) != (missing // 2, missing - missing // 2):
                return None
        return "SAME"

    @property
    def around(self) -> list[tuple[int, int]]:
        """What to pad, for images with channels last."""
        rows, columns = ((before, max(0, after)) for before, after in self.pads)
        return [(0, 0), rows, columns, (0, 0)]

    def options(self, padding: str) -> dict[str, Option]:
        """Return what all windows of TFLite are told."""
        return {"padding": padding, "strideH": self.strides[0], "strideW": self.strides[1]}

    def dilated(self) -> dict[str, Option]:
        """Return what convolutions are told too."""
        return {"dilationHFactor": self.dilations[0], "dilationWFactor": self.dilations[1]}


def _weights(low: Lowering, op: Op) -> tuple[npt.NDArray[np.float32], str]:
    value = op.inputs[1]
    array = low.known(value)
    if array is None or value is None:
        raise ExportError("a convolution with computed weights cannot be exported to TFLite")
    return array, value.name


def _biases(low: Lowering, op: Op, count: int) -> Tensor:
    if len(op.inputs) > 2:
        return low.tensor(op.inputs[2])
    return low.constant(np.zeros(count, np.float32), "zeros")


def convolution(low: Lowering, op: Op) -> None:
    """``CONV_2D``, or ``DEPTHWISE_CONV_2D`` if each group is one channel."""
    weights, name = _weights(low, op)
    count, depth, kh, kw = weights.shape
    groups = whole(op, "group", 1)
    x, windows = low.tensor(op.inputs[0], "last"), Windows.of(low, op)
    padding = windows.padding(x)
    if padding is None:
        x, padding = low.padded(x, windows.around), "VALID"
    n, _, h, w = low.dims(op.outputs[0])
    options = {**windows.options(padding), **windows.dilated()}
    biases = _biases(low, op, count)
    if depth == 1 and groups > 1:
        flat = weights.reshape(1, count, kh, kw).transpose(0, 2, 3, 1)
        inputs = [x, low.constant(flat, name), biases]
        version = _DILATED if windows.dilations != (1, 1) else 1
        options["depthMultiplier"] = count // groups
        kind = "DEPTHWISE_CONV_2D"
    else:
        inputs = [x, low.constant(weights.transpose(0, 2, 3, 1), name), biases]
        version = _GROUPED if groups > 1 else 1
        kind = "CONV_2D"
    low.settle(op, low.add(kind, inputs, (n, h, w, count), options, version=version), "last")


def transposed_convolution(low: Lowering, op: Op) -> None:
    """``TRANSPOSE_CONV`` of the whole, and a slice of it."""
    weights, name = _weights(low, op)
    depth, count, kh, kw = weights.shape
    groups = whole(op, "group", 1)
    x = low.tensor(op.inputs[0], "last")
    strides, before = wholes(op, "strides", (1, 1)), wholes(op, "pads", (0, 0, 0, 0))
    n, channels, h, w = low.dims(op.outputs[0])
    if groups > 1:  # written out, with zeros where groups see nothing of each other
        written_out = np.zeros((depth, channels, kh, kw), np.float32)
        inside = depth // groups
        for group in range(groups):
            rows = slice(group * inside, (group + 1) * inside)
            written_out[rows, group * count : (group + 1) * count] = weights[rows]
        weights = written_out
    rows_out = (x.shape[1] - 1) * strides[0] + kh
    columns_out = (x.shape[2] - 1) * strides[1] + kw
    shape = (n, rows_out, columns_out, channels)
    made = low.add(
        "TRANSPOSE_CONV",
        [
            low.constant(np.array(shape), "shape"),
            low.constant(weights.transpose(1, 2, 3, 0), name),
            x,
            _biases(low, op, channels),
        ],
        shape,
        {"padding": "VALID", "strideH": strides[0], "strideW": strides[1]},
        version=_BIASED,
    )
    rows_kept = slice(before[0], before[0] + h)
    columns_kept = slice(before[1], before[1] + w)
    made = low.sliced(made, [slice(None), rows_kept, columns_kept, slice(None)])
    low.settle(op, made, "last")


def _pooled(low: Lowering, op: Op, kind: str, x: Tensor, windows: Windows, padding: str) -> Tensor:
    n, c, h, w = low.dims(op.outputs[0])
    options = windows.options(padding)
    sizes: dict[str, Option] = {
        "filterHeight": windows.size[0],
        "filterWidth": windows.size[1],
    }
    return low.add(kind, [x], (n, h, w, c), {**options, **sizes})


def largest(low: Lowering, op: Op) -> None:
    """``MAX_POOL_2D``; what is outside of the image is the lowest number, or mirrored."""
    x, windows = low.tensor(op.inputs[0], "last"), Windows.of(low, op)
    padding = windows.padding(x)
    if padding is None:
        x, padding = _surrounded(low, x, windows), "VALID"
    low.settle(op, _pooled(low, op, "MAX_POOL_2D", x, windows, padding), "last")


def _surrounded(low: Lowering, x: Tensor, windows: Windows) -> Tensor:
    """Pad so that no maximum changes.

    Where a window reaches no further out than in, a mirror shows it what it sees anyway, which no
    number that stands for a range has to be made for.
    """
    around, sizes = windows.around, (0, *windows.size, 0)
    inside = zip(around, sizes, x.shape, strict=True)
    if all(2 * max(pad) <= size and max(pad) <= side for pad, size, side in inside):
        shape = [size + sum(pad) for size, pad in zip(x.shape, around, strict=True)]
        pads = low.constant(np.array(around), "pads")
        return low.add("MIRROR_PAD", [x, pads], shape, {"mode": "SYMMETRIC"})
    return low.padded(x, around, float(LOWEST))


def average(low: Lowering, op: Op) -> None:
    """``AVERAGE_POOL_2D``; padded with zeros, times what the shares of the image are."""
    x, windows = low.tensor(op.inputs[0], "last"), Windows.of(low, op)
    padding = windows.padding(x)
    if padding is not None:
        low.settle(op, _pooled(low, op, "AVERAGE_POOL_2D", x, windows, padding), "last")
        return
    shares = 1.0 / _shares(windows, x)
    x = low.padded(x, windows.around)
    made = _pooled(low, op, "AVERAGE_POOL_2D", x, windows, "VALID")
    low.settle(op, low.binary("MUL", made, low.constant(shares, "shares")), "last")


def _shares(windows: Windows, x: Tensor) -> npt.NDArray[np.float64]:
    """Return what part of each window lies in the image, (1, h, w, 1)."""
    parts = []
    for axis, (before, after) in enumerate(windows.pads):
        size, stride, side = windows.size[axis], windows.strides[axis], x.shape[1 + axis]
        starts = np.arange(-before, side + after - size + 1, stride)
        inside = np.minimum(starts + size, side) - np.maximum(starts, 0)
        parts.append(inside / size)
    return np.outer(*parts)[None, :, :, None]


def nearest(low: Lowering, op: Op) -> None:
    """``RESIZE_NEAREST_NEIGHBOR``."""
    x = low.tensor(op.inputs[0], "last")
    n, c, h, w = low.dims(op.outputs[0])
    size = low.constant(np.array([h, w]), "size")
    low.settle(op, low.add("RESIZE_NEAREST_NEIGHBOR", [x, size], (n, h, w, c)), "last")


WINDOWS: dict[str, Callable[[Lowering, Op], None]] = {
    "AveragePool": average,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MaxPool": largest,
    "Resize": nearest,
}
"""What is made of each kind of op that has windows."""
