"""The learning rate of an iteration.  C: ``get_current_rate`` in ``src/network.c``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from darknet_bn.layers.net import Net


def learning_rate(net: Net, iteration: int, seed: int = 0) -> float:
    """Return the learning rate of an update, as ``policy`` of ``[net]`` says.

    Parameters
    ----------
    net : Net
    iteration : int
        The number of the update; the first is 1.
    seed : int
        The random seed for the policy ``random``.

    Notes
    -----
    C: ``get_current_rate``.  pjreddie's ``sigmoid`` subtracts unsigned numbers, so that its rate is
    0 before ``step``; this is the intended curve.
    """
    if iteration < net.burn_in:
        return float(net.learning_rate * (iteration / net.burn_in) ** net.power)
    if net.policy == "random":
        share = np.random.default_rng([seed, iteration]).random()
        return float(net.learning_rate * share**net.power)
    return _POLICIES[net.policy](net, iteration)


def _constant(net: Net, iteration: int) -> float:
    return net.learning_rate


def _step(net: Net, iteration: int) -> float:
    return net.learning_rate * net.scale ** (iteration // max(1, net.step))


def _steps(net: Net, iteration: int) -> float:
    rate = net.learning_rate
    for step, scale in zip(net.steps or (), net.scales or (), strict=False):
        if step > iteration:
            break
        rate *= scale
    return rate


def _exp(net: Net, iteration: int) -> float:
    return net.learning_rate * net.gamma**iteration


def _poly(net: Net, iteration: int) -> float:
    left = max(0.0, 1 - iteration / net.max_batches) if net.max_batches else 1.0
    return float(net.learning_rate * left**net.power)


def _sigmoid(net: Net, iteration: int) -> float:
    exponent = min(700.0, net.gamma * (iteration - net.step))
    return net.learning_rate / (1 + math.exp(exponent))


def _sgdr(net: Net, iteration: int) -> float:
    start, length = 0, net.sgdr_cycle or net.max_batches
    if length < 1:
        return net.learning_rate
    while start + length < iteration:
        start += length
        length *= max(1, net.sgdr_mult)
    turn = 0.5 * (1 + math.cos(math.pi * (iteration - start) / length))
    return net.learning_rate_min + (net.learning_rate - net.learning_rate_min) * turn


_POLICIES: Mapping[str, Callable[[Net, int], float]] = {
    "constant": _constant,
    "step": _step,
    "steps": _steps,
    "exp": _exp,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "sgdr": _sgdr,
}
