"""Batch norm at work: instead of dropout, with unequal features, before or after activations."""

from __future__ import annotations

import numpy as np
import style
from experiment import (
    TESTING,
    TRAINING,
    Result,
    Setting,
    build,
    hidden,
    perceptron,
    score,
    trained,
    training,
)
from experiment import accuracy as accuracy_of
from matplotlib.ticker import PercentFormatter

from darknet_bn.kernels import forward_batchnorm_layer, make_batchnorm_layer

DROPOUT = "[dropout]\nprobability=0.5\n"
NORM = "[batchnorm]\n"


def dropout(setting: Setting) -> Result:
    """Accuracy on few training digits and on others: none, dropout, batch norm, both."""
    few, steps, seeds = TRAINING.first(200), setting.steps(600), (1, 2, 3)
    ways = {
        "none": hidden(False, "relu"),
        "dropout": hidden(False, "relu") + DROPOUT,
        "batch norm": hidden(True, "relu"),
        "both": hidden(True, "relu") + DROPOUT,
    }
    found: dict[str, tuple[float, float]] = {}
    for name, layer in ways.items():
        models = [
            trained(build(layer * 3, rate=0.1, batch=50, seed=seed), steps, few) for seed in seeds
        ]
        found[name] = (
            float(np.mean([score(model, few) for model in models])),
            float(np.mean([score(model, TESTING) for model in models])),
        )
    lines = [f"after {steps} steps          200 training digits   360 test digits      gap"]
    for name, (train, test) in found.items():
        lines.append(f"  {name:<20}{train:>24.1%}{test:>18.1%}{train - test:>9.1%}")

    figure, axis = style.panels(width=4.6)
    for row, (train, test) in enumerate(found.values()):
        axis.plot([test, train], [row, row], color=style.GREY, lw=1.5, zorder=1)
        axis.scatter(test, row, color=style.BLUE, s=60, label="test digits" if not row else None)
        label = "training digits" if not row else None
        axis.scatter(train, row, color=style.ORANGE, s=60, label=label)
        axis.text(test, row - 0.3, f"{test:.1%}", ha="center", fontsize=9)
    axis.set_yticks(range(len(found)), list(found))
    axis.set_ylim(len(found) - 0.5, -0.8)
    axis.margins(x=0.12)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.set(xlabel="accuracy", title="the gap between training and test digits")
    axis.legend(loc="lower left", fontsize=9)
    return Result("\n".join(lines), figure, found)


def features(setting: Setting) -> Result:
    """Accuracy if all of 64 inputs, or one of them, are multiplied by 100."""
    steps = setting.steps(300)
    one = np.ones(64)
    one[28] = 100
    data = {"from 0 to 1": np.ones(64), "all × 100": np.full(64, 100.0), "one × 100": one}
    nets = {
        "without": hidden(False, "relu") * 3,
        "batch norm in the hidden layers": hidden(True, "relu") * 3,
        "and [batchnorm] before the first layer": NORM + hidden(True, "relu") * 3,
    }
    found = {
        (net, kind): score(
            trained(build(layers, rate=0.1), steps, TRAINING.times(factors)),
            TESTING.times(factors),
        )
        for net, layers in nets.items()
        for kind, factors in data.items()
    }
    head = "".join(f"{kind:>14}" for kind in data)
    lines = [f"{f'test accuracy after {steps} steps, inputs':<40}{head}"]
    for net in nets:
        lines.append(f"  {net:<38}" + "".join(f"{found[net, kind]:>14.1%}" for kind in data))
    return Result("\n".join(lines), None, found)


def order(setting: Setting) -> Result:
    """Accuracy by step with batch norm before and after the activation."""
    steps = setting.steps(1000)
    shown = tuple(max(1, steps * part // 20) for part in (1, 2, 6, 20))
    found = {}
    for activation, name in {"logistic": "sigmoid", "relu": "ReLU"}.items():
        ways = {
            f"{name}, none": hidden(False, activation),
            f"{name}, before the activation": hidden(True, activation),
            f"{name}, after the activation": hidden(False, activation) + NORM,
        }
        for way, layers in ways.items():
            states = training(build(layers * 3, rate=0.1), steps)
            at = {s.iteration: s.model for s, _ in states if s.iteration in shown}
            found[way] = [accuracy_of(at[step]) if step in at else 0.0 for step in shown]
    head = "".join(f"{step:>8}" for step in shown)
    lines = [f"test accuracy after step        {head}"]
    for way, values in found.items():
        lines.append(f"  {way:<30}" + "".join(f"{each:>8.1%}" for each in values))
    return Result("\n".join(lines), None, found)


def two_batches(setting: Setting) -> Result:
    """Draw the inputs of one unit for a bright and a dark batch, before and after batch norm."""
    model = perceptron(True, rate=0.3)
    sums = {
        name: (x @ model.params[0]["weights"].T)
        for name, x in {
            "bright batch": TRAINING.x[:300],
            "dark batch: other digits, × 0.4": TRAINING.x[300:600] * np.float32(0.4),
        }.items()
    }
    unit = int(np.argmax(np.abs(sums["bright batch"].mean(axis=0))))
    figure, axes = style.panels(2)
    values = {}
    lines = ["                                         mean  deviation"]
    for (name, z), colour in zip(sums.items(), (style.ORANGE, style.BLUE), strict=True):
        p = make_batchnorm_layer(z.shape[1])
        after = forward_batchnorm_layer(z, p, train=True, dialect="pjreddie").y
        for axis, when, column in zip(axes, ("before", "after"), (z, after), strict=True):
            one = column[:, unit]
            values[name, when] = (float(one.mean()), float(one.std(ddof=1)))
            axis.hist(one, 25, histtype="step", lw=2, color=colour, label=name)
            axis.set(title=f"{when} batch norm", xlabel="value of one unit")
            mean, deviation = (
                each + 0.0 if abs(each) > 5e-7 else 0.0 for each in values[name, when]
            )
            lines.append(f"  {name + ', ' + when:<40}{mean:>5.2f}{deviation:>10.2f}")
    axes[0].set_ylabel("digits")
    axes[0].set_ylim(top=axes[0].get_ylim()[1] * 1.25)
    axes[0].legend(loc="upper left", fontsize=9)
    axes[1].sharex(axes[0])
    return Result("\n".join(lines), figure, values)
