"""From a graph of ONNX's operators to the layers of ncnn: what all operators have in common.

What ncnn has no axis for, the batch, falls away.  A blob may have another shape than the value it
holds, of as many numbers in the same order: so what only reshapes is no layer, and whoever needs a
shape asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from darknet_bn.convert.ncnn.int8 import Quantized, quantized
from darknet_bn.convert.ncnn.net import NcnnLayer, Option, Weights
from darknet_bn.convert.ncnn.shapes import MOST_AXES, blob_shape, shape_options
from darknet_bn.errors import ExportError
from darknet_bn.graph.dims import Size, Sizes
from darknet_bn.graph.graph import Constant, Graph, Op, Value, count_uses


@dataclass(frozen=True)
class Blob:
    """What a layer of ncnn makes.

    Attributes
    ----------
    name : str
    shape : tuple of int
        The outermost axis first, as numpy has it.
    """

    name: str
    shape: Size


class Lowering:
    """The layers of a net that is being made.

    Parameters
    ----------
    graph : Graph
    sizes : Sizes
        Of its values, for one image.
    half : bool
        Whether weights are stored as float16.
    scales : mapping from Op to float32
        Of their inputs, for those that compute in int8.

    Attributes
    ----------
    layers : list of NcnnLayer
        Each may read a blob that others read too.
    places : dict from Value to Blob
        Where each value is.
    done : set of Op
        What went into a layer with an operator in front.
    quantized : dict from Op to Quantized
        The weights of those that compute in int8.
    """

    def __init__(
        self, graph: Graph, sizes: Sizes, *, half: bool, scales: Mapping[Op, np.float32]
    ) -> None:
        self.graph, self.sizes, self.half, self.scales = graph, sizes, half, scales
        self.quantized: dict[Op, Quantized] = {}
        self.layers: list[NcnnLayer] = []
        self.places: dict[Value, Blob] = {}
        self.done: set[Op] = set()
        self._uses = count_uses(graph.ops, graph.outputs)
        self._readers = {value: op for op in graph.ops for value in op.inputs if value is not None}
        self._shaped: dict[tuple[str, Size], Blob] = {}
        self._constants: dict[tuple[Value, Size], Blob] = {}
        self._taken: set[str] = set()
        values = {*graph.names, *graph.inputs, *graph.outputs}
        self._final = {graph.name(each) for each in values}

    # -- what is known of values -----------------------------------------------------------------

    def dims(self, value: Value | None) -> Size:
        """Return the dimensions of a value of the graph."""
        return self.sizes.dims[cast(Value, value)]

    def known(self, value: Value | None) -> Constant | None:
        """Return a value that no input changes; None for others."""
        return self.sizes.known.get(cast(Value, value))

    def array(self, op: Op, index: int) -> Constant:
        """Return an input that has to be known.

        Raises
        ------
        ExportError
            It is not.
        """
        found = self.known(op.inputs[index])
        if found is None:
            raise ExportError(f"ncnn has no {op.kind} whose input {index} depends on the image")
        return found

    def ints(self, op: Op, index: int) -> list[int]:
        """Return an input of whole numbers that has to be known."""
        return [int(each) for each in self.array(op, index).ravel()]

    def only_reader(self, value: Value) -> Op | None:
        """Return the operator that reads a value, if it is the only one and nothing names it."""
        if self._uses[value] != 1 or value in self.graph.names:
            return None
        return self._readers.get(value)

    def axis(self, value: Value | None, axis: int) -> int:
        """Return where an axis of a value is in the blob of its own shape.

        Raises
        ------
        ExportError
            It is that of the batch.
        """
        dims = self.dims(value)
        found = (axis % len(dims)) - (len(dims) - len(blob_shape(dims)))
        if found < 0:
            raise ExportError("ncnn has no axis for the batch")
        return found

    # -- blobs -----------------------------------------------------------------------------------

    def own_shape(self, value: Value | None) -> Size:
        """Return the shape that a blob of the value has if nothing else is asked for.

        Raises
        ------
        ExportError
            It has more axes than there are.
        """
        shape = blob_shape(self.dims(value))
        if len(shape) > MOST_AXES:
            raise ExportError(f"ncnn has no blob of {len(shape)} axes")
        return shape

    def blob(self, value: Value | None, shape: Size | None = None) -> Blob:
        """Return the blob of a value, in a shape of as many numbers; by default in its own."""
        value = cast(Value, value)
        wanted = self.own_shape(value) if shape is None else shape
        if value in self.places:
            return self.reshaped(self.places[value], wanted)
        return self._constant(value, wanted)

    def as_it_is(self, value: Value | None) -> Blob:
        """Return the blob of a value in the shape that it happens to have."""
        value = cast(Value, value)
        return self.places[value] if value in self.places else self.blob(value)

    def reshaped(self, blob: Blob, shape: Size, output: Value | None = None) -> Blob:
        """Return a blob in another shape."""
        if output is None and blob.shape == shape:
            return blob
        key = blob.name, shape
        if output is None and key in self._shaped:
            return self._shaped[key]
        made = self.add("Reshape", [blob], shape, shape_options(shape), output=output)
        self._shaped.setdefault(key, made)
        return made

    def _constant(self, value: Value, shape: Size) -> Blob:
        key = value, shape
        if key not in self._constants:
            array = np.asarray(self.sizes.known[value], np.float32)
            self._constants[key] = self.constant(value.name, array, shape)
        return self._constants[key]

    def constant(
        self, name: str, array: Constant, shape: Size, output: Value | None = None
    ) -> Blob:
        """Add an array that is there for every image."""
        weights = Weights(np.asarray(array, np.float32))
        options = shape_options(shape)
        return self.add("MemoryData", [], shape, options, [weights], output=output, name=name)

    # -- layers ----------------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        inputs: Sequence[Blob],
        shape: Size,
        options: Mapping[int, Option] | None = None,
        weights: Sequence[Weights] = (),
        *,
        output: Value | None = None,
        name: str | None = None,
    ) -> Blob:
        """Add a layer of one output and return that.

        Parameters
        ----------
        kind : str
        inputs : sequence of Blob
        shape : tuple of int
            Of the output.
        options : mapping from number to value
        weights : sequence of Weights
        output : Value, optional
            The value that it makes, which is found in the blob from then on.
        name : str, optional
            Of the blob, if it is no value's; by default it has the name of what it reads in it.
        """
        if output is not None:
            whole = self.graph.name(output)
        else:
            whole = self._free(f"{inputs[0].name}.{kind}" if name is None else name)
        self._taken.add(whole)
        names = tuple(each.name for each in inputs)
        made = NcnnLayer(kind, whole, names, (whole,), dict(options or {}), tuple(weights))
        self.layers.append(made)
        blob = Blob(whole, shape)
        if output is not None:
            self.places[output] = blob
        return blob

    def add_slice(self, source: Blob, axis: int, outputs: Sequence[Value]) -> None:
        """Cut an axis of a blob into the parts that several values have of it."""
        shapes = [self.own_shape(each) for each in outputs]
        names = tuple(self.graph.name(each) for each in outputs)
        self._taken.update(names)
        options: dict[int, Option] = {0: [each[axis] for each in shapes], 1: axis}
        self.layers.append(NcnnLayer("Slice", names[0], (source.name,), names, options))
        for value, name, shape in zip(outputs, names, shapes, strict=True):
            self.places[value] = Blob(name, shape)

    def same_as(self, output: Value, blob: Blob) -> None:
        """Say that a value is in a blob that is there already."""
        self.places[output] = blob

    def renamed(self, value: Value) -> bool:
        """Give the last layer the name of a value that it makes; not if it has another already."""
        blob, last = self.places[value], self.layers[-1]
        if last.outputs != (blob.name,) or blob.name in self._final:
            return False
        name = self.graph.name(value)
        self.layers[-1] = replace(last, name=name, outputs=(name,))
        self._taken.add(name)
        for each, place in self.places.items():
            if place.name == blob.name:
                self.places[each] = Blob(name, place.shape)
        return True

    def weights(self, array: Constant) -> Weights:
        """Return weights as the file stores them.

        Raises
        ------
        ExportError
            A value is too large for float16.
        """
        single = np.asarray(array, np.float32)
        if not self.half:
            return Weights(single, tagged=True)
        with np.errstate(over="ignore"):
            rounded = single.astype(np.float16)
        if np.any(np.isinf(rounded) & np.isfinite(single)):
            raise ExportError(
                "a weight does not fit into float16",
                expected=f"at most {np.finfo(np.float16).max:.0f}",
                found=f"{np.abs(single[np.isfinite(single)]).max():.6g}",
            )
        return Weights(rounded, tagged=True)

    def int8_weights(self, op: Op, array: Constant, groups: int) -> list[Weights] | None:
        """Return the weights of an operator in int8, and behind the biases the scales.

        None if it does not compute in int8.
        """
        if op not in self.scales:
            return None
        found = self.quantized[op] = quantized(array, groups, self.scales[op])
        parts = (found.scales, np.array([found.input_scale], np.float32))
        return [Weights(found.weights, tagged=True), *map(Weights, parts)]

    def _free(self, name: str) -> str:
        number, whole = 1, name
        while whole in self._taken:
            number += 1
            whole = f"{name}_{number}"
        return whole


def vector(array: Constant) -> Weights:
    """Return an array that is float32 in every file, such as biases."""
    return Weights(np.asarray(array, np.float32).ravel())


def attribute(op: Op, name: str, default: Any = None) -> Any:
    """Return an attribute of an operator."""
    return op.attributes.get(name, default)


def output(op: Op) -> Value:
    """Return the only output of an operator."""
    (value,) = op.outputs
    return value


def count(shape: Size) -> int:
    """Return how many numbers a shape has."""
    return math.prod(shape)
