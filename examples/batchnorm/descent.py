"""Vanilla, stochastic and mini-batch gradient descent, and batch sizes with batch norm."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import style
from experiment import NAMES, TRAINING, Result, Setting, perceptron, score, trained, training

import darknet_bn as dn

EVERYTHING = len(TRAINING)


def timed(model: dn.Model, steps: int) -> Iterator[tuple[dn.TrainState, dn.TrainStep, float]]:
    """Train, and return how many seconds each update took."""
    before = time.perf_counter()
    for state, step in training(model, steps):
        yield state, step, time.perf_counter() - before
        before = time.perf_counter()


def memory(size: int) -> float:
    """Return the most memory that an update takes, in MB, apart from data and parameters."""
    steps = training(perceptron(False, rate=0.1, activation="relu", batch=size), 2)
    next(steps)
    tracemalloc.start()
    next(steps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def descent(setting: Setting) -> Result:
    """Time and memory of an update, and the loss by epoch, for three batch sizes."""
    epochs, rate = 5, 0.05
    ways = {"vanilla": EVERYTHING, "mini-batch": 32, "stochastic": 1}
    lines = ["gradient descent  batch  updates  ms per  MB per  accuracy after"]
    lines.append(f"                         an epoch  update  update  {epochs} epochs")
    figure, axes = style.panels(2)
    colours = dict(zip(ways, (style.ORANGE, style.BLUE, style.GREEN), strict=True))
    found = {}
    for name, size in ways.items():
        model = perceptron(False, rate=rate, activation="relu", batch=size)
        steps = max(2, setting.steps(epochs * EVERYTHING // size))
        losses, times = [], []
        for state, step, seconds in timed(model, steps):
            model = state.model
            losses.append(step.loss)
            times.append(seconds)
        found[name] = score(model)
        ms, mb = float(np.median(times)) * 1e3, memory(size)
        cells = f"{size:>7}{-(-EVERYTHING // size):>9}{ms:>8.1f}{mb:>8.1f}{found[name]:>16.1%}"
        lines.append(f"  {name:<14}{cells}")
        width = max(1, 32 // size)  # average the same number of digits, so that lines can be read
        usable = len(losses) // width * width
        smooth = np.array(losses[:usable]).reshape(-1, width).mean(axis=1)
        x = (np.arange(len(smooth)) + 1) * width * size / EVERYTHING
        thin = 1 if size > 1 else 1.2
        axes[0].plot(x, smooth, "o-" if len(x) < 8 else "-", ms=4, lw=thin, color=colours[name])
        axes[0].lines[-1].set_label(f"{name}, batch {size}")
        if size > 1:
            axes[1].plot(range(1, min(101, len(losses)) + 1)[: len(losses)], losses[:101])
            axes[1].lines[-1].set(color=colours[name], marker="o" if len(losses) < 8 else "")
        else:
            shown = losses[:100]
            axes[1].plot(range(1, len(shown) + 1), shown, color=colours[name], lw=0.8)
    axes[0].set(xlabel="epochs", title="loss by epoch", ylim=(0, 3.6))
    axes[1].set(xlabel="updates", title="loss of each of the first 100 updates", ylim=(0, 3.6))
    axes[0].legend(loc="upper right", fontsize=9)
    return Result("\n".join(lines), figure, found)


def sizes(setting: Setting) -> Result:
    """Accuracy after 20 epochs by batch size; a batch of 1 has no variance."""
    epochs, most = 20, 2000
    found: dict[bool, dict[int, float]] = {True: {}, False: {}}
    for norm in (True, False):
        for size in setting.some((1, 2, 4, 8, 32, 128, 512, EVERYTHING)):
            model = perceptron(norm, rate=0.3, batch=size)
            steps = setting.steps(min(most, max(1, epochs * EVERYTHING // size)))
            found[norm][size] = score(trained(model, steps))
    lines = [f"test accuracy after {epochs} epochs ({most} steps at most), rate 0.3"]
    lines.append("  batch             " + "".join(f"{size:>7}" for size in found[True]))
    for norm in (True, False):
        lines.append(f"  {NAMES[norm]:<18}" + "".join(f"{v:>7.1%}" for v in found[norm].values()))

    figure, axis = style.panels(width=5.6)
    for norm, colour in ((True, style.WITH), (False, style.WITHOUT)):
        at = [size for size in found[norm] if size > 1 or not norm]
        values = [found[norm][size] for size in at]
        axis.plot(at, values, "o-", color=colour, label=NAMES[norm])
    axis.text(0.9, 0.5, "1: no variance,\nno number", fontsize=9, color=style.WITH)
    axis.set(xscale="log", xlabel="batch", ylabel="accuracy", ylim=(0, 1.02))
    axis.set_xticks(list(found[True]), [str(size) for size in found[True]])
    axis.minorticks_off()
    axis.set_title(f"test accuracy after {epochs} epochs")
    axis.legend(loc="center", bbox_to_anchor=(0.5, 0.5))
    return Result("\n".join(lines), figure, found)
