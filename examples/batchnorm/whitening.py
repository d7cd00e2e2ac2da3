"""Normalising outside the gradient, and what scale and shift give back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import style
from experiment import (
    TRAINING,
    Keep,
    Params,
    Result,
    Setting,
    accuracy,
    build,
    in_batch,
    inverse_sigmoid,
    perceptron,
    training,
)

from darknet_bn import kernels as k

RATE = 0.5


def with_bias(u: np.ndarray, truth: np.ndarray, how: str, steps: int) -> list[tuple[float, float]]:
    """Train one bias by gradient descent; return loss and bias before each step.

    Parameters
    ----------
    u, truth : float32 arrays (n, 1, 1)
        The layer's inputs, and the target outputs.
    how : {"outside", "through", "after"}
        Whether the bias comes before the normalisation, whose gradient ignores the statistics or
        includes them; or after it, where batch norm has its own bias.
    steps : int
    """
    bias, n, found = np.zeros(1, np.float32), len(u), []
    p = {**k.make_batchnorm_layer(1), "biases": bias}
    for _ in range(steps):
        p["biases"] = bias if how == "after" else np.zeros(1, np.float32)
        x = u if how == "after" else k.add_bias(u, bias)
        done = k.forward_batchnorm_layer(x, p, train=True, dialect="pjreddie")
        delta = truth - done.y  # minus the gradient of half the squared error
        found.append((float((delta**2).mean() / 2), float(bias[0])))
        if how == "through":
            delta = k.backward_batchnorm_layer(delta, p, done.saved, dialect="pjreddie").delta_x
        elif how == "outside":
            delta = delta / (np.sqrt(done.saved.variance) + np.float32(1e-6))
        bias = k.axpy_cpu(RATE / n, k.backward_bias(np.zeros(1, np.float32), delta), 1, bias, 1)
    return found


def outside(setting: Setting) -> Result:
    """Loss and bias, for a bias before and after the normalisation."""
    steps = setting.steps(41)
    rng = np.random.default_rng(0)
    u = rng.standard_normal((60, 1, 1), np.float32)
    truth = (u + 1).astype(np.float32)
    ways = {
        "outside": "before, statistics left out of the gradient",
        "through": "before, statistics in the gradient",
        "after": "after: the shift of batch norm",
    }
    found = {how: np.array(with_bias(u, truth, how, steps)) for how in ways}
    shown = [step for step in (0, 1, 5, 10, 20, 40) if step < steps]
    lines = [f"{'where the bias stands':<44} step" + "".join(f"{step:>8}" for step in shown)]
    for how, name in ways.items():
        loss, bias = found[how][shown].T
        lines.append(f"  {name:<42} bias" + "".join(f"{each:>8.3f}" for each in bias + 0.0))
        lines.append(f"  {'':<42} loss" + "".join(f"{each:>8.3f}" for each in loss))

    figure, axes = style.panels(2)
    colours = (style.ORANGE, style.PURPLE, style.BLUE)
    for column, (axis, title) in enumerate(zip(axes, ("loss", "bias"), strict=True)):
        for (how, name), colour in zip(ways.items(), colours, strict=True):
            dashes = "--" if how == "through" else "-"
            axis.plot(found[how][:, column], dashes, color=colour, label=name.replace(", ", ",\n"))
        axis.set(xlabel="step", title=title)
    axes[0].set_ylim(bottom=0)
    axes[0].legend(loc="center right", fontsize=9)
    axes[1].set_yticks(range(0, 21, 5))
    return Result("\n".join(lines), figure, found)


def linear_part(setting: Setting) -> Result:
    """Where normalised inputs fall on the sigmoid, and how far scales have stretched them."""
    steps = setting.steps(2000)
    *_, (state, _) = training(perceptron(True, rate=1.0), steps)
    x = TRAINING.x[:500]
    found: dict[str, np.ndarray] = {}
    start = perceptron(True, rate=1.0)
    for title, model in {"before training": start, f"after {steps} steps": state.model}.items():
        found[title] = inverse_sigmoid(in_batch(model, x)[2]).ravel()
    share = {title: float((np.abs(z) < 1).mean()) for title, z in found.items()}
    scales = np.concatenate([p["scales"] for p in state.model.params[:3]])
    biases = np.concatenate([p["biases"] for p in state.model.params[:3]])
    lines = ["inputs of the last hidden layer's sigmoids  between -1 and 1"]
    lines += [f"  {title:<42}{each:>16.0%}" for title, each in share.items()]
    lines.append("parameters after training                    5th     50th  95th percentile")
    for name, values in {"scales": scales, "biases": biases}.items():
        low, middle, high = np.percentile(values, (5, 50, 95))
        lines.append(f"  {name:<38}{low:>8.2f}{middle:>9.2f}{high:>6.2f}")

    figure, axes = style.panels(2)
    z = np.linspace(-5, 5, 200)
    axes[0].plot(z, 1 / (1 + np.exp(-z)), color=style.BLUE, label="sigmoid")
    inside = np.array([-2, 2])
    axes[0].plot(inside, 0.5 + inside / 4, "--", color=style.ORANGE, label="its tangent at 0")
    axes[0].axvspan(-1, 1, color=style.GREY, alpha=0.2, lw=0)
    axes[0].set(title="between -1 and 1 a sigmoid is a line", xlabel="input", ylabel="output")
    axes[0].legend()
    bins = np.linspace(-5, 5, 51)
    for (title, values), colour in zip(found.items(), (style.ORANGE, style.BLUE), strict=True):
        axes[1].hist(values, bins, histtype="step", lw=2, color=colour, label=title, density=True)
    axes[1].axvspan(-1, 1, color=style.GREY, alpha=0.2, lw=0)
    axes[1].set(title="inputs of the last hidden layer", xlabel="input", ylabel="density")
    axes[1].legend(loc="upper right", fontsize=9)
    return Result("\n".join(lines), figure, {"share": share, "scales": scales})


def frozen(setting: Setting) -> Result:
    """Accuracy with scales and biases held at 1 and 0."""
    steps = setting.steps(1000)
    shown = tuple(max(1, steps * part // 20) for part in (1, 2, 6, 20))
    zero, one = np.zeros(100, np.float32), np.ones(100, np.float32)

    def keep(*names: str) -> Keep:
        start = {"scales": one, "biases": zero}

        def put_back(p: Params) -> Params:
            return {**p, **{name: start[name] for name in names}} if "scales" in p else p

        return put_back

    ways: Mapping[str, tuple[str, ...]] = {
        "both trained": (),
        "scales held at 1": ("scales",),
        "biases held at 0": ("biases",),
        "both held": ("scales", "biases"),
    }
    nets = {name: (perceptron(True, rate=0.3), keep(*held)) for name, held in ways.items()}
    nets["no hidden layer at all"] = (build(rate=0.3), keep())
    found: dict[str, dict[int, float]] = {name: {} for name in nets}
    losses: dict[str, float] = {}
    for name, (model, put_back) in nets.items():
        recent = []
        for state, step in training(model, steps, keep=put_back):
            recent.append(step.loss)
            if state.iteration in shown:
                found[name][state.iteration] = accuracy(state.model)
        losses[name] = float(np.mean(recent[-24:]))  # an epoch
    head = "".join(f"{step:>8}" for step in shown)
    lines = [f"test accuracy after step{head}   training loss at the end"]
    for name, values in found.items():
        cells = "".join(f"{values[step]:>8.1%}" for step in shown)
        lines.append(f"  {name:<22}{cells}{losses[name]:>27.4f}")
    return Result("\n".join(lines), None, {"accuracy": found, "loss": losses})
