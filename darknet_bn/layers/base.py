"""What every layer has: options, sources, shapes, parameters, steps forward and back, a cost."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError, TrainingError
from darknet_bn.graph.graph import Graph
from darknet_bn.layers.options import Options, option
from darknet_bn.values import brief_fields
from darknet_bn.work.memory import Arena

Params: TypeAlias = Mapping[str, F32]
Step: TypeAlias = Callable[[Sequence[F32], F32], None]
"""``step(xs, y)``: fill ``y`` (n, *shape) from the inputs, arrays (n, *shape) of the sources.

Every ``x[i]`` and ``y[i]`` is C-contiguous; the batch axis may have any stride.
"""
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], F32]


@dataclass(frozen=True)
class Shape:
    """The shape of one image's data: channels, rows, columns; or a flat count.

    A layer without image shape (``[softmax]``, ``[cost]``) has ``flat`` set, and all in ``c``.
    """

    c: int
    h: int = 1
    w: int = 1
    flat: bool = False

    @property
    def size(self) -> int:
        """The number of values."""
        return self.c * self.h * self.w

    @property
    def dims(self) -> tuple[int, ...]:
        """(c, h, w), or (size,) where it is flat."""
        return (self.size,) if self.flat else (self.c, self.h, self.w)

    def __str__(self) -> str:
        """``w x h x c`` as Darknet prints it, or the count."""
        return f"{self.size}" if self.flat else f"{self.w} x {self.h} x {self.c}"


Shapes: TypeAlias = tuple[Shape, ...]


@dataclass(frozen=True)
class Param:
    """An array of parameters, in the order of the ``.weights`` file.

    Attributes
    ----------
    name : str
        Darknet's word: ``weights``, ``biases``, ``scales``, ``rolling_mean`` …
    shape : tuple of int
        Shape in memory.
    init : float or callable
        Initial value, or a function drawing the initial array.
    stored : bool
        Whether the file holds it.
    first : int or None
        Where the file holds only the first so many along the first axis.
    transposed : bool
        Whether the file holds the matrix (first axis, rest) transposed.
    transposed_in_legacy : bool
        Whether a file with the old header of three floats does.
    """

    name: str
    shape: tuple[int, ...]
    init: float | Draw = 0.0
    stored: bool = True
    first: int | None = None
    transposed: bool = False
    transposed_in_legacy: bool = False

    __repr__ = brief_fields

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of what the file holds, before it is transposed."""
        first = self.shape[0] if self.first is None else min(self.first, self.shape[0])
        return (first, *self.shape[1:])

    @property
    def stored_size(self) -> int:
        """How many floats of it the file holds."""
        return math.prod(self.stored_shape) if self.stored else 0

    @property
    def size(self) -> int:
        """How many floats it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Affine:
    """What batch norm amounts to in inference: ``scale * x + shift`` for each channel.

    Attributes
    ----------
    scale, shift : float64 arrays (f,)
    """

    scale: F64
    shift: F64


@dataclass(frozen=True)
class Setting:
    """What a step needs to know beside its layer.

    Attributes
    ----------
    dialect : Dialect
    exact : bool
        Whether to keep to Darknet's order of operations: batch norm behind the convolution, not
        folded into it, and no fast convolution algorithms.
    time_steps : int
        How many images make a sequence.  A batch has the first of every sequence, then the second
        of every sequence, and so on.
    state : dict of float32 arrays
        What the layer remembers of the images before, under names of its own; empty where a
        sequence begins.  The step changes it.
    before_norm : function
        ``before_norm(z, p)``, called with what enters batch norm, (n, f, ...), where that is a
        step of its own: with ``exact``.  Returns the parameters to normalise with.
    """

    dialect: Dialect
    exact: bool = False
    time_steps: int = 1
    state: dict[str, F32] = field(default_factory=dict)
    before_norm: Callable[[F32, Params], Params] = lambda z, p: p


@dataclass(frozen=True)
class Training:
    """What a training pass needs to know beside its layer.

    Attributes
    ----------
    dialect : Dialect
        Whose formulas; ``dialect.sound`` where gradients are to be exact.
    rng : Generator
        Of this layer and this pass alone.
    net : Shape
        Of the network's input.
    truth : float32 array (n, ...), or None
        What the outputs should be: (n, outputs), or (n, boxes, 5) with x, y, w, h and class of each
        box, relative to the image; behind the last box of an image x is 0.  Without it there is no
        loss.
    seen : int
        Images the model has been trained with, those of this pass included.
    batch : int
        How many images there are.
    wants_delta : bool
        Whether anything is to go back to the first source; the network's input wants nothing.
    time_steps : int
        As in `Setting`.
    state : dict of float32 arrays
        As in `Setting`.
    arena : Arena
        Where large arrays come from.
    """

    dialect: Dialect
    rng: np.random.Generator
    net: Shape
    truth: F32 | None = None
    seen: int = 0
    batch: int = 1
    wants_delta: bool = True
    time_steps: int = 1
    state: dict[str, F32] = field(default_factory=dict)
    arena: Arena = field(default_factory=Arena)


@dataclass(frozen=True)
class Backward:
    """What a layer gives on the way back; deltas and updates are minus the gradient of the loss.

    Attributes
    ----------
    deltas : tuple of float32 arrays like the inputs, or None
        Of each source, in order; None where nothing goes back.
    updates : mapping from name to float32 array
        Of the parameters that learn, under their names, of this pass alone.
    delta : float32 array like the output, or None
        What Darknet leaves as the layer's own delta; None where that is what came in.
    overwrites : bool
        Whether ``deltas`` replace what other readers of the source have given back, as a program
        is coded; else they add up.
    """

    deltas: tuple[F32 | None, ...]
    updates: Mapping[str, F32] = field(default_factory=dict)
    delta: F32 | None = None
    overwrites: bool = False


@dataclass(frozen=True)
class Forward:
    """What a layer gives in training.

    Attributes
    ----------
    y : float32 array (n, *shape)
    back : function
        ``back(delta_y) -> Backward``, for the delta of the output, an array like ``y`` that it may
        overwrite.  It may be called once.
    loss : float or None
        What the layer adds to the loss, summed over the batch; its ``back`` adds what follows from
        it to ``delta_y``.  None where it has nothing to do with a truth.
    changes : mapping from name to float32 array
        New values of parameters that no gradient moves: rolling statistics.
    """

    y: F32
    back: Callable[[F32], Backward]
    loss: float | None = None
    changes: Mapping[str, F32] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a layer takes for one image: floating-point operations (a multiply-add is two)."""

    flops: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer(Options, ABC):
    """A section of a cfg behind ``[net]``: one subclass a kind, in a file of its own.

    A subclass says in ``names`` how its section is called (Darknet's long name first), declares
    its options as fields, and overrides what is different from a layer without parameters that
    keeps the shape of its input.
    """

    names: ClassVar[tuple[str, ...]]
    extended: ClassVar[bool] = False  # only AlexeyAB's fork has it
    original: ClassVar[bool] = False  # only pjreddie's Darknet has it
    is_loss: ClassVar[bool] = False  # computes nothing in inference: never an output
    recurrent: ClassVar[bool] = False  # remembers the images before in a sequence

    dontload: bool = option(False)
    dontloadscales: bool = option(False)
    dontsave: bool = option(False, original=True)
    numload: int = option(0, at_least=0, original=True)
    learning_rate: float = option(1.0)
    stopbackward: int = option(0)
    onlyforward: bool = option(False)
    clip: float | None = option(None)
    truth: bool = option(False, original=True)
    smooth: float = option(0.0, original=True)
    dont_update: int = option(0, extended=True)
    burnin_update: float = option(0.0, extended=True)
    train_only_bn: bool = option(False, extended=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the layers whose outputs layer ``index`` reads; -1 is the network's input."""
        return (index - 1,)

    def shared_with(self, index: int) -> int | None:
        """Return the layer whose parameters this one uses instead of its own, or None."""
        return None

    def out_shape(self, xs: Shapes) -> Shape:
        """Return the shape of the output.

        Raises
        ------
        ShapeError
            The inputs do not fit; network.py adds the place.
        """
        return xs[0]

    def unequal_images(self, xs: Shapes) -> tuple[int, int] | None:
        """Return two of the inputs that have to be alike for the output to be an image, or None."""
        return None

    def check_inputs(
        self, makers: Sequence[Layer | None], xs: Shapes, dialect: Dialect
    ) -> Iterator[tuple[str | None, str]]:
        """Hold the options against what the layer reads, as ``check`` does among themselves.

        Parameters
        ----------
        makers : sequence of Layer or None
            What made each input: the source, or what it passes on unchanged; None is the network's
            input.
        xs : tuple of Shape
        dialect : Dialect

        Yields
        ------
        key, text : str or None, str
        """
        return iter(())

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Return the parameters, in the order of the file."""
        return ()

    def is_alias(self, xs: Shapes) -> bool:
        """Whether the output is the first input itself, so that there is nothing to do."""
        return False

    @abstractmethod
    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Build the forward step for inputs of these shapes."""

    def onnx(self, graph: Graph, values: Sequence[str], xs: Shapes, p: Params) -> str:
        """Add what the layer computes in inference to a graph, and return the output.

        Parameters
        ----------
        graph : Graph
        values : sequence of str
            The outputs of the sources.
        xs : tuple of Shape
            Their shapes.
        p : mapping from name to float32 array

        Raises
        ------
        ExportError
            ONNX's operators do not express it; onnx_export.py adds the place.
        """
        raise ExportError(f"[{self.names[0]}] is not expressed in ONNX")

    def forward(self, xs: Sequence[F32], p: Params, training: Training) -> Forward:
        """Compute the output in training, and prepare the way back.

        Everything may be float64 too, for checks of gradients; the results then are as well.

        Parameters
        ----------
        xs : sequence of float32 arrays (n, *shape)
            The outputs of the sources, not to be changed.
        p : mapping from name to float32 array
        training : Training

        Raises
        ------
        ShapeError
            The truth does not fit.
        TrainingError
            The layer cannot be trained.
        """
        raise TrainingError(f"[{self.names[0]}] has no gradient: it is for inference only")

    def infer(self, xs: Sequence[F32], p: Params, training: Training) -> F32:
        """Compute the output as in inference, of a layer whose step takes float64 as well."""
        shapes = tuple(
            Shape(x.shape[1], flat=True) if x.ndim == 2 else Shape(*x.shape[1:]) for x in xs
        )
        y = training.arena.empty((len(xs[0]), *self.out_shape(shapes).dims), xs[0].dtype)
        self.step(shapes, p, Setting(training.dialect, exact=True))(xs, y)
        return y

    def learns(self, dialect: Dialect) -> bool:
        """Whether an update changes the parameters that ``back`` gives updates of."""
        return not self.dont_update

    def cost(self, xs: Shapes) -> Cost:
        """Return what the layer takes for one image."""
        return Cost()

    def size_text(self) -> str:
        """Return the column ``size/stride`` of Darknet's table."""
        return ""

    # -- batch norm ------------------------------------------------------------------------

    @property
    def batch_norm(self) -> Literal["inside", "alone"] | None:
        """Whether the layer normalises what its own weights give, or does nothing else."""
        return None

    @property
    def is_linear(self) -> bool:
        """Whether a scale and shift of the output (of each filter) can go into the weights."""
        return False

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return what every batch norm of the layer amounts to in inference.

        The keys are what the names of its parameters begin with: ``""``, or the name of the part
        of the layer that has it and a dot.
        """
        return {}

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Return weights and biases with a scale and shift of each filter multiplied in.

        Of a layer with batch norm inside these are of what comes out of its weights, else of its
        output.  Only a layer with ``batch_norm`` inside or ``is_linear`` is asked.
        """
        return dict(p)

    def keeps_batch_norm(self) -> str | None:
        """Say why the layer's own batch norm cannot be folded; None where it can."""
        return None

    def edits_without_batch_norm(self) -> dict[str, str | None]:
        """Return the changes of options that turn batch norm off; None takes a line away."""
        return {}

    # -- what the size of a file that does not fit may tell ----------------------------------

    def filters_per_class(self) -> int:
        """Return how many filters of the layer before one class more would need; 0: none."""
        return 0


def resolve(reference: int, index: int) -> int:
    """Return the absolute layer number of a reference in layer ``index``."""
    return index + reference if reference < 0 else reference
