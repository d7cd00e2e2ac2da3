"""What batch norm does to training, measured on handwritten digits; draws the pictures beside it.

    python examples/batchnorm/batchnorm.py            all measurements, about a minute
    python examples/batchnorm/batchnorm.py rates      one of them

Needs the extra ``examples``: scikit-learn for the digits, matplotlib for the pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits

import darknet_bn as dn

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
TEST = 360  # of the 1797 digits
NAMES = {True: "with batch norm", False: "without"}
COLOURS = {True: "#08519c", False: "#d94801"}


class Digits:
    """Some of scikit-learn's digits: 8 x 8 pixels from 0 to 1, and what they show."""

    def __init__(self, *, test: bool) -> None:
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        rows = order[:TEST] if test else order[TEST:]
        self.x = (digits.images[rows] / 16).astype(np.float32).reshape(-1, 64)
        self.kinds = digits.target[rows]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.x)

    def batch(self, indices: Sequence[int], rng: Any, *, shape: Any) -> tuple[Any, Any]:
        """Return some of them, as the training loop asks for them."""
        return self.x[indices], np.eye(10, dtype=np.float32)[self.kinds[indices]]


TRAINING, TESTING = Digits(test=False), Digits(test=True)


def perceptron(norm: bool, *, rate: float, batch: int = 60, scale: float = 1.0) -> dn.Model:
    """Build the net of the paper's first experiment: three hidden layers of 100 sigmoid units.

    The initial weights are small random numbers, times ``scale``.
    """
    hidden = f"[connected]\noutput=100\nactivation=logistic\nbatch_normalize={int(norm)}\n"
    text = f"""[net]
batch={batch}
inputs=64
learning_rate={rate}
momentum=0
decay=0
max_batches=1
{hidden * 3}[connected]
output=10
activation=linear
[softmax]
"""
    model = dn.load(text.encode(), None, dialect="pjreddie", seed=1)
    params = []
    for p in model.params:
        weights = {"weights": p["weights"] * np.float32(scale)} if "weights" in p else {}
        params.append({**p, **weights})
    return replace(model, params=tuple(params))


def training(model: dn.Model, steps: int) -> Iterator[dn.TrainState]:
    """Train for some steps; ends where the loss is no number any more."""
    try:
        for progress in dn.train(dn.train_state(model), TRAINING, iterations=steps):
            yield progress.state
    except dn.TrainingError:
        return


def accuracy(model: dn.Model) -> float:
    """Return the share of the test digits that are recognised, with moving averages."""
    *_, outputs = dn.forward(model, TESTING.x).values()
    return float((outputs.argmax(axis=1) == TESTING.kinds).mean())


def trained(model: dn.Model, steps: int) -> float:
    """Return the accuracy after some steps; 0 where training broke off."""
    states = list(training(model, steps))
    return accuracy(states[-1].model) if len(states) == steps else 0.0


def in_batch(model: dn.Model, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Return the outputs of all layers when batch norm takes the statistics of these digits."""
    state = dn.train_state(model)
    truth = np.eye(10, dtype=np.float32)[np.zeros(len(rows), int)]
    return dict(dn.train_step(state, rows, truth)[1].outputs)


def picture(name: str, draw: Callable[[Any], None], columns: int = 1) -> None:
    """Draw axes side by side and save them."""
    figure, axes = plt.subplots(1, columns, figsize=(4.4 * columns + 0.6, 3.6), squeeze=False)
    draw(axes[0] if columns > 1 else axes[0][0])
    figure.tight_layout()
    figure.savefig(HERE / f"{name}.png", dpi=90)
    plt.close(figure)


def curves() -> None:
    """Accuracy against steps, and how the input of the last hidden layer's units drifts."""
    steps, shown = 3000, (100, 300, 1000, 3000)
    rows = TRAINING.x[:500]
    lines = ["accuracy after    " + "".join(f"{step:>9}" for step in shown)]
    found: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
    drift: dict[bool, list[tuple[int, np.ndarray]]] = {True: [], False: []}
    for norm in (True, False):
        for state in training(perceptron(norm, rate=0.1), steps):
            if state.iteration % 50 == 0 or state.iteration in (1, 5, 10, 20):
                found[norm].append((state.iteration, accuracy(state.model)))
                y = np.clip(in_batch(state.model, rows)[2], 1e-7, 1 - 1e-7)[:, :, 0, 0]
                sums = np.log(y / (1 - y))[:, 0]  # what goes into a typical unit
                drift[norm].append((state.iteration, np.percentile(sums, (15, 50, 85))))
        at = dict(found[norm])
        lines.append(f"  {NAMES[norm]:<16}" + "".join(f"{at[step]:>9.1%}" for step in shown))

    def draw(axes: Any) -> None:
        for norm in (True, False):
            axes[0].plot(*zip(*found[norm], strict=True), color=COLOURS[norm], label=NAMES[norm])
            steps_of, bands = zip(*drift[norm], strict=True)
            low, middle, high = np.array(bands).T
            axes[1 + (not norm)].plot(steps_of, middle, color=COLOURS[norm])
            axes[1 + (not norm)].fill_between(steps_of, low, high, color=COLOURS[norm], alpha=0.25)
            axes[1 + (not norm)].set(xlabel="step", title=f"input of a unit, {NAMES[norm]}")
        axes[0].set(xlabel="step", ylabel="accuracy", title="test accuracy", ylim=(0, 1))
        axes[0].legend()

    print("\n".join(lines))
    picture("curves", draw, 3)


def rates() -> None:
    """Accuracy after 300 steps, over learning rates and scales of the initial weights."""
    learning = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    scales = (0.01, 0.1, 1.0, 10.0)
    table = {}
    for norm in (True, False):
        for scale in scales:
            for rate in learning:
                table[norm, scale, rate] = trained(perceptron(norm, rate=rate, scale=scale), 300)
    for norm in (True, False):
        print(f"accuracy after 300 steps, {NAMES[norm]}")
        print("  weights x  rate " + "".join(f"{rate:>8g}" for rate in learning))
        for scale in scales:
            cells = "".join(f"{table[norm, scale, rate]:>8.1%}" for rate in learning)
            print(f"  {scale:>16g} {cells}")

    def draw(axes: Any) -> None:
        for axis, norm in zip(axes, (True, False), strict=True):
            for scale, style in zip(scales, (":", "-.", "-", "--"), strict=True):
                values = [table[norm, scale, rate] for rate in learning]
                label = f"initial weights x {scale:g}"
                axis.plot(learning, values, style, color=COLOURS[norm], label=label)
            axis.set(xscale="log", xlabel="learning rate", ylim=(0, 1), title=NAMES[norm])
            axis.legend(loc="lower right", fontsize=8)
        axes[0].set_ylabel("accuracy after 300 steps")

    picture("rates", draw, 2)


def statistics() -> None:
    """Mini-batch statistics against moving averages: how they meet."""
    found: list[tuple[int, float, float, float]] = []
    for state in training(perceptron(True, rate=0.3), 600):
        step, model = state.iteration, state.model
        if step % 10 == 0:
            outputs = in_batch(model, TESTING.x)[4]
            own = float((outputs.argmax(axis=1) == TESTING.kinds).mean())
            sums = TRAINING.x @ model.params[0]["weights"].T
            spread = sums.var(axis=0, ddof=1)
            found.append(
                (
                    step,
                    accuracy(model),
                    own,
                    float(np.median(model.params[0]["rolling_variance"] / spread)),
                )
            )
    print("step   moving averages   statistics of the test digits   variance, moving / all data")
    for step, moving, own, share in found:
        if step in (10, 50, 100, 200, 600):
            expected = 1 - 0.99**step
            print(
                f"{step:>4}{moving:>18.1%}{own:>32.1%}{share:>20.3f} (1 - 0.99^t = {expected:.3f})"
            )

    def draw(axes: Any) -> None:
        steps, moving, own, share = zip(*found, strict=True)
        axes[0].plot(steps, own, color=COLOURS[False], label="statistics of the test digits")
        axes[0].plot(steps, moving, color=COLOURS[True], label="moving averages")
        axes[0].set(xlabel="step", ylabel="accuracy", ylim=(0, 1), title="test accuracy")
        axes[0].legend()
        axes[1].plot(steps, share, color=COLOURS[True], label="measured (median)")
        axes[1].plot(steps, 1 - 0.99 ** np.array(steps), "k:", label="1 - 0.99^t")
        axes[1].set(xlabel="step", title="moving variance / variance of all data", ylim=(0, 1.2))
        axes[1].legend()

    picture("statistics", draw, 2)


def batches() -> None:
    """Batch sizes from 2 to all data; 1 has no variance."""
    everything, epochs = len(TRAINING), 20
    found: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
    for norm in (True, False):
        for size in (1, 2, 4, 8, 32, 128, 512, everything):
            model = perceptron(norm, rate=0.3, batch=size)
            steps = min(4000, max(1, epochs * everything // size))
            found[norm].append((size, trained(model, steps)))
    print(f"accuracy after {epochs} epochs (4000 steps at most), rate 0.3")
    print("  batch            " + "".join(f"{size:>8}" for size, _ in found[True]))
    for norm in (True, False):
        print(f"  {NAMES[norm]:<16} " + "".join(f"{value:>8.1%}" for _, value in found[norm]))

    def draw(axes: Any) -> None:
        for norm in (True, False):
            sizes, values = zip(*found[norm], strict=True)
            axes.plot(sizes, values, "o-", color=COLOURS[norm], label=NAMES[norm])
        axes.set(xscale="log", xlabel="batch", ylabel="accuracy", ylim=(0, 1))
        axes.set_title(f"test accuracy after {epochs} epochs")
        axes.legend()

    picture("batches", draw)


def equations() -> None:
    """Each layer of a step against the equations, written out in float64."""
    model = perceptron(True, rate=0.1)
    rows, kinds = TRAINING.x[:60], TRAINING.kinds[:60]
    _, step = dn.train_step(dn.train_state(model), rows, np.eye(10, dtype=np.float32)[kinds])
    print("largest difference from the equations, as a part of the largest value")
    print("  layer    forward   delta     scales    biases")
    x = rows.astype(np.float64)
    for layer in range(3):
        p = {name: array.astype(np.float64) for name, array in model.params[layer].items()}
        z = x @ p["weights"].T
        mean, n = z.mean(axis=0), len(z)
        variance = ((z - mean) ** 2).sum(axis=0) / (n - 1)
        sigma = np.sqrt(variance) + 1e-6
        x_norm = (z - mean) / sigma
        y = 1 / (1 + np.exp(-(p["scales"] * x_norm + p["biases"])))
        # The delta of the output comes from the layer behind, through its weights.
        behind = model.params[layer + 1]["weights"].astype(np.float64)
        after = step.deltas[layer + 1].reshape(n, -1).astype(np.float64)
        delta = after @ behind * y * (1 - y)
        scales, biases = (delta * x_norm).sum(axis=0), delta.sum(axis=0)
        g = delta * p["scales"]
        of_variance = (g * (z - mean)).sum(axis=0) * -1 / (2 * np.sqrt(variance) * sigma**2)
        of_z = g / sigma + of_variance * 2 * (z - mean) / (n - 1) - (g / sigma).mean(axis=0)
        pairs = (
            (step.outputs[layer].reshape(n, -1), y),
            (step.deltas[layer].reshape(n, -1), of_z),
            (step.updates[layer]["scales"], scales),
            (step.updates[layer]["biases"], biases),
        )
        errors = [np.abs(ours - exact).max() / np.abs(exact).max() for ours, exact in pairs]
        print(f"  {layer:<8}" + "".join(f"{error:<10.1e}" for error in errors))
        x = y


PARTS = {each.__name__: each for each in (curves, rates, statistics, batches, equations)}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
        print()
