"""A computation in ONNX's operators, as plain data: what layers say of themselves for an export.

Nothing here needs the package onnx; ``onnx_export.py`` makes a file of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError

Attribute: TypeAlias = "int | float | str | Sequence[int] | npt.NDArray[Any]"
Constant: TypeAlias = npt.NDArray[Any]

FLOAT, HALF = 1, 10  # ONNX's numbers of the types float32 and float16

_AXES_ARE_INPUTS = 18  # from this opset on of ReduceMax and ReduceL2; of ReduceSum always
_SPLIT_COUNTS = 18  # from this opset on Split is told how many parts there are
_MOST = 1 << 62  # behind the last index of any axis


@dataclass(frozen=True)
class Op:
    """A node: an operator with what goes in and comes out, by name."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


class Graph:
    """Nodes and constants in the order in which they were added.

    Values are named after the layer that makes them: ``layer_012`` is the output of layer 12,
    ``layer_012.weights`` a constant of it, ``layer_012/Conv`` something on the way.

    Parameters
    ----------
    opset : int
        Of ONNX's own operators, 13 or newer.
    dialect : Dialect
        Whose arithmetic.
    time_steps : int
        How many images make a sequence.
    half : bool
        Whether to compute in float16.
    fixed_size : bool
        Whether height and width of the input are known.

    Attributes
    ----------
    ops : list of Op
    constants : dict from name to array
        float32 or float16, int64, bool.
    layers : dict from layer number to name
        Where the output of each layer is; -1 is the input.
    """

    def __init__(
        self,
        opset: int,
        dialect: Dialect,
        *,
        time_steps: int = 1,
        half: bool = False,
        fixed_size: bool = True,
    ) -> None:
        self.opset = opset
        self.dialect = dialect
        self.time_steps = time_steps
        self.half = half
        self.fixed_size = fixed_size
        self.ops: list[Op] = []
        self.constants: dict[str, Constant] = {}
        self.layers: dict[int, str] = {}
        self._known: dict[tuple[int, bool], tuple[Constant, str]] = {}
        self._scope = "input"
        self._counts: dict[str, int] = {}

    # -- scopes ----------------------------------------------------------------------------------

    @contextmanager
    def within(self, scope: str) -> Iterator[None]:
        """Name what is added after ``scope``."""
        before, self._scope = self._scope, scope
        yield
        self._scope = before

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Name what is added after a part of the layer."""
        with self.within(f"{self._scope}.{name}"):
            yield

    @contextmanager
    def single(self) -> Iterator[None]:
        """Add what computes in float32 also where the rest does in float16."""
        before, self.half = self.half, False
        yield
        self.half = before

    def makes(self, value: str, since: int) -> bool:
        """Whether a value comes out of a node behind the first ``since`` ones."""
        return any(value in op.outputs for op in self.ops[since:])

    def rename(self, value: str, name: str) -> str:
        """Give a value that some node makes another name."""

        def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name if each == value else each for each in names)

        for at, op in enumerate(self.ops):
            if value in op.inputs or value in op.outputs:
                new = replace(op, inputs=renamed(op.inputs), outputs=renamed(op.outputs))
                self.ops[at] = new
        return name

    def require_fixed_size(self, why: str) -> None:
        """Refuse an input of any size, where a layer needs to know it.

        Raises
        ------
        ExportError
            The size of the input is not fixed.
        """
        if not self.fixed_size:
            raise ExportError(f"{why} needs a fixed input size", hint="drop --any-size")

    # -- constants -------------------------------------------------------------------------------

    def constant(self, name: str, values: npt.ArrayLike, *, exact: bool = False) -> str:
        """Add a constant and return its name.

        Parameters
        ----------
        name : str
            Behind that of the layer.
        values : array
            float32, or float64 to be rounded, which becomes float16 where the rest is; or int64
            or bool.
        exact : bool
            Whether float32 stays float32.

        Raises
        ------
        ExportError
            A value is too large for float16.
        """
        array = np.asarray(values)
        half = self.half and not exact and array.dtype.kind == "f"
        if (id(values), half) in self._known:  # weights that layers share are there once
            return self._known[id(values), half][1]
        whole = f"{self._scope}.{name}"
        if whole in self.constants:
            whole = f"{whole}_{self._next(whole)}"
        if array.dtype.kind == "f":
            array = self._rounded(array, whole, half=half)
        self.constants[whole] = array
        if isinstance(values, np.ndarray):
            self._known[id(values), half] = values, whole
        return whole

    def name_of(self, array: Constant) -> str | None:
        """Return the constant that an array is, as it is, or None."""
        return self._known.get((id(array), False), (array, None))[1]

    def number(self, name: str, value: float) -> str:
        """Add a single number that computations take part in."""
        return self.constant(name, np.array(value, np.float64))

    def ints(self, name: str, *values: int) -> str:
        """Add a constant of whole numbers, such as a shape."""
        return self.constant(name, np.array(values, np.int64))

    def _rounded(self, array: Constant, name: str, *, half: bool) -> Constant:
        single = array.astype(np.float32, copy=False)
        if not half:
            return single
        with np.errstate(over="ignore"):
            rounded = single.astype(np.float16)
        if np.any(np.isinf(rounded) & np.isfinite(single)):
            raise ExportError(
                f"{name} does not fit into float16",
                expected=f"at most {np.finfo(np.float16).max:.0f}",
                found=f"{np.abs(single[np.isfinite(single)]).max():.6g}",
            )
        return rounded

    # -- nodes -----------------------------------------------------------------------------------

    def add(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node with one output and return the name of that."""
        return self.add_split(kind, 1, *inputs, **attributes)[0]

    def add_split(
        self, kind: str, count: int, *inputs: str, **attributes: Attribute
    ) -> tuple[str, ...]:
        """Add a node with ``count`` outputs and return the names of those."""
        stem = f"{self._scope}/{kind}"
        name = stem if (number := self._next(stem)) == 1 else f"{stem}_{number}"
        outputs = (name,) if count == 1 else tuple(f"{name}:{each}" for each in range(count))
        self.ops.append(Op(kind, name, inputs, outputs, attributes))
        return outputs

    def _next(self, stem: str) -> int:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return self._counts[stem]

    def scaled(self, x: str, factor: float) -> str:
        """Multiply by a number; nothing for 1."""
        return x if factor == 1 else self.add("Mul", x, self.number("factor", factor))

    def shifted(self, x: str, summand: float) -> str:
        """Add a number; nothing for 0."""
        return x if summand == 0 else self.add("Add", x, self.number("summand", summand))

    def clip(self, x: str, low: float, high: float) -> str:
        """Hold values to a range."""
        return self.add("Clip", x, self.number("low", low), self.number("high", high))

    def reshape(self, x: str, *dims: int) -> str:
        """Give every image other dimensions; -1 is what is left."""
        return self.add("Reshape", x, self.ints("shape", 0, *dims))

    def slice(self, x: str, axis: int, start: int, stop: int | None, step: int = 1) -> str:
        """Take a part of an axis."""
        bounds = (
            self.ints("start", start),
            self.ints("stop", _MOST if stop is None else stop),
            self.ints("axis", axis),
        )
        return self.add("Slice", x, *bounds, *([self.ints("step", step)] if step != 1 else []))

    def split(self, x: str, axis: int, sizes: Sequence[int]) -> tuple[str, ...]:
        """Cut an axis into parts of these sizes."""
        if len(sizes) == 1:
            return (x,)
        return self.add_split("Split", len(sizes), x, self.ints("sizes", *sizes), axis=axis)

    def by_time(self, x: str) -> tuple[str, ...]:
        """Cut a batch into its time steps."""
        count = self.time_steps
        if count == 1:
            return (x,)
        more = {"num_outputs": count} if self.opset >= _SPLIT_COUNTS else {}
        return self.add_split("Split", count, x, axis=0, **more)

    def reduce(self, kind: str, x: str, axis: int) -> str:
        """Reduce an axis to one value, and keep it: ReduceSum, ReduceMax, ReduceL2, ReduceMean."""
        if kind == "ReduceSum" or self.opset >= _AXES_ARE_INPUTS:
            return self.add(kind, x, self.ints("axes", axis), keepdims=1)
        return self.add(kind, x, axes=[axis], keepdims=1)

    def zeros_like(self, x: str) -> str:
        """Return zeros of the shape of a value."""
        zero = np.zeros(1, np.float16 if self.half else np.float32)
        return self.add("ConstantOfShape", self.add("Shape", x), value=zero)

    def pad(self, x: str, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> str:
        """Put a value around, so many times before and after along every axis."""
        pads = self.ints("pads", *before, *after)
        return self.add("Pad", x, pads, self.number("padding", value), mode="constant")
