"""What training carries from one step to the next."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import DarknetWarning, TrainingError
from darknet_bn.model.model import Model
from darknet_bn.values import brief, fields_of
from darknet_bn.work.memory import Arena

Arrays = Mapping[str, F32]

_NOT_DONE = (  # options of [net] that AlexeyAB's program trains with, most of them only on the GPU
    "adversarial_lr",
    "attention",
    "badlabels_rejection_percentage",
    "contrastive",
    "dynamic_minibatch",
    "ema_alpha",
    "equidistant_point",
    "num_sigmas_reject_badlabels",
    "track",
    "unsupervised",
    "weights_reject_freq",
)


@dataclass(frozen=True, eq=False)
class TrainState:
    """A model in training.  It never changes: a step returns a new one.

    Attributes
    ----------
    model : Model
        A model like any other, with what it has learnt so far.
    seed : int
        The seed of everything random: pictures, dropout, the policy ``random``.
    iteration : int
        How many updates have been made.
    dialect : Dialect
        Whose formulas the backward pass uses.
    updates : tuple of mappings from name to float32 array
        For each layer, what momentum keeps of the updates; with Adam, the first moments.
    squares : tuple of mappings from name to float32 array
        With Adam, the second moments.
    memory : tuple of mappings from name to float32 array
        What recurrent layers remember from one batch to the next.
    arena : Arena
        The source of large arrays; the states of one training share it.
    """

    model: Model
    seed: int
    iteration: int
    dialect: Dialect
    updates: tuple[Arrays, ...] = field(repr=False)
    squares: tuple[Arrays, ...] = field(repr=False)
    memory: tuple[Arrays, ...] = field(repr=False)
    arena: Arena = field(default_factory=Arena, repr=False)

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"at iteration {self.iteration}, seed {self.seed}: {self.model!r}")

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled: everything but the arena, which holds nothing of value."""
        state = fields_of(self)
        del state["arena"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take what was pickled."""
        self.__dict__.update(state, arena=Arena())

    @property
    def as_coded(self) -> bool:
        """Whether the backward pass is the program's, approximations included."""
        return not self.dialect.exact_gradients

    @property
    def seen(self) -> int:
        """How many images the model has been trained with, as in the header of its weights."""
        return self.model.header.seen


def train_state(model: Model, seed: int = 0, *, as_coded: bool = False) -> TrainState:
    """Start training a model.

    Parameters
    ----------
    model : Model
        `load` gives one with initial weights if it gets no weights file.
    seed : int
        The seed of everything random.
    as_coded : bool
        Whether the backward pass is the CPU program's, with its approximations, untrained biases
        and deltas that overwrite each other; else gradients are exact.

    Returns
    -------
    TrainState

    Raises
    ------
    TrainingError
        There are no parameters that can be trained.

    Warns
    -----
    DarknetWarning
        An option asks for something in training that is not supported.

    Notes
    -----
    The iteration count continues from ``seen`` in the header of the weights, as in Darknet.
    """
    net, nodes = model.network.net, model.network.nodes
    if not any(node.params for node in nodes):
        raise TrainingError("the model has no trainable parameters")
    for key in _NOT_DONE:
        if net.value(key):
            where = model.cfg.where(0)
            where = replace(where, key=key)
            warnings.warn(
                f"{where}: not supported in training; the option is ignored",
                DarknetWarning,
                stacklevel=2,
            )
    nothing: tuple[Arrays, ...] = tuple({} for _ in nodes)
    dialect = model.dialect if as_coded else model.dialect.sound
    iteration = model.header.seen // (net.batch * model.network.time_steps)
    return TrainState(model, seed, iteration, dialect, nothing, nothing, nothing)
