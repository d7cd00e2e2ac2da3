"""Convolutions and full layers of ncnn that compute in int8.

The input is multiplied by a scale, rounded half away from 0 and held to -127 to 127; so are the
weights beforehand, with a scale for each filter, or for each group where there are groups.  ncnn
adds up the products in int32 and divides the sum by both scales: what comes out is float32 again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.build import ExportGraph
from darknet_bn.graph.graph import Constant, Op, Value
from darknet_bn.transforms.ranges import ActivationRanges, Clip

I8 = npt.NDArray[np.int8]

LARGEST = 127
_SAME = ("Flatten", "Identity", "Reshape")  # whose output has the numbers of the input


@dataclass(frozen=True)
class Int8:
    """How a model is computed in int8.

    Attributes
    ----------
    ranges : ActivationRanges
        Of its layers, on images like those that will come.
    clip : str
        How the range of an input follows from the counts, as `TensorRange.clip` has it.
    keep : collection of int
        Layers that stay float32.
    """

    ranges: ActivationRanges
    clip: Clip
    keep: Collection[int]


@dataclass(frozen=True)
class Quantized:
    """The weights of a layer in int8.

    Attributes
    ----------
    weights : int8 array, shaped like the weights
    scales : float32 array (filters,), or (groups,)
        What the weights were multiplied by.
    input_scale : float
        What the input is multiplied by.
    """

    weights: I8
    scales: F32
    input_scale: np.float32

    def restored(self) -> F32:
        """Return what the weights stand for."""
        rows = self.weights.reshape(len(self.scales), -1).astype(np.float64)
        restored: F32 = (rows / self.scales[:, None]).astype(np.float32)
        return restored.reshape(self.weights.shape)

    def seen(self, x: F32) -> F32:
        """Return what an input becomes, in numbers of before."""
        steps = rounded(x * self.input_scale).astype(np.float32)
        seen: F32 = steps / self.input_scale
        return seen


def rounded(values: npt.NDArray[np.floating]) -> I8:
    """Round half away from 0, and hold to what int8 has on both sides."""
    whole = np.copysign(np.floor(np.abs(values.astype(np.float64)) + 0.5), values)
    held: I8 = np.clip(whole, -LARGEST, LARGEST).astype(np.int8)
    return held


def quantized(weights: Constant, groups: int, input_scale: np.float32) -> Quantized:
    """Return weights (filters, ...) in int8, with a scale for each filter, or each group."""
    count = groups if groups > 1 else len(weights)
    rows = np.asarray(weights, np.float32).reshape(count, -1)
    largest = np.abs(rows).max(axis=1)
    scales = (LARGEST / np.where(largest > 0, largest, LARGEST)).astype(np.float32)
    return Quantized(rounded(rows * scales[:, None]).reshape(weights.shape), scales, input_scale)


def input_scales(made: ExportGraph, int8: Int8) -> dict[Op, np.float32]:
    """Return the operators that compute in int8, with the scale of their input.

    They have weights of their own layer, and read what a layer gives; those whose input is always
    0 stay float32.
    """
    graph = made.graph
    layers = {name: number for number, name in made.layers.items()}
    weights = {value for (_, name, _), value in graph.parameters.items() if name == "weights"}
    found: dict[Op, np.float32] = {}
    for op in graph.ops:
        if op.kind not in ("Conv", "Gemm") or op.inputs[1] not in weights:
            continue
        number = layer_of(op.name)
        source = _source(op.inputs[0])
        if source is graph.images:  # whose values are few, so that counts tell nothing
            largest = int8.ranges.input.threshold("minmax")
        elif graph.name(source) in layers:
            largest = int8.ranges.layers[layers[graph.name(source)]].threshold(int8.clip)
        else:
            continue
        if number is not None and number not in int8.keep and largest > 0:
            found[op] = np.float32(LARGEST / largest)
    return found


def layer_of(name: str) -> int | None:
    """Return the number of the layer that an operator is of, by its name."""
    found = re.match(r"layer_(\d+)", name)
    return None if found is None else int(found[1])


def _source(value: Value | None) -> Value:
    """Return where the numbers of a value come from."""
    source = cast(Value, value)
    while source.op is not None and source.op.kind in _SAME:
        source = cast(Value, source.op.inputs[0])
    return source
