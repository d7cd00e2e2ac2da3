"""What recurrent layers have in common: they consist of other layers, and remember."""

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
    """A layer inside a recurrent one.

    Attributes
    ----------
    name : str
        What the names of its parameters begin with, and a dot.
    layer : Layer
    of_state : bool
        Whether it reads what the layer remembers, or what comes in.
    """

    name: str
    layer: Layer
    of_state: bool = False


@dataclass(frozen=True)
class PartStep:
    """The step of a part, with the arrays it takes.

    Attributes
    ----------
    step : Inference
    x, y : Shape
        What goes in and out.
    """

    step: Inference
    x: Shape
    y: Shape

    def __call__(self, x: F32, out: F32 | None = None) -> F32:
        """Return what comes out: in an array of its own, if not in ``out``."""
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
        """Whether there is such a part."""
        return name in self._parts

    def __getitem__(self, name: str) -> Callable[[Value], Value]:
        """Return a function that adds a part once more, for a value."""
        part, shape = self._parts[name]

        def add(value: Value) -> Value:
            with self.graph.part(name):
                params = _within(self._params, part)
                return part.layer.onnx(self.graph, [value], (shape,), params)

        return add


@dataclass(frozen=True, kw_only=True)
class Recurrent(Normalised, Layer):
    """A layer of parts, each a layer with weights, some of which read what it remembers.

    Where there is batch norm, each part has its own.
    """

    recurrent: ClassVar[bool] = True

    batch_normalize: int = option(0)

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """Return the parts, in the order of the file."""

    def seen(self, x: Shape) -> Shape:
        """Return the shape in which the parts see the input."""
        return x

    def state_shape(self, x: Shape) -> Shape:
        """Return the shape of what the layer remembers: what a part makes of the input."""
        part = next(part for part in self.parts() if not part.of_state)
        return part.layer.out_shape((self.seen(x),))

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Those of one part behind those of another, as ``part.weights``."""
        return tuple(
            replace(param, name=f"{part.name}.{param.name}")
            for part, x in self._with_inputs(xs)
            for param in part.layer.params((x,), dialect)
        )

    @property
    def is_linear(self) -> bool:
        """Never: what comes out is made of several parts."""
        return False

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return what the batch norm of each part amounts to."""
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
        """Weights that the file does not hold, or that one part cannot give, cannot be folded."""
        if self.dontload:
            return "dontload: the file has no weights"
        return next(
            filter(None, (part.layer.norm.why_not_foldable() for part in self.parts())), None
        )

    def part_steps(self, xs: Shapes, p: Params, context: InferenceContext) -> dict[str, PartStep]:
        """Build the steps of the parts, by their names."""
        return {
            part.name: PartStep(
                part.layer.infer((x,), _within(p, part), context), x, part.layer.out_shape((x,))
            )
            for part, x in self._with_inputs(xs)
        }

    def part_graphs(self, graph: GraphBuilder, x: Value, xs: Shapes, p: Params) -> PartGraphs:
        """Prepare the parts for a graph, and the input as they see it."""
        wide = Shape(1, 1, 2)  # a square image does not show it
        if not xs[0].flat and self.seen(wide) != wide:
            graph.require_fixed_size("an image whose sides are taken for each other")
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
        """Return what a part says."""
        return self.parts()[0].layer.size_text()

    def _with_inputs(self, xs: Shapes) -> Iterator[tuple[Part, Shape]]:
        state = self.state_shape(xs[0])
        for part in self.parts():
            yield part, state if part.of_state else self.seen(xs[0])


class PartBack(NamedTuple):
    """What a part gives on the way back.

    Attributes
    ----------
    delta_x : array
        Of what the part got.
    delta : array
        What Darknet leaves as the part's own delta: behind its activation and batch norm.
    overwrites : bool
        As in `Backward`.
    """

    delta_x: F32
    delta: F32
    overwrites: bool


class Passes:
    """The parts of a layer in training, each passed through once for every time step.

    So each time step has statistics of its own where there is batch norm, as in C.

    Attributes
    ----------
    updates : dict from name to array
        Summed over the time steps that the way back has come through.
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
        """The new rolling statistics of all parts, behind the last time step."""
        return self._changes

    def train(self, name: str, x: F32) -> F32:
        """Pass through a part; the result is the caller's own."""
        part, shape = self._parts[name]
        done = part.layer.train(
            [x.reshape(len(x), *shape.dims)], self._params[name], self._training
        )
        self._backs[name].append(done.back)
        self._params[name].update(done.changes)
        self._changes.update({f"{name}.{key}": value for key, value in done.changes.items()})
        return done.y

    def back(self, name: str, delta: F32) -> F32:
        """Go back through the last pass of a part; return the delta of what it got."""
        return self.give_back(name, delta).delta_x

    def give_back(self, name: str, delta: F32) -> PartBack:
        """Go back through the last pass of a part; return all that it gives."""
        given = self._backs[name].pop()(delta.copy())
        for key, update in given.updates.items():
            total = self.updates.setdefault(f"{name}.{key}", update)
            if total is not update:
                np.add(total, update, out=total)
        (delta_x,) = given.deltas
        if delta_x is None:
            raise TrainingError(f"nothing goes back through the part {name}")
        own = delta if given.delta is None else given.delta
        return PartBack(delta_x, own, given.overwrites)


def kept(context: TrainingContext, name: str, like: F32) -> F32:
    """Return what a layer has left under a name in the last batch, if that was of this size."""
    state = context.state.get(name)
    return np.zeros_like(like) if state is None or state.shape != like.shape else state


def joined_in_time(graph: GraphBuilder, steps: Sequence[Value]) -> Value:
    """Put what the time steps give behind each other, as a batch has them."""
    return graph.add("Concat", *steps, axis=0) if len(steps) > 1 else steps[0]


def by_time(rows: F32, time_steps: int) -> F32:
    """Return a batch (n, ...) as (time steps, sequences, ...), a view."""
    return rows.reshape(time_steps, len(rows) // time_steps, *rows.shape[1:])


def remembered(context: InferenceContext, name: str, like: F32) -> F32:
    """Return what a layer has left under a name; zeros like an array where a sequence begins."""
    state = context.state.get(name)
    return np.zeros_like(like) if state is None else state


def require_same_image(x: Shape, state: Shape) -> None:
    """Check that convolutions keep the size of an image, so that they can read what they made.

    Raises
    ------
    ShapeError
        They do not; Darknet would read and write behind its arrays.
    """
    if (state.h, state.w) != (x.h, x.w):
        raise ShapeError(
            "the convolutions of a recurrent layer have to keep the size of the image",
            expected=f"{x.w} x {x.h} from size, stride and padding",
            found=f"{state.w} x {state.h}",
        )


def _within(values: Mapping[str, T], part: Part) -> dict[str, T]:
    """Return what is of a part, under the names it has there."""
    prefix = f"{part.name}."
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }
