"""What the measurements share: handwritten digits, nets, training, and how a part reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import darknet_bn as dn

TEST = 360  # of the 1797 digits
NAMES = {True: "with batch norm", False: "without"}

Params = Mapping[str, np.ndarray]
Keep = Callable[[Params], Params]


@dataclass(frozen=True)
class Setting:
    """How much is measured: all of it, or little enough for a test."""

    share: float = 1.0

    def steps(self, full: int) -> int:
        """Return how many training steps to take instead of ``full``."""
        return max(4, round(full * self.share))

    def some(self, full: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return all values, or the first and the last if little is measured."""
        return full if self.share == 1 else (full[0], full[-1])


FULL, SMALL = Setting(), Setting(0.02)


@dataclass(frozen=True)
class Result:
    """The results of a part: its table, its picture, and the values in them."""

    table: str = ""
    figure: Figure | None = None
    values: Mapping[Any, Any] = field(default_factory=dict)


class Digits:
    """Some of scikit-learn's digits: 8 x 8 pixels from 0 to 1, and which digit each shows."""

    def __init__(self, x: np.ndarray, kinds: np.ndarray) -> None:
        self.x, self.kinds = x, kinds
        self.truth = np.eye(10, dtype=np.float32)[kinds]

    def __len__(self) -> int:
        """Return how many digits there are."""
        return len(self.x)

    def first(self, count: int) -> Digits:
        """Return the first digits."""
        return Digits(self.x[:count], self.kinds[:count])

    def times(self, factors: np.ndarray) -> Digits:
        """Return the digits with every pixel multiplied by its factor."""
        return Digits(self.x * factors.astype(np.float32), self.kinds)


def _digits() -> tuple[Digits, Digits]:
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32).reshape(-1, 64)
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:TEST], order[TEST:]
    return Digits(x[train], digits.target[train]), Digits(x[test], digits.target[test])


TRAINING, TESTING = _digits()


def build(
    *sections: str, rate: float, batch: int = 60, scale: float = 1.0, seed: int = 1
) -> dn.Model:
    """Build a net of 64 inputs, with 10 outputs and a softmax after its sections.

    The initial weights are small random numbers, times ``scale``.
    """
    head = f"batch={batch}\nchannels=64\nheight=1\nwidth=1\nlearning_rate={rate}\n"
    text = f"[net]\n{head}momentum=0\ndecay=0\nmax_batches=1\n{''.join(sections)}"
    text += "[connected]\noutput=10\nactivation=linear\n[softmax]\n"
    model = dn.load(text.encode(), None, dialect="pjreddie", seed=seed)
    params = []
    for p in model.params:
        weights = {"weights": p["weights"] * np.float32(scale)} if "weights" in p else {}
        params.append({**p, **weights})
    return replace(model, params=tuple(params))


def hidden(norm: bool, activation: str = "logistic") -> str:
    """Return a section of 100 units."""
    return f"[connected]\noutput=100\nactivation={activation}\nbatch_normalize={int(norm)}\n"


def perceptron(
    norm: bool, *, rate: float, depth: int = 3, activation: str = "logistic", **options: Any
) -> dn.Model:
    """Build a net of hidden layers of 100 units; with three of sigmoids it is the paper's."""
    return build(hidden(norm, activation) * depth, rate=rate, **options)


def batches(count: int, size: int) -> Iterator[np.ndarray]:
    """Yield the rows of one batch after the other; each epoch has a new order."""
    rng, left = np.random.default_rng(0), np.empty(0, np.intp)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(count)])
        yield left[:size]
        left = left[size:]


def training(
    model: dn.Model, steps: int, data: Digits = TRAINING, *, keep: Keep | None = None
) -> Iterator[tuple[dn.TrainState, dn.TrainStep]]:
    """Train for some steps; end early if the loss is not a number any more.

    After each step ``keep`` may restore parameters of every layer.
    """
    state = dn.train_state(model)
    rows = batches(len(data), model.network.net.batch)
    for _ in range(steps):
        now = next(rows)
        try:
            state, step = dn.train_step(state, data.x[now][..., None, None], data.truth[now])
        except dn.TrainingError:
            return
        if keep is not None:
            params = tuple(keep(p) for p in state.model.params)
            state = replace(state, model=replace(state.model, params=params))
        yield state, step


def outputs(model: dn.Model, x: np.ndarray) -> dict[int, np.ndarray]:
    """Return the outputs of all layers in inference, (n, units)."""
    found = dn.forward(model, x[..., None, None], layers="all")
    return {index: y.reshape(len(x), -1) for index, y in found.items()}


def accuracy(model: dn.Model, data: Digits = TESTING) -> float:
    """Return the share of digits that the model recognises, with its rolling statistics."""
    *_, y = outputs(model, data.x).values()
    return float((y.argmax(axis=1) == data.kinds).mean())


def trained(
    model: dn.Model, steps: int, data: Digits = TRAINING, **options: Any
) -> dn.Model | None:
    """Return the model after some steps, or None if training failed."""
    last, count = None, 0
    for state, _ in training(model, steps, data, **options):
        last, count = state.model, count + 1
    return last if count == steps else None


def score(model: dn.Model | None, data: Digits = TESTING) -> float:
    """Return the accuracy; 0 if training failed."""
    return 0.0 if model is None else accuracy(model, data)


def in_batch(model: dn.Model, x: np.ndarray) -> dict[int, np.ndarray]:
    """Return the outputs of all layers, normalised by the statistics of these digits."""
    truth = np.eye(10, dtype=np.float32)[np.zeros(len(x), int)]
    _, step = dn.train_step(dn.train_state(model), x[..., None, None], truth)
    return {index: y.reshape(len(x), -1) for index, y in step.outputs.items()}


def inverse_sigmoid(y: np.ndarray) -> np.ndarray:
    """Return the input of a sigmoid with this output."""
    y = np.clip(y, 1e-7, 1 - 1e-7)
    return np.log(y / (1 - y))
