"""Bias and activation in one go: the same bits as one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue

pytestmark = pytest.mark.usefixtures("each_kernel")

NAMES = [None, "linear", "relu", "relu6", "leaky", "revleaky", "relie", "mish", "logistic"]
SHAPES = [(6, 35), (6, 5, 7), (6, 3, 5, 7)]


def sums(shape: tuple[int, ...]) -> np.ndarray:
    """Values on both sides of every bend, and those that are not ordinary."""
    y = np.random.default_rng(7).standard_normal(shape, dtype=np.float32) * 6
    y[0].flat[:6] = np.inf, -np.inf, np.nan, -0.0, 1e-40, -1e-40
    return y


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "biased", "images_first"),
    list(itertools.product(SHAPES, (True, False), (True, False))),
)
def test_bias_then_activation(
    name: str | None, shape: tuple[int, ...], biased: bool, images_first: bool
) -> None:
    activation = None if name is None else ACTIVATIONS[name]
    biases = np.linspace(-2, 2, 9, dtype=np.float32) if biased else None
    expected = sums(shape)
    found = expected.copy()
    if images_first and len(shape) > 2:  # as the sums of several images lie in memory
        found = np.ascontiguousarray(found.swapaxes(0, 1)).swapaxes(0, 1)
    with np.errstate(all="ignore"):
        if biases is not None:
            expected += biases[2:8].reshape(-1, *[1] * (len(shape) - 1))
        if activation is not None:
            activation.apply(expected)
        Epilogue(biases, activation).apply(found, slice(2, 8))
    np.testing.assert_array_equal(found, expected)


def test_a_bend_is_its_function() -> None:
    """The two numbers of a row say the same as its function."""
    x = np.linspace(-20, 20, 4001, dtype=np.float32)
    bent = [row for row in ACTIVATIONS.values() if row.bend is not None]
    assert {row.name for row in bent} == {"linear", "relu", "relu6", "leaky", "revleaky", "relie"}
    for row in bent:
        slope, top = row.bend or (0, 0)
        found = x.copy()
        row.apply(found)
        np.testing.assert_array_equal(found, np.minimum(np.where(x < 0, slope * x, x), top))
