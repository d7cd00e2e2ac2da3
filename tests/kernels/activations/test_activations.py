"""Every activation against its formula in float64, over the whole range of float32."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.errors import CfgError
from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue, activate_array, activate_tile

LEAKY = np.float64(np.float32(0.1))


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def stair(x: np.ndarray) -> np.ndarray:
    # for odd n = floor(x), C's (x - n) + floor(x/2) is x - floor(x/2) - 1, exact near 0 too
    half = np.floor(x / 2)
    return np.where(np.floor(x) % 2 == 0, half, x - (half + 1))


def plse(x: np.ndarray) -> np.ndarray:
    return np.where(x < -4, 0.01 * (x + 4), np.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5))


def hard_mish(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0))


def gelu(x: np.ndarray) -> np.ndarray:
    # x/2 (1 + tanh q) is x / (1 + e^-2q); this way it is exact in float64 too if tanh q is -1.
    return x * logistic(2 * (0.797885 * x + 0.035677 * x**3))


FORMULAS = {
    "linear": lambda x: x,
    "logistic": logistic,
    "loggy": lambda x: np.tanh(x / 2),  # 2/(1+e^-x) - 1, exact near 0 too
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x >= 0, x, np.expm1(x)),
    "selu": lambda x: np.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * np.expm1(x)),
    "gelu": gelu,
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, LEAKY * x),
    "revleaky": lambda x: np.where(x > 0, x, LEAKY * x),
    "tanh": np.tanh,
    "plse": plse,
    "stair": stair,
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lambda x: np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x)),
    "swish": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "hard_mish": hard_mish,
}
OVER_CHANNELS = [name for name, each in ACTIVATIONS.items() if each.over_channels]


def inputs() -> np.ndarray:
    magnitudes = np.logspace(-37, 38, 3001)
    fine = np.linspace(-30, 30, 20001)
    edges = np.array([0, 1, 2, 3, 4, 6, 20, 88, 88.7, 89, 104])
    around = np.concatenate([edges * (1 + step) for step in (-1e-6, 0, 1e-6)])
    x = np.concatenate([magnitudes, -magnitudes, fine, around, -around])
    return x.astype(np.float32)


def test_the_table_is_complete() -> None:
    assert set(FORMULAS) | set(OVER_CHANNELS) == set(ACTIVATIONS)
    assert all(name == each.name for name, each in ACTIVATIONS.items())


@pytest.mark.parametrize("name", FORMULAS)
def test_values_over_the_whole_range(name: str) -> None:
    x = inputs()
    with np.errstate(all="ignore"):
        expected = FORMULAS[name](x.astype(np.float64))
    y = activate_array(x, name)
    assert y.dtype == np.float32
    # 1e-6: exp is within 3 units of the last place (6e-8), and there are at most five roundings
    # more; the absolute part is a few units of the smallest numbers, which are not precise.
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-36)


@pytest.mark.parametrize("name", ["mish", "swish"])
def test_what_the_programs_flush_to_zero_is_no_subnormal_number(name: str) -> None:
    x = np.linspace(-200, -80, 12001, dtype=np.float32)
    y = activate_array(x, name)
    assert np.abs(y[y != 0]).min() >= np.finfo(np.float32).tiny
    assert not y[x < -104].any()


@pytest.mark.parametrize("name", FORMULAS)
def test_not_a_number_stays_one(name: str) -> None:
    assert np.isnan(activate_array(np.full(3, np.nan, np.float32), name)).all()


@pytest.mark.parametrize(
    ("name", "at_most", "at_least"),
    [
        ("logistic", 1, 0),
        ("tanh", 1, -1),
        ("loggy", 1, -1),
        ("relu", np.inf, 0),
        ("relu6", 6, 0),
        ("hardtan", 1, -1),
        ("elu", np.inf, -1),
    ],
)
def test_limits_at_infinity(name: str, at_most: float, at_least: float) -> None:
    y = activate_array(np.array([np.inf, -np.inf], np.float32), name)
    np.testing.assert_array_equal(y, np.array([at_most, at_least], np.float32))


@pytest.mark.parametrize("name", OVER_CHANNELS)
@pytest.mark.parametrize("scale", [1, 100])
def test_values_over_channels(name: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    x = (scale * rng.standard_normal((2, 5, 3, 4))).astype(np.float32)
    x[0, :, 0, 0] = -150  # all exponentials vanish next to 1e-4
    wide = x.astype(np.float64)
    if name == "normalize_channels":
        parts = np.maximum(wide, 0)
    else:
        top = wide.max(axis=1, keepdims=True) if name.endswith("maxval") else 0
        parts = np.exp(wide - top)
    expected = parts / (1e-4 + parts.sum(axis=1, keepdims=True))
    # computed in float64 and rounded once; numbers below 1e-37 are not precise
    np.testing.assert_allclose(activate_array(x, name), expected, rtol=2e-7, atol=1e-37)


def test_softmax_of_large_values_is_finite() -> None:
    x = np.array([[[[400.0]], [[399.0]]]], np.float32)
    expected = np.array([1, np.exp(-1)]) / (1 + np.exp(-1))
    y = activate_array(x, "normalize_channels_softmax")
    np.testing.assert_allclose(y.ravel(), expected, rtol=2e-7)  # one rounding to float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_blocks_of_any_layout_cover_everything_once(name: str) -> None:
    """Large arrays go in blocks, and those must not depend on the layout."""
    rng = np.random.default_rng(2)
    wider = (3 * rng.standard_normal((2, 8, 130, 140))).astype(np.float32)
    x = wider[:, 1:6]
    one_by_one = np.stack([activate_array(image[None].copy(), name)[0] for image in x])
    np.testing.assert_array_equal(activate_array(x, name), one_by_one)
    cut = x.copy()[:, :, :, :139]  # no row of which is next to the following
    tile = cut.copy()
    activate_tile(cut, ACTIVATIONS[name])
    ACTIVATIONS[name].apply(tile)
    np.testing.assert_array_equal(cut, tile)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "linear"])
def test_values_that_lie_apart(name: str, dtype: type) -> None:
    # numpy has code of its own for some strides, up to 64 bytes.
    for stride in range(1, 17):
        values = np.linspace(-3, 3, 7 * stride).astype(dtype)
        expected = activate_array(values[::stride].copy(), name)
        activate_tile(values[::stride], ACTIVATIONS[name])
        np.testing.assert_allclose(values[::stride], expected, rtol=1e-6, err_msg=f"{stride}")


def test_input_is_kept_and_out_is_used() -> None:
    x = np.array([-1, 2], np.float32)
    out = np.empty_like(x)
    assert activate_array(x, "relu", out=out) is out
    np.testing.assert_array_equal(x, [-1, 2])
    assert activate_array(x, "relu", out=x) is x
    np.testing.assert_array_equal(x, [0, 2])


def test_nothing_to_do() -> None:
    assert activate_array(np.empty((0, 3), np.float32), "mish").shape == (0, 3)


def test_unknown_name() -> None:
    with pytest.raises(CfgError, match=r"unknown activation .*softplus"):
        activate_array(np.zeros(1, np.float32), "softplus")


def test_epilogue_adds_the_biases_of_its_filters() -> None:
    y = np.zeros((2, 3), np.float32)
    biases = np.array([1, -2, 3], np.float32)
    Epilogue(biases, ACTIVATIONS["relu"]).apply(y, slice(1, 3))
    np.testing.assert_array_equal(y, [[0] * 3, [3] * 3])
    Epilogue(None, None).apply(y, slice(0, 2))
    np.testing.assert_array_equal(y, [[0] * 3, [3] * 3])
