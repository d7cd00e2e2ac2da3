"""A graph in TFLite's operators: where each value is, and in which order its pixels are.

TFLite's convolutions have channels last.  So each value of four dimensions has an order, that of
what makes it: channels last, or as in Darknet.  It is turned only if something reads it in the
other one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from darknet_bn.convert.tflite.flat_model import FlatModel, Operator, Option, Tensor
from darknet_bn.errors import ExportError
from darknet_bn.graph.dims import Size, Sizes
from darknet_bn.graph.graph import Graph, Op, Value, count_uses

Order: TypeAlias = Literal["darknet", "last"]
"""Of the dimensions of a value: as in the graph, or with channels last, which takes four."""

LAST = (0, 2, 3, 1)
"""From Darknet's order to channels last."""
FIRST = (0, 3, 1, 2)
"""From channels last to Darknet's order."""


_TAKE_ACTIVATIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL")
_ACTIVATION = "fusedActivationFunction"


class Lowering:
    """TFLite's operators for a graph, while they are being made.

    Parameters
    ----------
    graph : Graph
    sizes : Sizes
        Of its values.

    Attributes
    ----------
    model : FlatModel
    sizes : Sizes
    """

    def __init__(self, graph: Graph, sizes: Sizes) -> None:
        self.model = FlatModel()
        self.sizes = sizes
        self._graph = graph
        self._uses = count_uses(graph.ops, graph.outputs)
        self._places: dict[tuple[Value, Order], Tensor] = {}
        self._native: dict[Value, Order] = {}
        self._makers: dict[Tensor, Operator] = {}
        self._settled: dict[Tensor, int] = {}  # of how many values each tensor is the place
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[Any, ...], Tensor] = {}
        self._scope = "input"

    # -- values ----------------------------------------------------------------------------------

    def dims(self, value: Value | None) -> Size:
        """Return the dimensions of a value, in Darknet's order."""
        return self.sizes.dims[cast(Value, value)]

    def known(self, value: Value | None) -> npt.NDArray[Any] | None:
        """Return the values of what no input changes; None for anything else."""
        return None if value is None else self.sizes.known.get(value)

    def ints(self, value: Value | None) -> list[int]:
        """Return whole numbers that no input changes."""
        return [int(each) for each in self.sizes.known[cast(Value, value)]]

    def order(self, *values: Value | None) -> Order:
        """Return the order in which values are best read: channels last if any is so already."""
        return (
            "last"
            if any(self._native.get(cast(Value, x)) == "last" for x in values)
            else ("darknet")
        )

    def begin(self, op: Op) -> None:
        """Name what is added after an op of the graph."""
        self._scope = op.name

    def place(self, value: Value, tensor: Tensor, order: Order = "darknet") -> None:
        """Say where a value is, and in which order."""
        self._places[value, order] = tensor
        self._native[value] = order

    def settle(self, op: Op, tensor: Tensor, order: Order = "darknet", index: int = 0) -> None:
        """Say where an output of an op is; the tensor gets its name."""
        value = op.outputs[index]
        is_another = tensor in self._settled or tensor not in self._makers
        if is_another and value in self._graph.names:
            tensor, is_another = self.reshaped(tensor, tensor.shape), False
        if not is_another:
            tensor.name = self._name(value)
        self._settled[tensor] = self._settled.get(tensor, 0) + 1
        self.place(value, tensor, order)

    def tensor(self, value: Value | None, order: Order = "darknet") -> Tensor:
        """Return a value in an order; it is turned if it is in the other one."""
        value = cast(Value, value)
        array = self.sizes.known.get(value)
        if array is not None:
            turned = array.transpose(LAST) if order == "last" else array
            return self.constant(turned, self._name(value))
        if (value, order) not in self._places:
            source = self._places[value, "last" if order == "darknet" else "darknet"]
            perm = LAST if order == "last" else FIRST
            name = f"{self._name(value)}/{order}"
            self._places[value, order] = self.transposed(source, perm, name)
        return self._places[value, order]

    def output(self, value: Value, name: str) -> Tensor:
        """Return a value as it comes out: with channels last if it has four dimensions."""
        order: Order = "last" if len(self.dims(value)) == 4 else "darknet"
        tensor = self.tensor(value, order)
        if tensor not in self._makers:  # a constant, or what goes in
            return self.reshaped(tensor, tensor.shape, name)
        return tensor

    def show(self, value: Value) -> None:
        """Give what no input changes a place of its own, as all else has."""
        if value in self.sizes.known and value not in self._native:
            tensor = self.tensor(value)
            self.place(value, self.reshaped(tensor, tensor.shape, self._name(value)))

    def places(self) -> dict[Value, tuple[Tensor, Order]]:
        """Return where each value is that goes in or has been made, and in which order."""
        return {value: (self._places[value, order], order) for value, order in self._native.items()}

    def _name(self, value: Value) -> str:
        return self._graph.name(value)

    def activate(self, value: Value | None, kind: str) -> Tensor | None:
        """Make an activation a part of the operator in front of it, if that can have one.

        Parameters
        ----------
        value : Value
            What is to be activated.
        kind : str
            As in the schema.

        Returns
        -------
        tensor : Tensor or None
            The activated value, under no name yet; None if nothing was changed.
        """
        value = cast(Value, value)
        tensor = self._places.get((value, self.order(value)))
        maker = self._makers.get(cast(Tensor, tensor))
        if (
            tensor is None
            or maker is None
            or maker.kind not in _TAKE_ACTIVATIONS
            or _ACTIVATION in maker.options
            or self._settled.get(tensor) != 1
            or self._uses[value] != 1
            or value in self._graph.names
        ):
            return None
        maker.options[_ACTIVATION] = kind
        del self._settled[tensor]
        return tensor

    # -- tensors and operators -------------------------------------------------------------------

    def _unique(self, stem: str) -> str:
        count = self._names[stem] = self._names.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}_{count}"

    def constant(self, values: npt.ArrayLike, name: str = "constant") -> Tensor:
        """Return a constant: int64 becomes int32, float64 becomes float32; alike ones are one."""
        array = np.asarray(values)
        if array.dtype.kind in "iu":
            array = np.clip(array, -(2**31), 2**31 - 1).astype(np.int32)
        elif array.dtype.kind == "f":
            array = array.astype(np.float32)
        key = array.dtype.str, array.shape, hash(array.tobytes())
        found = self._constants.get(key)
        if found is None or not np.array_equal(cast(Any, found.array), array, equal_nan=True):
            found = Tensor(self._unique(name), array.shape, array.dtype, array)
            self._constants[key] = found
        return found

    def add(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        options: Mapping[str, Option] | None = None,
        *,
        name: str | None = None,
        dtype: npt.DTypeLike = np.float32,
        version: int = 1,
    ) -> Tensor:
        """Add an operator with one output, and return that."""
        return self._add(kind, inputs, [shape], options, name, dtype, version)[0]

    def add_split(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        shapes: Sequence[Sequence[int]],
        options: Mapping[str, Option],
    ) -> list[Tensor]:
        """Add an operator with several outputs, and return these."""
        return self._add(kind, inputs, shapes, options, None, np.float32, 1)

    def _add(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shapes: Sequence[Sequence[int]],
        options: Mapping[str, Option] | None,
        name: str | None,
        dtype: npt.DTypeLike,
        version: int,
    ) -> list[Tensor]:
        stem = f"{self._scope}/{kind}" if name is None else name
        made = [Tensor(self._unique(stem), tuple(shape), dtype) for shape in shapes]
        chosen = dict(options or {})
        operator = Operator(kind, tuple(inputs), tuple(made), chosen, version, self._scope)
        self.model.operators.append(operator)
        self._makers |= dict.fromkeys(made, operator)
        return made

    def transposed(self, x: Tensor, perm: Sequence[int], name: str | None = None) -> Tensor:
        """Turn the axes; by a reshape where no value moves."""
        shape = [x.shape[axis] for axis in perm]
        moved = [axis for axis in perm if x.shape[axis] > 1]
        if moved == sorted(moved):
            return self.reshaped(x, shape, name)
        return self.add("TRANSPOSE", [x, self.constant(np.array(perm), "perm")], shape, name=name)

    def reshaped(self, x: Tensor, shape: Sequence[int], name: str | None = None) -> Tensor:
        """Give a tensor other dimensions."""
        wanted = self.constant(np.array(shape), "shape")
        return self.add(
            "RESHAPE", [x, wanted], shape, {"newShape": list(shape)}, name=name, dtype=x.dtype
        )

    def padded(self, x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
        """Put a value around, so many times before and after along every axis."""
        if not any(map(any, pads)):
            return x
        shape = [size + sum(pad) for size, pad in zip(x.shape, pads, strict=True)]
        around = self.constant(np.array(pads), "pads")
        if value == 0:
            return self.add("PAD", [x, around], shape)
        return self.add("PADV2", [x, around, self.constant(np.float32(value), "padding")], shape)

    def sliced(self, x: Tensor, bounds: Sequence[slice]) -> Tensor:
        """Take a part of every axis."""
        ranges = [range(size)[part] for size, part in zip(x.shape, bounds, strict=True)]
        shape = [len(each) for each in ranges]
        if list(x.shape) == shape:
            return x
        if any(each.step != 1 for each in ranges):
            numbers = [[getattr(each, key) for each in ranges] for key in ("start", "stop", "step")]
            if min(numbers[2]) < 1:
                raise ExportError("a slice that runs backwards cannot be exported to TFLite")
            limits = [self.constant(np.array(each), "bounds") for each in numbers]
            return self.add("STRIDED_SLICE", [x, *limits], shape)
        start = self.constant(np.array([each.start for each in ranges]), "start")
        return self.add("SLICE", [x, start, self.constant(np.array(shape), "size")], shape)

    def binary(self, kind: str, x: Tensor, y: Tensor, dtype: npt.DTypeLike = np.float32) -> Tensor:
        """Combine two tensors value by value; smaller ones are repeated."""
        shape = np.broadcast_shapes(x.shape, y.shape)
        return self.add(kind, [x, y], shape, dtype=dtype)

    def unary(self, kind: str, x: Tensor, options: Mapping[str, Option] | None = None) -> Tensor:
        """Change a tensor value by value."""
        return self.add(kind, [x], x.shape, options)

    def number(self, value: float) -> Tensor:
        """Return a single number."""
        return self.constant(np.float32(value), "number")


def real(op: Op, key: str, default: float) -> float:
    """Return an attribute of an op that is a number."""
    return float(cast(float, op.attributes.get(key, default)))


def whole(op: Op, key: str, default: int) -> int:
    """Return an attribute of an op that is a whole number."""
    return int(cast(int, op.attributes.get(key, default)))


def wholes(op: Op, key: str, default: Sequence[int]) -> list[int]:
    """Return an attribute of an op that is several whole numbers."""
    return [int(each) for each in cast("Sequence[int]", op.attributes.get(key, default))]
