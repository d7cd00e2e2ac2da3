"""What a layer receives for a pass, in inference or training, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.shape import Shape
from darknet_bn.work.memory import Arena

Inference: TypeAlias = Callable[[Sequence[F32], F32], None]
"""``step(xs, y)``: fill ``y`` (n, *shape) from the inputs, arrays (n, *shape) of the sources.

Every ``x[i]`` and ``y[i]`` is C-contiguous; the batch axis may have any stride.
"""


@dataclass(frozen=True)
class Prepared:
    """A step that can be prepared for arrays that it will get again and again.

    Attributes
    ----------
    bind : function
        ``bind(xs, y)`` returns a function without arguments that fills ``y`` from what is in ``xs``
        when it is called.
    """

    bind: Callable[[Sequence[F32], F32], Callable[[], None]]

    def __call__(self, xs: Sequence[F32], y: F32) -> None:
        """Fill ``y`` once."""
        self.bind(xs, y)()


def bound(step: Inference, xs: Sequence[F32], y: F32) -> Callable[[], None]:
    """Return a function that does what ``step(xs, y)`` does, for the same arrays again."""
    return step.bind(xs, y) if isinstance(step, Prepared) else partial(step, xs, y)


@dataclass(frozen=True)
class InferenceContext:
    """What a step needs to know in addition to its layer.

    Attributes
    ----------
    dialect : Dialect
    exact : bool
        Whether to keep Darknet's order of operations: batch norm after the convolution instead of
        folded into it, and no fast convolution algorithms.
    time_steps : int
        How many images make a sequence.  A batch contains the first image of every sequence, then
        the second image of every sequence, and so on.
    state : dict of float32 arrays
        What the layer remembers from earlier images, under its own names; empty at the beginning of
        a sequence.  The step changes it.
    before_norm : function
        ``before_norm(z, p)``, called with the input of a batch norm, (n, f, ...), if batch norm is
        a separate step, as with ``exact``.  Returns the parameters to normalise with.
    """

    dialect: Dialect
    exact: bool = False
    time_steps: int = 1
    state: dict[str, F32] = field(default_factory=dict)
    before_norm: Callable[[F32, Params], Params] = lambda z, p: p


@dataclass(frozen=True)
class TrainingContext:
    """What a training pass needs to know in addition to its layer.

    Attributes
    ----------
    dialect : Dialect
        The dialect whose formulas are used; ``dialect.sound`` for exact gradients.
    seed : sequence of int, or Generator
        What ``rng`` is made from, for this layer and this pass only.
    net : Shape
        Shape of the network's input.
    truth : float32 array (n, ...), or None
        The wanted outputs: (n, outputs), or (n, boxes, 5) with x, y, w, h and class of each box,
        relative to the image; x is 0 after the last box of an image.  Without a truth there is no
        loss.
    seen : int
        Number of images that the model has been trained with, including this pass.
    batch : int
        Number of images.
    wants_delta : bool
        Whether the first source needs a delta; the network's input does not.
    time_steps : int
        As in `InferenceContext`.
    state : dict of float32 arrays
        As in `InferenceContext`.
    arena : Arena
        The source of memory for large arrays.
    """

    dialect: Dialect
    seed: Sequence[int] | np.random.Generator
    net: Shape
    truth: F32 | None = None
    seen: int = 0
    batch: int = 1
    wants_delta: bool = True
    time_steps: int = 1
    state: dict[str, F32] = field(default_factory=dict)
    arena: Arena = field(default_factory=Arena)

    @cached_property
    def rng(self) -> np.random.Generator:
        """The generator, which is made only for a layer that asks for it: few do."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Backward:
    """The result of a layer's backward pass; deltas and updates are minus the gradient of the loss.

    Attributes
    ----------
    deltas : tuple of float32 arrays like the inputs, or None
        Delta of each source, in order; None if nothing goes back to it.
    updates : mapping from name to float32 array
        Updates of the parameters that learn, under their names, for this pass only.
    delta : float32 array like the output, or None
        What Darknet leaves as the layer's own delta; None if this is the delta passed in.
    overwrites : bool
        Whether ``deltas`` replace the deltas from other readers of the source, as some programs are
        coded; if not, they add up.
    """

    deltas: tuple[F32 | None, ...]
    updates: Mapping[str, F32] = field(default_factory=dict)
    delta: F32 | None = None
    overwrites: bool = False


@dataclass(frozen=True)
class Trained:
    """The result of a layer's forward pass in training.

    Attributes
    ----------
    y : float32 array (n, *shape)
    back : function
        ``back(delta_y) -> Backward``, for the delta of the output, an array like ``y`` that it may
        overwrite.  It may be called only once.
    loss : float or None
        The layer's part of the loss, summed over the batch; its ``back`` adds the resulting delta
        to ``delta_y``.  None if the layer does not use a truth.
    changes : mapping from name to float32 array
        New values of parameters that are not changed by gradients: rolling statistics.
    """

    y: F32
    back: Callable[[F32], Backward]
    loss: float | None = None
    changes: Mapping[str, F32] = field(default_factory=dict)
