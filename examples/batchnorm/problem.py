"""The problem: gradients by depth, inputs that drift, careless rates and initial weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import style
from experiment import (
    NAMES,
    TRAINING,
    Result,
    Setting,
    accuracy,
    in_batch,
    inverse_sigmoid,
    perceptron,
    score,
    trained,
    training,
)

COLOURS = {True: style.WITH, False: style.WITHOUT}


def first_step(norm: bool, depth: int, activation: str, scale: float) -> list[float]:
    """Return the largest update of the weights of each hidden layer in the first step."""
    model = perceptron(norm, rate=0.1, depth=depth, activation=activation, scale=scale)
    ((_, step),) = training(model, 1)
    return [float(np.abs(step.updates[layer]["weights"]).max()) for layer in range(depth)]


def depth(setting: Setting) -> Result:
    """Largest update of the first layer by depth: it vanishes, or explodes, or stays."""
    depths = setting.some((1, 2, 3, 4, 5, 6, 7, 8))
    nets = {"sigmoid": ("logistic", 1.0), "ReLU, initial weights × 10": ("relu", 10.0)}
    found = {
        (title, norm): [first_step(norm, count, *net)[0] for count in depths]
        for title, net in nets.items()
        for norm in (True, False)
    }
    layers = {norm: first_step(norm, 8, "logistic", 1.0) for norm in (True, False)}
    lines = ["largest update of each layer's weights, 8 sigmoid layers, first step"]
    lines.append("  layer           " + "".join(f"{layer:>9}" for layer in range(1, 9)))
    for norm in (True, False):
        lines.append(f"  {NAMES[norm]:<16}" + "".join(f"{each:>9.2g}" for each in layers[norm]))
    lines.append("largest update of the first layer's weights, by the number of layers")
    lines.append("  layers                     " + "".join(f"{count:>9}" for count in depths))
    for (title, norm), updates in found.items():
        name = f"{title.partition(',')[0]}, {NAMES[norm]}"
        lines.append(f"  {name:<27}" + "".join(f"{each:>9.2g}" for each in updates))

    figure, axes = style.panels(2)
    for axis, title, verb in zip(axes, nets, ("vanishes", "explodes"), strict=True):
        for norm in (True, False):
            name = NAMES[norm] if norm else f"without: it {verb}"
            axis.plot(depths, found[title, norm], "o-", color=COLOURS[norm], label=name)
        axis.set(yscale="log", xlabel="hidden layers", title=title)
        axis.minorticks_off()
        axis.legend()
    axes[0].set_ylabel("largest update, first layer")
    return Result("\n".join(lines), figure, {**found, "layers": layers})


def curves(setting: Setting) -> Result:
    """Accuracy by step, and how the input of a unit of the last hidden layer drifts."""
    steps = setting.steps(3000)
    shown = tuple(max(1, steps * part // 30) for part in (1, 3, 10, 30))
    found: dict[bool, dict[int, float]] = {True: {}, False: {}}
    drift: dict[bool, dict[int, np.ndarray]] = {True: {}, False: {}}
    for norm in (True, False):
        for state, _ in training(perceptron(norm, rate=0.1), steps):
            at = state.iteration
            if at % max(1, steps // 60) == 0 or at in (1, 5, 10, 20, *shown):
                found[norm][at] = accuracy(state.model)
                inputs = inverse_sigmoid(in_batch(state.model, TRAINING.x[:500])[2])
                drift[norm][at] = np.percentile(inputs[:, 0], (15, 50, 85))
    lines = ["accuracy after step " + "".join(f"{step:>8}" for step in shown)]
    for norm in (True, False):
        cells = "".join(f"{found[norm][step]:>8.1%}" for step in shown)
        lines.append(f"  {NAMES[norm]:<18}{cells}")

    figure, axes = style.panels(3, width=3.6)
    for norm, axis in zip((True, False), axes[1:], strict=True):
        axes[0].plot(*zip(*found[norm].items(), strict=True), color=COLOURS[norm])
        low, middle, high = np.array(list(drift[norm].values())).T
        axis.plot(list(drift[norm]), middle, color=COLOURS[norm], label="median")
        band = "15th to 85th percentile"
        axis.fill_between(list(drift[norm]), low, high, color=COLOURS[norm], alpha=0.3, label=band)
        axis.set(xlabel="step", title=f"input of a unit, {NAMES[norm]}")
        axis.legend(loc="upper left")
    axes[2].sharey(axes[1])
    axes[1].set_ylim(-2.2, 2.9)
    axes[1].set_ylabel("input of the sigmoid")
    axes[0].lines[0].set_label(NAMES[True])
    axes[0].lines[1].set_label(NAMES[False])
    axes[0].set(xlabel="step", ylabel="accuracy", title="test accuracy", ylim=(0, 1))
    axes[0].legend(loc="upper right", bbox_to_anchor=(1, 0.92))
    return Result("\n".join(lines), figure, {"accuracy": found, "drift": drift})


def rates(setting: Setting) -> Result:
    """Accuracy after 300 steps, over learning rates and scales of the initial weights."""
    learning = setting.some((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0))
    scales = setting.some((0.01, 0.1, 1.0, 10.0))
    steps = setting.steps(300)
    table: Mapping[tuple[bool, float, float], float] = {
        (norm, scale, rate): score(trained(perceptron(norm, rate=rate, scale=scale), steps))
        for norm in (True, False)
        for scale in scales
        for rate in learning
    }
    lines = []
    for norm in (True, False):
        lines.append(f"accuracy after {steps} steps, {NAMES[norm]}")
        lines.append("  initial weights   rate" + "".join(f"{rate:>7g}" for rate in learning))
        for scale in scales:
            cells = "".join(f"{table[norm, scale, rate]:>7.0%}" for rate in learning)
            lines.append(f"  {f'× {scale:g}':<22}{cells}")

    figure, axes = style.panels(2)
    for axis, norm in zip(axes, (True, False), strict=True):
        cells = np.array([[table[norm, scale, rate] for rate in learning] for scale in scales])
        axis.pcolormesh(cells, cmap="cividis", vmin=0, vmax=1)
        axis.invert_yaxis()
        for (row, column), value in np.ndenumerate(cells):
            colour = "#ffffff" if value < 0.6 else "#000000"
            axis.text(
                column + 0.5,
                row + 0.5,
                f"{value:.0%}",
                ha="center",
                va="center",
                color=colour,
                size=9,
            )
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_xticks(np.arange(len(learning)) + 0.5, [f"{rate:g}" for rate in learning])
        axis.set_yticks(np.arange(len(scales)) + 0.5, [f"× {scale:g}" for scale in scales])
        axis.set(xlabel="learning rate", title=NAMES[norm])
    axes[0].set_ylabel("initial weights")
    return Result("\n".join(lines), figure, table)
