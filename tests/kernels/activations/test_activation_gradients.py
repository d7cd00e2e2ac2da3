"""The gradients of the activations: as a real program has them, and as derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.activations import ACTIVATIONS, activate_array, activate_training

pytestmark = pytest.mark.usefixtures("each_kernel")

EXACT, AS_CODED = dn.ALEXEYAB.sound, dn.ALEXEYAB
OVER_CHANNELS = [name for name, each in ACTIVATIONS.items() if each.over_channels]
ELEMENTWISE = [name for name, each in ACTIVATIONS.items() if not each.over_channels]
# These keep their input; the backward pass of all others needs only the output.
OF_INPUT = {"gelu", "swish", "mish", "hard_mish", "normalize_channels"}


def gradient(
    x: np.ndarray, name: str, dialect: Dialect, delta: np.ndarray | None = None
) -> np.ndarray:
    """What the delta becomes; one of ones becomes the gradient of every value by itself."""
    _, back = activate_training(x.copy(), name, dialect)
    return back(np.ones_like(x) if delta is None else delta.copy())


# -- as derivatives --------------------------------------------------------------------------


def test_derivative_of_each_value() -> None:
    # All kinks are at whole numbers.
    whole, part = np.meshgrid(np.arange(-9.0, 9), [0.02, 0.31, 0.5, 0.77, 0.98])
    x, step = whole + part, 1e-5
    for name in ELEMENTWISE:
        slope = (activate_array(x + step, name) - activate_array(x - step, name)) / (2 * step)
        # Rounding leaves 1e-15 / step; what the third derivative adds is as small.
        np.testing.assert_allclose(gradient(x, name, EXACT), slope, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", OVER_CHANNELS)
@pytest.mark.parametrize("shift", [0, -8])  # -8: here the 1e-4 in the divisor counts
def test_derivative_over_channels(name: str, shift: float) -> None:
    rng = np.random.default_rng(3)
    x = rng.permutation(np.linspace(-2, 2, 2 * 4 * 3 * 5)).reshape(2, 4, 3, 5)
    if name != "normalize_channels":
        x += shift
    weights, step = rng.standard_normal(x.shape), 1e-6
    given = gradient(x, name, EXACT, weights)
    for place in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        change = activate_array(above, name) - activate_array(below, name)
        slope = float((change * weights).sum()) / (2 * step)
        # Rounding leaves 1e-16 / step, times a few values.
        assert abs(slope - given[place]) < 1e-8, place


# -- as coded --------------------------------------------------------------------------------


def of_output(y: float, name: str) -> float:
    """The factor that Darknet multiplies with, from the output."""
    root = 0.0356774 * y**3 + 0.797885 * y
    factors = {
        "linear": 1,
        "logistic": (1 - y) * y,
        "loggy": 2 * (1 - (y + 1) / 2) * (y + 1) / 2,
        "relu": y > 0,
        "relu6": 0 < y < 6,
        "elu": 1 if y >= 0 else y + 1,
        "selu": 1.0507 if y >= 0 else y + 1.0507 * 1.6732,
        "gelu": 0.5 * np.tanh(root) + (0.0535161 * y**3 + 0.398942 * y) / np.cosh(root) ** 2 + 0.5,
        "relie": 1 if y > 0 else 0.01,
        "ramp": (y > 0) + 0.1,
        "leaky": 1 if y > 0 else 0.1,
        "revleaky": 1 if y > 0 else 0.1,
        "tanh": 1 - y * y,
        "plse": 0.01 if y < 0 or y > 1 else 0.125,
        "stair": y != np.floor(y),
        "hardtan": -1 < y < 1,
        "lhtan": 1 if 0 < y < 1 else 0.001,
    }
    return float(factors[name])


def of_input(x: float, name: str) -> float:
    """The factor from the input, of those functions of which Darknet keeps it."""
    sigma, t = 1 / (1 + np.exp(-x)), np.tanh(np.logaddexp(0, x))
    factors = {
        "swish": x * sigma + sigma * (1 - x * sigma),
        "mish": x * (1 - t * t) * sigma + t,
        "hard_mish": 1 if x > 0 else x + 1 if x > -2 else 0,
    }
    return float(factors[name])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_factors_are_those_of_the_program(name: str) -> None:
    """At the kinks, which are whole numbers, too."""
    x = np.concatenate([np.arange(-8, 8.5, 0.5), np.linspace(-9, 9, 200)]).astype(np.float32)
    y = activate_array(x, name)
    keeps = name in {"swish", "mish", "hard_mish"}
    expected = [
        of_input(float(a), name) if keeps else of_output(float(b), name)
        for a, b in zip(x, y, strict=True)
    ]
    # A few roundings of numbers of up to 2.
    np.testing.assert_allclose(gradient(x, name, AS_CODED), expected, rtol=1e-6, atol=1e-6)
    if name != "gelu":
        np.testing.assert_array_equal(gradient(x, name, AS_CODED), gradient(x, name, EXACT))


@pytest.mark.parametrize("name", OVER_CHANNELS)
def test_normalisations_as_coded(name: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)
    delta = rng.standard_normal(x.shape).astype(np.float32)
    y = activate_array(x, name).astype(np.float64)
    factors = np.broadcast_to((y * delta).sum(axis=1, keepdims=True), y.shape)
    if name == "normalize_channels":
        factors = np.where(y > 0, factors, 1)
    given = gradient(x, name, AS_CODED, delta)
    np.testing.assert_allclose(given, delta * factors, rtol=1e-6, atol=1e-7)  # one rounding


def golden(folder: Path, letter: str, dialect: Dialect) -> Iterator[tuple[Any, ...]]:
    """Yield of each activation its name, its input, what came back, and what the program has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        model = dn.load(folder / "net.cfg", folder / "init.weights", dialect=dialect)
    dump = np.load(folder / f"dump_{letter}.npz")
    nodes = model.network.nodes
    n = len(np.load(folder / "data.npz")["input"][0])
    for index, node in enumerate(nodes):
        if "scales" not in model.params[index]:
            continue
        shape = (n, *node.y.dims)
        following, kernel = nodes[index + 1].layer, model.params[index + 1]["weights"]
        behind = dump[f"it0_l{index + 1:03}_delta"].reshape(n, *nodes[index + 1].y.dims)
        if kernel.ndim == 2:
            delta = (behind.reshape(n, -1).astype(np.float64) @ kernel).reshape(shape)
        else:
            delta = spread(behind, kernel, following.geometry.dilation)
        channels = (1, -1, 1, 1)
        scales = model.params[index]["scales"].reshape(channels)
        biases = model.params[index]["biases"].reshape(channels)
        names = ("x_norm", "output", "scale_updates", "mean_delta", "variance")
        arrays = {name: dump[f"it0_l{index:03}_{name}"] for name in names}
        yield node.layer.activation, shape, delta, scales, biases, arrays


def spread(delta: np.ndarray, weights: np.ndarray, dilation: int) -> np.ndarray:
    """What a convolution with stride 1, which keeps the size, gives back."""
    n, _, h, w = delta.shape
    _, c, k, _ = weights.shape
    edge = dilation * (k // 2)
    given = np.zeros((n, c, h + 2 * edge, w + 2 * edge))
    for row, column in np.ndindex(k, k):
        top, left = row * dilation, column * dilation
        part = np.einsum("nfhw,fc->nchw", delta, weights[:, :, row, column], dtype=np.float64)
        given[:, :, top : top + h, left : left + w] += part
    return given[:, :, edge : edge + h, edge : edge + w]


@pytest.mark.parametrize(
    ("case", "letter"),
    [("conv_bn_activations", "a"), ("conv_bn_activations", "b"), ("conv_bn_mish_swish", "b")],
)
def test_sums_of_what_the_programs_have(shared: Path, case: str, letter: str) -> None:
    """Behind the activation the programs sum up each channel: by itself, and times x_norm."""
    folder = shared / "golden/train" / case
    dialect = {"a": dn.PJREDDIE, "b": dn.ALEXEYAB}[letter]
    met = set()
    for name, shape, delta, scales, biases, arrays in golden(folder, letter, dialect):
        x_norm = arrays["x_norm"].reshape(shape)
        y, back = activate_training(x_norm * scales + biases, name, dialect)
        # The same steps in float32, but for the last bit of exp.
        np.testing.assert_allclose(y.ravel(), arrays["output"], rtol=1e-6, atol=1e-6)
        given = back(delta.astype(np.float32)).astype(np.float64)
        sums = (given * scales).sum(axis=(0, 2, 3)) / -np.sqrt(arrays["variance"] + 1e-5)
        products = (given * x_norm).sum(axis=(0, 2, 3))
        # They add some 100 products one by one in float32: 1e-5 of the largest.
        for mine, theirs in ((sums, "mean_delta"), (products, "scale_updates")):
            largest = float(np.abs(arrays[theirs]).max())
            np.testing.assert_allclose(mine, arrays[theirs], rtol=0, atol=1e-5 * largest)
        met.add(name)
    both = {"conv_bn_activations": {"logistic", "tanh", "elu", "relu"}}
    assert met == both.get(case, {"mish", "swish"})


# -- how they go about it ----------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [EXACT, AS_CODED], ids=["exact", "as coded"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_large_arrays_go_in_blocks_and_in_place(name: str, dialect: Dialect) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 3, 150, 151)).astype(np.float32)  # no whole number of blocks
    delta = rng.standard_normal(x.shape).astype(np.float32)
    _, back = activate_training(x.copy(), name, dialect)
    expected = np.empty_like(delta)
    for row in range(x.shape[2]):
        part = np.ascontiguousarray(x[:, :, row : row + 1])
        expected[:, :, row : row + 1] = gradient(part, name, dialect, delta[:, :, row : row + 1])
    given = back(delta)
    assert given is delta
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("dialect", [EXACT, AS_CODED], ids=["exact", "as coded"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float64_stays_what_it_is(name: str, dialect: Dialect) -> None:
    rng = np.random.default_rng(6)
    x, delta = rng.standard_normal((2, 2, 4, 3, 5))
    narrow = gradient(x.astype(np.float32), name, dialect, delta.astype(np.float32))
    wide = gradient(x, name, dialect, delta)
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    # A handful of roundings to float32, of values of a few units.
    np.testing.assert_allclose(narrow, wide, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_becomes_of_the_input(name: str) -> None:
    before = np.random.default_rng(7).standard_normal((2, 3, 4, 5)).astype(np.float32)
    z = before.copy()
    y, _ = activate_training(z, name, EXACT)
    np.testing.assert_array_equal(y, activate_array(before, name))
    if name in OF_INPUT:
        np.testing.assert_array_equal(z, before)
    else:
        assert y is z


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_far_out_it_is_the_slope_of_the_line(name: str) -> None:
    far = np.array([1e4, 1e10, 3e38], np.float32)
    above, below = gradient(far, name, EXACT), gradient(-far, name, EXACT)
    rising = {"selu": 1.0507, "ramp": 1.1, "plse": 0.01, "lhtan": 0.001}
    rising |= dict.fromkeys(("logistic", "loggy", "relu6", "tanh", "stair", "hardtan"), 0)
    falling = {"linear": 1, "relie": 0.01, "plse": 0.01, "lhtan": 0.001}
    falling |= dict.fromkeys(("ramp", "leaky", "revleaky"), 0.1)
    np.testing.assert_allclose(above, [rising.get(name, 1)] * 3, rtol=1e-6)
    # 2e-7: alpha of selu, less itself, in two roundings
    np.testing.assert_allclose(below, [falling.get(name, 0)] * 3, rtol=1e-6, atol=2e-7)


def test_the_smallest_number_above_zero_counts_as_above() -> None:
    tiny = np.finfo(np.float32).tiny
    x = np.array([tiny, 0, -tiny], np.float32)
    np.testing.assert_array_equal(gradient(x, "leaky", EXACT), np.float32([1, 0.1, 0.1]))


def test_parts_of_larger_arrays() -> None:
    """A delta that is not contiguous comes back as a new array."""
    x = np.random.default_rng(8).standard_normal((2, 3, 4, 5)).astype(np.float32)
    _, back = activate_training(x.copy(), "tanh", EXACT)
    delta = np.ones((2, 6, 4, 5), np.float32)[:, ::2]
    np.testing.assert_array_equal(back(delta), gradient(x, "tanh", EXACT))


def test_nothing_to_do() -> None:
    assert gradient(np.empty((0, 3, 2, 2), np.float32), "mish", EXACT).shape == (0, 3, 2, 2)
