"""A step of training against the equations of batch norm in float64; what shares a mean."""

from __future__ import annotations

import numpy as np
import style
from experiment import TRAINING, Result, Setting, perceptron
from matplotlib.patches import Rectangle

import darknet_bn as dn


def equations(setting: Setting) -> Result:
    """Compare outputs, deltas and updates of each layer with the equations."""
    model = perceptron(True, rate=0.1)
    x = TRAINING.x[:60]
    state = dn.train_state(model)
    _, step = dn.train_step(state, x[..., None, None], TRAINING.truth[:60])
    lines = ["largest difference from the equations, relative to the largest value"]
    lines.append("  layer    output    delta     scales    biases")
    found = {}
    x = x.astype(np.float64)
    for layer in range(3):
        p = {name: array.astype(np.float64) for name, array in model.params[layer].items()}
        z = x @ p["weights"].T
        mean, m = z.mean(axis=0), len(z)
        variance = ((z - mean) ** 2).sum(axis=0) / (m - 1)
        sigma = np.sqrt(variance) + 1e-6
        x_norm = (z - mean) / sigma
        y = 1 / (1 + np.exp(-(p["scales"] * x_norm + p["biases"])))
        # The delta of the output comes from the next layer, through its weights.
        weights = model.params[layer + 1]["weights"].astype(np.float64)
        delta = step.deltas[layer + 1].reshape(m, -1).astype(np.float64) @ weights * y * (1 - y)
        g = delta * p["scales"]
        of_variance = (g * (z - mean)).sum(axis=0) * -1 / (2 * np.sqrt(variance) * sigma**2)
        of_z = g / sigma + of_variance * 2 * (z - mean) / (m - 1) - (g / sigma).mean(axis=0)
        pairs = (
            (step.outputs[layer].reshape(m, -1), y),
            (step.deltas[layer].reshape(m, -1), of_z),
            (step.updates[layer]["scales"], (delta * x_norm).sum(axis=0)),
            (step.updates[layer]["biases"], delta.sum(axis=0)),
        )
        errors = [float(np.abs(ours - exact).max() / np.abs(exact).max()) for ours, exact in pairs]
        found[layer] = errors
        lines.append(f"  {layer:<8}" + "".join(f" {error:<9.1e}" for error in errors).rstrip())
        x = y
    return Result("\n".join(lines), None, found)


def channels(setting: Setting) -> Result:
    """Draw which values share a mean and a variance."""
    figure, axes = style.panels(2, height=2.6)
    titles = (
        "[connected]: 4 images, 3 units",
        "[convolutional]: 4 images, 3 channels, 2 × 3 pixels",
    )
    for axis, title, (h, w) in zip(axes, titles, ((1, 1), (2, 3)), strict=True):
        for image in range(4):
            for channel, colour in enumerate((style.BLUE, style.ORANGE, style.GREEN)):
                for pixel in range(h * w):
                    row, column = divmod(pixel, w)
                    size = 0.86 / max(h, w)
                    x, y = channel + column * size, image + row * size
                    box = Rectangle((x, y), size * 0.88, size * 0.88, color=colour, lw=0)
                    axis.add_patch(box)
        axis.set(xlim=(-0.1, 3), ylim=(4, -0.1), aspect="equal")
        axis.set_title(title, fontsize=9)
        axis.set_xticks(np.arange(3) + 0.4, ["1", "2", "3"])
        axis.set_yticks(np.arange(4) + 0.4, ["1", "2", "3", "4"])
        axis.set(xlabel="unit" if h * w == 1 else "channel", ylabel="image")
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return Result("", figure)
