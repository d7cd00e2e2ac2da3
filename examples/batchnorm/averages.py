"""Statistics for inference: what replaces the statistics of the mini-batch, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import style
from experiment import (
    TESTING,
    TRAINING,
    Params,
    Result,
    Setting,
    accuracy,
    in_batch,
    perceptron,
    training,
)

import darknet_bn as dn
from darknet_bn.kernels import axpy_cpu, scal_cpu

Pair = tuple[np.ndarray, np.ndarray]  # mean and variance
LAST = 20


class Averages:
    """Every way to average the statistics of one batch norm's mini-batches."""

    def __init__(self, f: int) -> None:
        self._steps = 0
        self._last: deque[Pair] = deque(maxlen=LAST)
        self._sums = self._zeros(f)
        self._rolling = {keep: self._zeros(f) for keep in (0.99, 0.9)}

    @staticmethod
    def _zeros(f: int) -> Pair:
        return np.zeros(f, np.float32), np.zeros(f, np.float32)

    def add(self, batch: Pair) -> None:
        """Take the mean and variance of one more mini-batch."""
        self._steps += 1
        self._last.append(batch)
        for index, new in enumerate(batch):
            axpy_cpu(1, new, 1, self._sums[index], 1, out=self._sums[index])
            for keep, rolling in self._rolling.items():  # as forward_batchnorm_layer does
                scal_cpu(keep, rolling[index], 1, out=rolling[index])
                axpy_cpu(1 - keep, new, 1, rolling[index], 1, out=rolling[index])

    def all(self) -> dict[str, Pair]:
        """Return the averages by name."""
        last = np.mean(self._last, axis=0, dtype=np.float32)
        return {
            "exponential, 0.99": self._rolling[0.99],
            "exponential, 0.9": self._rolling[0.9],
            f"mean of the last {LAST}": (last[0], last[1]),
            "mean of all": (self._sums[0] / self._steps, self._sums[1] / self._steps),
        }


def of_batch(before: Params, after: Params) -> Pair:
    """Return mean and variance of a mini-batch from the rolling statistics around its step."""
    keep = np.float64(np.float32(0.99))
    mean, variance = (
        ((after[name] - keep * before[name]) / (1 - keep)).astype(np.float32)
        for name in ("rolling_mean", "rolling_variance")
    )
    return mean, variance


def with_statistics(model: dn.Model, pairs: list[Pair]) -> dn.Model:
    """Return the model with these statistics, layer by layer."""
    params: list[Mapping[str, np.ndarray]] = list(model.params)
    for layer, (mean, variance) in enumerate(pairs):
        params[layer] = {**params[layer], "rolling_mean": mean, "rolling_variance": variance}
    return replace(model, params=tuple(params))


def averages(setting: Setting) -> Result:
    """Accuracy of the same net by step, with one kind of average or another."""
    steps = setting.steps(400)
    shown = [step for step in (1, 2, 5, 10, 20, 50, 100, 200, 400) if step <= steps]
    drawn = {*shown, *range(0, steps + 1, max(1, steps // 50))}
    every = [Averages(100) for _ in range(3)]
    found: dict[str, dict[int, float]] = {}
    grown: dict[int, float] = {}
    model = perceptron(True, rate=0.3)
    for state, _ in training(model, steps):
        pairs = zip(model.params[:3], state.model.params[:3], strict=True)
        for average, (before, after) in zip(every, pairs, strict=True):
            average.add(of_batch(before, after))
        step, model = state.iteration, state.model
        if step not in drawn:
            continue
        for name in every[0].all():
            statistics = [average.all()[name] for average in every]
            found.setdefault(name, {})[step] = accuracy(with_statistics(model, statistics))
        calibrated, _ = dn.calibrate(model, [TRAINING.x[..., None, None]])
        found.setdefault("calibrate", {})[step] = accuracy(calibrated)
        own = in_batch(model, TESTING.x)[4].argmax(axis=1) == TESTING.kinds
        found.setdefault("statistics of the test digits", {})[step] = float(own.mean())
        true = (TRAINING.x @ model.params[0]["weights"].T).var(axis=0, ddof=1)
        rolling = every[0].all()["exponential, 0.99"][1]
        grown[step] = float(np.median(rolling / true))
    lines = ["test accuracy after step         " + "".join(f"{step:>6}" for step in shown)]
    for name, values in found.items():
        lines.append(f"  {name:<31}" + "".join(f"{values[step]:>6.0%}" for step in shown))
    lines.append("  variance, 0.99, of the true one" + "".join(f"{grown[s]:>6.2f}" for s in shown))
    lines.append(
        "  1 - 0.99^t                     " + "".join(f"{1 - 0.99**s:>6.2f}" for s in shown)
    )

    figure, axes = style.panels(2)
    colours = (style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.GREY)
    for (name, values), colour in zip(found.items(), colours, strict=False):
        axes[0].plot(*zip(*values.items(), strict=True), color=colour, label=name)
    axes[0].set(xscale="log", xlabel="step", ylabel="accuracy", ylim=(0, 1), title="test accuracy")
    axes[0].legend(loc="lower right", fontsize=8, borderaxespad=0)
    at = np.array(list(grown))
    axes[1].plot(at, list(grown.values()), color=style.BLUE, label="measured (median of 100 units)")
    axes[1].plot(at, 1 - 0.99**at, ":", color=style.GREY, label=r"$1 - 0.99^t$")
    axes[1].set(xlabel="step", ylim=(0, 1), title="rolling variance / variance of all digits")
    axes[1].legend(loc="lower right")
    return Result("\n".join(lines), figure, {"accuracy": found, "grown": grown})
