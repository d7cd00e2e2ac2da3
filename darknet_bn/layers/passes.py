"""What a layer is told of a pass, inference or training, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
class InferenceContext:
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
class TrainingContext:
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
        As in `InferenceContext`.
    state : dict of float32 arrays
        As in `InferenceContext`.
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
class Trained:
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
