"""A graph under construction: layers add their computation to it, operator by operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError
from darknet_bn.graph.graph import Attribute, Constant, Graph, Value

INPUT = "input"
"""The name of the images in an exported file."""
_AXES_ARE_INPUTS = 18  # from this opset on for ReduceMax and ReduceL2; always for ReduceSum
_SPLIT_COUNTS = 18  # from this opset on, Split gets the number of parts
_MOST = 1 << 62  # beyond the last index of any axis


class GraphBuilder(Graph):
    """A graph under construction.

    Names include the layer: ``layer_012.weights`` is a constant of layer 12, ``layer_012/Conv`` is
    one of its nodes.

    Parameters
    ----------
    opset : int
        The opset of ONNX's own operators, 13 or newer.
    dialect : Dialect
        The dialect whose arithmetic is expressed.
    time_steps : int
        How many images make a sequence.
    half : bool
        Whether to compute in float16.
    fixed_size : bool
        Whether height and width of the input are known.
    trains : bool
        Whether what is made of it can be trained.  Then what is computed of parameters is computed
        by nodes, and what differs in training has operators that ONNX has not, or not so:
        ``Dropout`` and ``BatchNormalization`` of the mode that the net is in, ``Conv`` with
        ``binary`` weights and inputs.

    Attributes
    ----------
    constants : list of Value
        Constants of type float32 or float16, int64, or bool.
    parameters : dict from layer number, name and whether float16, to Value
        The constant for each parameter.  If layers share it, the number is the owner's.
    images : Value
        The input of the network, in the precision of its computations.
    not_trained : str
        With ``trains``: what a layer does in training that the graph leaves out; empty if nothing.
    """

    def __init__(
        self,
        opset: int,
        dialect: Dialect,
        *,
        time_steps: int = 1,
        half: bool = False,
        fixed_size: bool = True,
        trains: bool = False,
    ) -> None:
        super().__init__()
        self.opset = opset
        self.dialect = dialect
        self.time_steps = time_steps
        self.half = half
        self.fixed_size = fixed_size
        self.trains = trains
        self.images = Value(INPUT)
        self.inputs.append(self.images)
        self.parameters: dict[tuple[int, str, bool], Value] = {}
        self.not_trained = ""
        self._scope = INPUT
        self._owner = -1
        self._params: Mapping[str, npt.NDArray[Any]] = {}
        self._prefix = ""  # of the names of parameters
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    # -- scopes ----------------------------------------------------------------------------------

    @contextmanager
    def within(self, scope: str) -> Iterator[None]:
        """Put ``scope`` in the names of everything added within."""
        before, self._scope = self._scope, scope
        yield
        self._scope = before

    @contextmanager
    def layer(
        self, scope: str, owner: int, params: Mapping[str, npt.NDArray[Any]]
    ) -> Iterator[None]:
        """Put a layer in the names of everything added within; its parameters are ``owner``'s."""
        before = self._owner, self._params
        self._owner, self._params = owner, params
        with self.within(scope):
            yield
        self._owner, self._params = before

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Put a part of the layer in the names, and use that part's own parameters."""
        before, self._prefix = self._prefix, f"{self._prefix}{name}."
        with self.within(f"{self._scope}.{name}"):
            yield
        self._prefix = before

    @contextmanager
    def single(self) -> Iterator[None]:
        """Use float32 for the operators added within, even if the rest uses float16."""
        before, self.half = self.half, False
        yield
        self.half = before

    def require_fixed_size(self, why: str) -> None:
        """Refuse an input of variable size if a layer needs to know the size.

        Raises
        ------
        ExportError
            The size of the input is not fixed.
        """
        if not self.fixed_size:
            raise ExportError(f"{why} needs a fixed input size", hint="drop --any-size")

    # -- constants -------------------------------------------------------------------------------

    def parameter(self, name: str) -> Value:
        """Add a parameter of the layer unchanged, and return it; layers that share it get only one.

        Parameters
        ----------
        name : str
            The name among the layer's parameters.

        Raises
        ------
        ExportError
            A value is too large for float16.
        """
        place = self._owner, self._prefix + name, self.half
        if place not in self.parameters:
            self.parameters[place] = self.constant(name, self._params[place[1]])
        return self.parameters[place]

    def shaped_parameter(self, name: str, *dims: int) -> Value:
        """Add a parameter of the layer in another shape, and return it.

        Raises
        ------
        ExportError
            A value is too large for float16.
        """
        if self.trains:
            return self.add("Reshape", self.parameter(name), self.ints("shape", *dims))
        return self.constant(name, self._params[self._prefix + name].reshape(dims))

    def constant(self, name: str, values: npt.ArrayLike, *, exact: bool = False) -> Value:
        """Add a constant and return it.

        Parameters
        ----------
        name : str
            The part of the name after the layer's.
        values : array
            float32, or float64 to be rounded; it becomes float16 if the rest is float16.  int64 and
            bool are also accepted.
        exact : bool
            Whether float32 stays float32.

        Raises
        ------
        ExportError
            A value is too large for float16.
        """
        array = np.asarray(values)
        whole = f"{self._scope}.{name}"
        if whole in self._taken:
            whole = f"{whole}_{self._next(whole)}"
        if array.dtype.kind == "f":
            array = self._rounded(array, whole, half=self.half and not exact)
        self._taken.add(whole)
        return self.add_constant(whole, array)

    def number(self, name: str, value: float) -> Value:
        """Add a single number for use in computations."""
        return self.constant(name, np.array(value, np.float64))

    def ints(self, name: str, *values: int) -> Value:
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

    def add(self, kind: str, *inputs: Value | None, **attributes: Attribute) -> Value:
        """Add a node with one output, and return the output."""
        return self.add_split(kind, 1, *inputs, **attributes)[0]

    def add_split(
        self, kind: str, count: int, *inputs: Value | None, **attributes: Attribute
    ) -> tuple[Value, ...]:
        """Add a node with ``count`` outputs, and return the outputs."""
        stem = f"{self._scope}/{kind}"
        name = stem if (number := self._next(stem)) == 1 else f"{stem}_{number}"
        outputs = (name,) if count == 1 else tuple(f"{name}:{each}" for each in range(count))
        return self.add_op(kind, name, inputs, outputs, attributes).outputs

    def _next(self, stem: str) -> int:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return self._counts[stem]

    def scaled(self, x: Value, factor: float) -> Value:
        """Multiply by a number; add no operator for 1."""
        return x if factor == 1 else self.add("Mul", x, self.number("factor", factor))

    def shifted(self, x: Value, summand: float) -> Value:
        """Add a number; add no operator for 0."""
        return x if summand == 0 else self.add("Add", x, self.number("summand", summand))

    def clip(self, x: Value, low: float, high: float) -> Value:
        """Limit values to a range."""
        return self.add("Clip", x, self.number("low", low), self.number("high", high))

    def reshape(self, x: Value, *dims: int) -> Value:
        """Give every image different dimensions; -1 is the remaining size."""
        return self.add("Reshape", x, self.ints("shape", 0, *dims))

    def slice(self, x: Value, axis: int, start: int, stop: int | None, step: int = 1) -> Value:
        """Take a part of an axis."""
        bounds = (
            self.ints("start", start),
            self.ints("stop", _MOST if stop is None else stop),
            self.ints("axis", axis),
        )
        return self.add("Slice", x, *bounds, *([self.ints("step", step)] if step != 1 else []))

    def split(self, x: Value, axis: int, sizes: Sequence[int]) -> tuple[Value, ...]:
        """Cut an axis into parts of these sizes."""
        if len(sizes) == 1:
            return (x,)
        return self.add_split("Split", len(sizes), x, self.ints("sizes", *sizes), axis=axis)

    def by_time(self, x: Value) -> tuple[Value, ...]:
        """Split a batch into its time steps."""
        count = self.time_steps
        if count == 1:
            return (x,)
        more = {"num_outputs": count} if self.opset >= _SPLIT_COUNTS else {}
        return self.add_split("Split", count, x, axis=0, **more)

    def reduce(self, kind: str, x: Value, axis: int) -> Value:
        """Reduce an axis to one value, and keep it: ReduceSum, ReduceMax, ReduceL2, ReduceMean."""
        if kind == "ReduceSum" or self.opset >= _AXES_ARE_INPUTS:
            return self.add(kind, x, self.ints("axes", axis), keepdims=1)
        return self.add(kind, x, axes=[axis], keepdims=1)

    def zeros_like(self, x: Value) -> Value:
        """Return zeros of the shape of a value."""
        zero = np.zeros(1, np.float16 if self.half else np.float32)
        return self.add("ConstantOfShape", self.add("Shape", x), value=zero)

    def pad(
        self, x: Value, before: Sequence[int], after: Sequence[int], value: float = 0.0
    ) -> Value:
        """Pad with a value, by given amounts before and after along every axis."""
        pads = self.ints("pads", *before, *after)
        return self.add("Pad", x, pads, self.number("padding", value), mode="constant")
