"""What recurrent layers have in common: they consist of other layers, and have a memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError, TrainingError
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Affine, Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.normalised import Normalised

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A layer inside a recurrent layer.

    Attributes
    ----------
    name : str
        The prefix of the names of its parameters, before a dot.
    layer : Layer
    of_state : bool
        Whether it reads what the layer remembers; if not, it reads the input.
    """

    name: str
    layer: Layer
    of_state: bool = False


@dataclass(frozen=True)
class PartStep:
    """The step of a part, with the arrays that it uses.

    Attributes
    ----------
    step : Inference
    x, y : Shape
        Shapes of the input and output.
    """

    step: Inference
    x: Shape
    y: Shape

    def __call__(self, x: F32, out: F32 | None = None) -> F32:
        """Return the output, in a new array unless ``out`` is given."""
        if out is None:
            out = np.empty((len(x), *self.y.dims), x.dtype)
        self.step([x.reshape(len(x), *self.x.dims)], out.reshape(len(x), *self.y.dims))
        return out


@dataclass(frozen=True)
class PartGraphs:
    """The parts of a layer in a graph.

    Attributes
    ----------
    graph : GraphBuilder
    x : Value
        The input of the layer.
    """

    graph: GraphBuilder
    x: Value
    _parts: Mapping[str, tuple[Part, Shape]]
    _params: Params

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a part."""
        return name in self._parts

    def __getitem__(self, name: str) -> Callable[[Value], Value]:
        """Return a function that adds another copy of a part, for a value."""
        part, shape = self._parts[name]

        def add(value: Value) -> Value:
            with self.graph.part(name):
                params = _within(self._params, part)
                return part.layer.onnx(self.graph, [value], (shape,), params)

        return add

    def by_time(self, name: str, value: Value) -> tuple[Value, ...]:
        """Add a part for all time steps, and return what it gives at each.

        Batch norm in training has statistics of its own at each: then the part is added so often.
        """
        if self.graph.trains and self._parts[name][0].layer.norm.batch_norm:
            return tuple(self[name](each) for each in self.graph.by_time(value))
        return self.graph.by_time(self[name](value))

    def joined(self, name: str, steps: Sequence[Value]) -> Value:
        """Add a part for what there is at each time step, as `by_time`, and join the results."""
        if self.graph.trains and self._parts[name][0].layer.norm.batch_norm:
            return joined_in_time(self.graph, [self[name](each) for each in steps])
        return self[name](joined_in_time(self.graph, steps))


@dataclass(frozen=True, kw_only=True)
class Recurrent(Normalised, Layer):
    """A layer made of parts, each a layer with weights; some parts read what it remembers.

    With batch norm, each part has its own.
    """

    recurrent: ClassVar[bool] = True

    batch_normalize: int = option(0)

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """Return the parts, in file order."""

    def seen(self, x: Shape) -> Shape:
        """Return the shape in which the parts read the input."""
        return x

    def state_shape(self, x: Shape) -> Shape:
        """Return the shape of the state: the output of a part for this input."""
        part = next(part for part in self.parts() if not part.of_state)
        return part.layer.out_shape((self.seen(x),))

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Return the parameters of one part after those of another, as ``part.weights``."""
        return tuple(
            replace(param, name=f"{part.name}.{param.name}")
            for part, x in self._with_inputs(xs)
            for param in part.layer.params((x,), dialect)
        )

    @property
    def is_linear(self) -> bool:
        """Never True: the output is computed by several parts."""
        return False

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return the scale and shift of each part's batch norm."""
        return {
            f"{part.name}.{prefix}": affine
            for part in self.parts()
            for prefix, affine in part.layer.norm.affines(_within(p, part), dialect).items()
        }

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Multiply scales and shifts into the weights and biases of each part."""
        return {
            f"{part.name}.{name}": array
            for part in self.parts()
            for name, array in part.layer.norm.absorb(
                _within(p, part), _within(affines, part)
            ).items()
        }

    def why_not_foldable(self) -> str | None:
        """Say that weights missing from the file, or refused by a part, cannot be folded."""
        if self.dontload:
            return "dontload: the file has no weights"
        return next(
            filter(None, (part.layer.norm.why_not_foldable() for part in self.parts())), None
        )

    def part_steps(self, xs: Shapes, p: Params, context: InferenceContext) -> dict[str, PartStep]:
        """Build the steps of the parts, by name."""
        return {
            part.name: PartStep(
                part.layer.infer((x,), _within(p, part), context), x, part.layer.out_shape((x,))
            )
            for part, x in self._with_inputs(xs)
        }

    def part_graphs(self, graph: GraphBuilder, x: Value, xs: Shapes, p: Params) -> PartGraphs:
        """Prepare the parts for a graph, and the input in the shape that they read."""
        wide = Shape(1, 1, 2)  # a square image would not show it
        if not xs[0].flat and self.seen(wide) != wide:
            graph.require_fixed_size("an image whose width and height are swapped")
        if self.seen(xs[0]) != xs[0]:
            x = graph.reshape(x, *self.seen(xs[0]).dims)
        table = {part.name: (part, shape) for part, shape in self._with_inputs(xs)}
        return PartGraphs(graph, x, table, p)

    def passes(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Passes:
        """Prepare the parts for training."""
        return Passes(list(self._with_inputs(tuple(map(Shape.of, xs)))), p, context)

    def cost(self, xs: Shapes) -> Cost:
        """Add up the parts."""
        return Cost(sum(part.layer.cost((x,)).flops for part, x in self._with_inputs(xs)))

    def size_text(self) -> str:
        """Return the text of a part."""
        return self.parts()[0].layer.size_text()

    def _with_inputs(self, xs: Shapes) -> Iterator[tuple[Part, Shape]]:
        state = self.state_shape(xs[0])
        for part in self.parts():
            yield part, state if part.of_state else self.seen(xs[0])


class PartBack(NamedTuple):
    """The result of a part's backward pass.

    Attributes
    ----------
    delta_x : array
        Delta of the part's input.
    delta : array
        What Darknet leaves as the part's own delta: after its activation and batch norm.
    overwrites : bool
        As in `Backward`.
    """

    delta_x: F32
    delta: F32
    overwrites: bool


class Passes:
    """The parts of a layer in training, each run once for every time step.

    With batch norm, each time step therefore has its own statistics, as in C.

    Attributes
    ----------
    updates : dict from name to array
        Summed over the time steps that the backward pass has been through.
    """

    def __init__(
        self, parts: Sequence[tuple[Part, Shape]], p: Params, context: TrainingContext
    ) -> None:
        self._parts = {part.name: (part, x) for part, x in parts}
        self._params = {part.name: _within(p, part) for part, _ in parts}
        self._backs: dict[str, list[Callable[[F32], Backward]]] = {name: [] for name in self._parts}
        self._changes: dict[str, F32] = {}
        self._training = replace(context, wants_delta=True)
        self.updates: dict[str, F32] = {}

    @property
    def changes(self) -> dict[str, F32]:
        """The new rolling statistics of all parts after the last time step."""
        return self._changes

    def train(self, name: str, x: F32) -> F32:
        """Run a part forward; the caller owns the result."""
        part, shape = self._parts[name]
        done = part.layer.train(
            [x.reshape(len(x), *shape.dims)], self._params[name], self._training
        )
        self._backs[name].append(done.back)
        self._params[name].update(done.changes)
        self._changes.update({f"{name}.{key}": value for key, value in done.changes.items()})
        return done.y

    def back(self, name: str, delta: F32) -> F32:
        """Go backward through the last pass of a part; return the delta of its input."""
        return self.give_back(name, delta).delta_x

    def give_back(self, name: str, delta: F32) -> PartBack:
        """Go backward through the last pass of a part; return its whole result."""
        given = self._backs[name].pop()(delta.copy())
        for key, update in given.updates.items():
            total = self.updates.setdefault(f"{name}.{key}", update)
            if total is not update:
                np.add(total, update, out=total)
        (delta_x,) = given.deltas
        if delta_x is None:
            raise TrainingError(f"the part {name} has no gradient")
        own = delta if given.delta is None else given.delta
        return PartBack(delta_x, own, given.overwrites)


def kept(context: TrainingContext, name: str, like: F32) -> F32:
    """Return the array kept under a name from the last batch, if that had the same size."""
    state = context.state.get(name)
    return np.zeros_like(like) if state is None or state.shape != like.shape else state


def joined_in_time(graph: GraphBuilder, steps: Sequence[Value]) -> Value:
    """Put the outputs of the time steps one after the other, in the order of a batch."""
    return graph.add("Concat", *steps, axis=0) if len(steps) > 1 else steps[0]


def by_time(rows: F32, time_steps: int) -> F32:
    """Return a batch (n, ...) as (time steps, sequences, ...), a view."""
    return rows.reshape(time_steps, len(rows) // time_steps, *rows.shape[1:])


def remembered(context: InferenceContext, name: str, like: F32) -> F32:
    """Return the array kept under a name; at the start of a sequence, zeros like an array."""
    state = context.state.get(name)
    return np.zeros_like(like) if state is None else state


def require_same_image(x: Shape, state: Shape) -> None:
    """Check that convolutions keep the size of an image, so that they can read their output.

    Raises
    ------
    ShapeError
        They do not; Darknet would read and write past the end of its arrays.
    """
    if (state.h, state.w) != (x.h, x.w):
        raise ShapeError(
            "the convolutions of a recurrent layer must keep the image size",
            expected=f"{x.w} x {x.h} from size, stride and padding",
            found=f"{state.w} x {state.h}",
        )


def _within(values: Mapping[str, T], part: Part) -> dict[str, T]:
    """Return the values that belong to a part, under their names in the part."""
    prefix = f"{part.name}."
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }
