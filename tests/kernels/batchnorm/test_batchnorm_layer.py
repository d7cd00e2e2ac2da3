"""What must hold for batch norm; test_batchnorm_golden.py compares it with real Darknets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE, Dialect
from darknet_bn.errors import DarknetError, ShapeError
from darknet_bn.kernels import (
    BatchNormSaved,
    add_bias,
    backward_batchnorm_layer,
    backward_bias,
    backward_scale_cpu,
    forward_batchnorm_layer,
    make_batchnorm_layer,
    mean_cpu,
    mean_delta_cpu,
    normalize_cpu,
    normalize_delta_cpu,
    scale_bias,
    variance_cpu,
    variance_delta_cpu,
)
from darknet_bn.work import measured

pytestmark = pytest.mark.usefixtures("each_kernel")

Arrays = dict[str, np.ndarray]

both = pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=lambda d: d.name)


def example(
    shape: tuple[int, ...] = (4, 6, 5, 7), dtype: type = np.float32, spread: float = 1.0
) -> tuple[np.ndarray, Arrays, np.ndarray]:
    """x, parameters and delta_y; ``spread`` is the standard deviation of x."""
    rng = np.random.default_rng(7)
    f = shape[1]
    x = (rng.standard_normal(shape) * spread + rng.uniform(-3, 3)).astype(dtype)
    p = {
        "scales": rng.uniform(-2, 2, f).astype(dtype),
        "biases": rng.standard_normal(f).astype(dtype),
        "rolling_mean": rng.standard_normal(f).astype(dtype),
        "rolling_variance": rng.uniform(0.01, 2, f).astype(dtype),
    }
    return x, p, rng.standard_normal(shape).astype(dtype)


def saved_by(x: np.ndarray, p: Arrays, dialect: Dialect) -> BatchNormSaved:
    saved = forward_batchnorm_layer(x, p, train=True, dialect=dialect).saved
    assert saved is not None
    return saved


@pytest.fixture(params=["serial", "blocks", "tiles"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Work on an example whole, in blocks of filters, or in blocks cut into tiles again."""
    if request.param != "serial":
        monkeypatch.setattr(measured, "NORM_BLOCK", 500)
    if request.param == "tiles":
        monkeypatch.setattr(measured, "NORM_TILE", 200)
    yield request.param


SHAPES = [(4, 6, 5, 7), (4, 40), (3, 7, 520), (1, 5, 33)]


@both
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_is_its_kernels_in_turn(cut: str, shape: tuple[int, ...], dialect: Dialect) -> None:
    x, p, _ = example(shape)
    xs = x.reshape(*shape[:2], -1)
    mean = mean_cpu(xs)
    variance = variance_cpu(xs, mean)
    x_norm = normalize_cpu(xs, mean, variance, dialect)
    y = add_bias(scale_bias(x_norm, p["scales"]), p["biases"])
    found = forward_batchnorm_layer(x, p, train=True, dialect=dialect)
    assert found.saved is not None
    assert found.y.shape == found.saved.x_norm.shape == shape
    # Sums in other blocks round otherwise, by a unit of float32 or two; nothing else may.
    np.testing.assert_allclose(found.saved.mean, mean, rtol=3e-7)
    np.testing.assert_allclose(found.saved.variance, variance, rtol=3e-7)
    np.testing.assert_allclose(found.saved.x_norm.reshape(xs.shape), x_norm, atol=3e-6)
    np.testing.assert_allclose(found.y.reshape(xs.shape), y, atol=6e-6)
    again = normalize_cpu(xs, found.saved.mean, found.saved.variance, dialect)
    np.testing.assert_array_equal(found.saved.x_norm.reshape(xs.shape), again)
    y = add_bias(scale_bias(again, p["scales"]), p["biases"])
    np.testing.assert_array_equal(found.y.reshape(xs.shape), y)

    rolled = forward_batchnorm_layer(x, p, train=False, dialect=dialect)
    x_norm = normalize_cpu(xs, p["rolling_mean"], p["rolling_variance"], dialect)
    y = add_bias(scale_bias(x_norm, p["scales"]), p["biases"])
    np.testing.assert_array_equal(rolled.y.reshape(xs.shape), y)
    assert rolled.saved is None
    assert rolled.rolling_mean is p["rolling_mean"]
    assert rolled.rolling_variance is p["rolling_variance"]


@both
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward_is_its_kernels_in_turn(
    cut: str, shape: tuple[int, ...], train: bool, dialect: Dialect
) -> None:
    x, p, delta = example(shape)
    saved = saved_by(x[::-1].copy() if not train else x, p, dialect)
    xs, deltas = (array.reshape(*shape[:2], -1) for array in (x, delta))
    names = ("mean", "variance") if train else ("rolling_mean", "rolling_variance")
    source = vars(saved) if train else p
    mean, variance = (source[name] for name in names)
    zeros = np.zeros(shape[1], np.float32)
    scaled = scale_bias(deltas, p["scales"])
    mean_delta = mean_delta_cpu(scaled, variance)
    variance_delta = variance_delta_cpu(xs, scaled, mean, variance)
    found = backward_batchnorm_layer(
        delta, p, saved, train=train, x=None if train else x, dialect=dialect
    )
    # Sums in other blocks, as forward; those here are of values of either sign.
    near = {"rtol": 1e-6, "atol": 1e-5}
    scale_updates = backward_scale_cpu(saved.x_norm.reshape(xs.shape), deltas, zeros)
    np.testing.assert_allclose(found.scale_updates, scale_updates, **near)
    bias_updates = backward_bias(zeros, deltas) if dialect.batch_norm_trains_biases else zeros
    np.testing.assert_allclose(found.bias_updates, bias_updates, **near)
    np.testing.assert_allclose(found.mean_delta, mean_delta, **near)
    np.testing.assert_allclose(found.variance_delta, variance_delta, **near)
    delta_x = normalize_delta_cpu(
        xs, mean, variance, found.mean_delta, found.variance_delta, scaled, dialect
    )
    assert found.delta_x.shape == shape
    np.testing.assert_array_equal(found.delta_x.reshape(xs.shape), delta_x)


@both
def test_nothing_is_changed_in_place_unless_out_says_so(cut: str, dialect: Dialect) -> None:
    x, p, delta = example()
    updates = {name: np.ones(6, np.float32) for name in ("bias_updates", "scale_updates")}
    before = {**p, **updates, "x": x, "delta": delta}
    copies = {name: array.copy() for name, array in before.items()}
    forward = forward_batchnorm_layer(x, p, train=True, dialect=dialect)
    inferred = forward_batchnorm_layer(x, p, train=False, dialect=dialect)
    assert forward.saved is not None
    backward = backward_batchnorm_layer(delta, p, forward.saved, dialect=dialect, **updates)
    for name, array in before.items():
        np.testing.assert_array_equal(array, copies[name], err_msg=name)

    y = np.empty_like(x)
    assert forward_batchnorm_layer(x, p, train=True, dialect=dialect, out=y).y is y
    np.testing.assert_array_equal(y, forward.y)
    found = backward_batchnorm_layer(delta, p, forward.saved, dialect=dialect, out=delta)
    assert found.delta_x is delta
    np.testing.assert_array_equal(delta, backward.delta_x)
    found_y = forward_batchnorm_layer(x, p, train=False, dialect=dialect, out=x).y
    assert found_y is x
    np.testing.assert_array_equal(x, inferred.y)


@both
@pytest.mark.parametrize("shape", [(4, 6, 35), (3, 7, 520)], ids=str)
def test_a_mean_that_is_subtracted_already_changes_nothing(
    shape: tuple[int, int, int], dialect: Dialect
) -> None:
    x, p, delta = example(shape)
    mean = mean_cpu(x)
    v = variance_cpu(x, mean)
    vd = variance_delta_cpu(x, delta, mean, v)
    d = x - mean[:, None]
    before = d.copy()
    np.testing.assert_array_equal(variance_cpu(d, None), v)
    np.testing.assert_array_equal(
        normalize_cpu(d, None, v, dialect), normalize_cpu(x, mean, v, dialect)
    )
    np.testing.assert_array_equal(variance_delta_cpu(d, delta, None, v), vd)
    np.testing.assert_array_equal(
        normalize_delta_cpu(d, None, v, p["biases"], vd, delta, dialect),
        normalize_delta_cpu(x, mean, v, p["biases"], vd, delta, dialect),
    )
    np.testing.assert_array_equal(d, before)


@both
def test_any_strides_will_do(dialect: Dialect) -> None:
    x, p, _ = example()
    wide = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for train in (True, False):
        plain = forward_batchnorm_layer(x, p, train=train, dialect=dialect)
        found = forward_batchnorm_layer(wide, p, train=train, dialect=dialect)
        np.testing.assert_array_equal(found.y, plain.y)
    out = np.empty((8, 6, 5, 7), np.float32)[::2]  # images apart from each other
    assert forward_batchnorm_layer(x, p, train=True, dialect=dialect, out=out).y is out
    np.testing.assert_array_equal(out, forward_batchnorm_layer(x, p, train=True, dialect=dialect).y)
    with pytest.raises(ShapeError, match="pixels of out are not contiguous"):
        turned = np.empty((4, 6, 7, 5), np.float32).transpose(0, 1, 3, 2)
        forward_batchnorm_layer(x, p, train=True, dialect=dialect, out=turned)


@both
def test_inference_is_the_textbook_formula_in_float64(dialect: Dialect) -> None:
    x, p, _ = example(dtype=np.float64)
    v = p["rolling_variance"]
    eps = float(np.float32(dialect.eps))
    sigma = np.sqrt(v + eps) if dialect.eps_inside_sqrt else np.sqrt(v) + eps
    s, m, d, b = (
        values[:, None, None] for values in (p["scales"], p["rolling_mean"], sigma, p["biases"])
    )
    found = forward_batchnorm_layer(x, p, train=False, dialect=dialect).y
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, s * (x - m) / d + b, rtol=1e-12, atol=1e-13)  # rounding


def differences(loss: Callable[[], float], array: np.ndarray, step: float) -> np.ndarray:
    """Central differences of ``loss`` by every value of ``array``."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        up = loss()
        array[index] = kept - step
        down = loss()
        array[index] = kept
        slopes[index] = (up - down) / (2 * step)
    return slopes


@both
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (6, 3)], ids=str)
def test_backward_is_the_gradient_but_for_the_divisor(
    shape: tuple[int, ...], dialect: Dialect
) -> None:
    # The coded formula is the gradient with two exceptions.  The eps (1e-5) are not where forward
    # has them: with a variance of 1e6 that is 1e-8 at most.  And d variance / d x is coded with
    # the divisor M where the variance has M - 1, so that term lacks its (M - 1)th part; this is
    # put back before the comparison.
    x, p, weights = example(shape, np.float64, spread=1000.0)
    saved = saved_by(x, p, dialect)

    def loss() -> float:
        y = forward_batchnorm_layer(x, p, train=True, dialect=dialect).y
        return float((y * weights).sum())

    trains = replace(dialect, batch_norm_trains_biases=True)
    found = backward_batchnorm_layer(weights, p, saved, dialect=trains)  # deltas are linear
    count = x[:, 0].size
    trailing = (slice(None), *[None] * (len(shape) - 2))
    term = 2 * found.variance_delta[trailing] * (x - saved.mean[trailing]) / count
    exact = found.delta_x + term / (count - 1)
    slopes = differences(loss, x, 1e-1)  # 1e-4 of the spread: the error is its square
    assert np.abs(term).max() > 1e-2 * np.abs(slopes).max()  # else the test would miss it
    np.testing.assert_allclose(exact, slopes, rtol=0, atol=1e-7 * np.abs(slopes).max())
    # y is linear in both of these
    for name in ("scale", "bias"):
        values = p["scales" if name == "scale" else "biases"]
        slopes = differences(loss, values, 1e-3)
        np.testing.assert_allclose(getattr(found, f"{name}_updates"), slopes, atol=1e-9)


@both
def test_the_rolling_statistics_are_float32_averages(dialect: Dialect) -> None:
    p = make_batchnorm_layer(6)
    keep = np.float32(dialect.rolling_keep)
    rest = np.float32({0.99: 0.01, 0.9: 0.1}[dialect.rolling_keep])  # as C writes them
    expected = {"rolling_mean": p["rolling_mean"], "rolling_variance": p["rolling_variance"]}
    for spread in (1.0, 2.0, 3.0):
        x, _, _ = example(spread=spread)
        found = forward_batchnorm_layer(x, p, train=True, dialect=dialect)
        assert found.saved is not None
        for name in ("mean", "variance"):
            old, new = expected[f"rolling_{name}"], getattr(found.saved, name)
            expected[f"rolling_{name}"] = old * keep + rest * new  # each rounded to float32
            np.testing.assert_array_equal(
                getattr(found, f"rolling_{name}"), expected[f"rolling_{name}"]
            )
        p.update(rolling_mean=found.rolling_mean, rolling_variance=found.rolling_variance)
    assert found.rolling_mean.dtype == np.float32


def test_connected_keeps_another_share() -> None:
    x, p, _ = example((8, 5))
    found = forward_batchnorm_layer(
        x, p, train=True, dialect=ALEXEYAB, rolling_keep=ALEXEYAB.rolling_keep_connected
    )
    assert found.saved is not None
    expected = p["rolling_mean"] * np.float32(0.95) + np.float32(0.05) * found.saved.mean
    np.testing.assert_array_equal(found.rolling_mean, expected)


@both
def test_updates_accumulate(dialect: Dialect) -> None:
    x, p, delta = example()
    saved = saved_by(x, p, dialect)
    once = backward_batchnorm_layer(delta, p, saved, dialect=dialect)
    twice = backward_batchnorm_layer(
        delta,
        p,
        saved,
        dialect=dialect,
        bias_updates=once.bias_updates,
        scale_updates=once.scale_updates,
    )
    np.testing.assert_array_equal(twice.scale_updates, 2 * once.scale_updates)  # exact doubling
    np.testing.assert_array_equal(twice.bias_updates, 2 * once.bias_updates)
    assert once.bias_updates.any() == dialect.batch_norm_trains_biases
    for name in ("mean_delta", "variance_delta", "delta_x"):  # these do not
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name))


def test_an_untrained_layer_has_scales_of_one_and_no_variance() -> None:
    p = make_batchnorm_layer(3)
    assert {name: values.tolist() for name, values in p.items()} == {
        "scales": [1, 1, 1],
        "biases": [0, 0, 0],
        "rolling_mean": [0, 0, 0],
        "rolling_variance": [0, 0, 0],
    }
    assert {values.dtype for values in p.values()} == {np.dtype(np.float32)}


@both
def test_one_value_a_filter_is_nan_in_training_as_in_c(dialect: Dialect) -> None:
    x, p, delta = example((1, 5))
    found = forward_batchnorm_layer(x, p, train=True, dialect=dialect)
    assert found.saved is not None
    np.testing.assert_array_equal(found.saved.mean, x[0])
    assert np.isfinite(found.rolling_mean).all()
    for values in (found.y, found.rolling_variance, found.saved.variance, found.saved.x_norm):
        assert np.isnan(values).all()
    back = backward_batchnorm_layer(delta, p, found.saved, dialect=dialect)
    assert np.isnan(back.delta_x).all()
    assert np.isfinite(forward_batchnorm_layer(x, p, train=False, dialect=dialect).y).all()


def test_backward_in_inference_takes_what_training_left() -> None:
    x, p, delta = example()
    with pytest.raises(DarknetError, match=r"values saved by a training pass.*train=True first"):
        backward_batchnorm_layer(delta, p, None, train=False, dialect=PJREDDIE)
    saved = saved_by(x, p, PJREDDIE)
    later = example(spread=2.0)[0]
    found = backward_batchnorm_layer(delta, p, saved, train=False, x=later, dialect=PJREDDIE)
    trained = backward_batchnorm_layer(delta, p, saved, dialect=PJREDDIE)
    np.testing.assert_array_equal(found.scale_updates, trained.scale_updates)  # the old x_norm
    assert (found.variance_delta != trained.variance_delta).all()  # but the new x


def test_training_refuses_to_overwrite_its_input() -> None:
    x, p, _ = example()
    with pytest.raises(DarknetError, match="training cannot overwrite its input"):
        forward_batchnorm_layer(x, p, train=True, dialect=PJREDDIE, out=x)


def without(p: Arrays, name: str) -> Arrays:
    return {**p, name: p[name][:-1]}


@pytest.mark.parametrize("name", ["scales", "biases", "rolling_mean", "rolling_variance"])
@pytest.mark.parametrize("train", [True, False])
def test_forward_names_the_parameter_that_does_not_fit(name: str, train: bool) -> None:
    x, p, _ = example()
    with pytest.raises(ShapeError, match=rf"^{name} does not fit.*expected \(6,\), found \(5,\)"):
        forward_batchnorm_layer(x, without(p, name), train=train, dialect=PJREDDIE)


def test_backward_names_what_does_not_fit() -> None:
    x, p, delta = example()
    saved = saved_by(x, p, PJREDDIE)
    five = np.zeros(5, np.float32)
    wrong: dict[str, tuple[Any, ...]] = {
        "scales": (delta, without(p, "scales"), saved, {}),
        "mean": (delta, p, replace(saved, mean=five), {}),
        "variance": (delta, without(p, "rolling_variance"), saved, {"train": False}),
        "bias_updates": (delta, p, saved, {"bias_updates": five}),
        "scale_updates": (delta, p, saved, {"scale_updates": five}),
    }
    for name, (d, q, s, more) in wrong.items():
        with pytest.raises(ShapeError, match=rf"^{name} .*expected \(6,\), found \(5,\)"):
            backward_batchnorm_layer(d, q, s, dialect=PJREDDIE, **more)
    with pytest.raises(
        ShapeError, match=r"^saved.x does not fit.*\(3, 6, 35\), found \(4, 6, 35\)"
    ):
        backward_batchnorm_layer(delta[:3], p, saved, dialect=PJREDDIE)
    with pytest.raises(ShapeError, match=r"^x does not fit.*\(4, 6, 35\), found \(3, 6, 35\)"):
        backward_batchnorm_layer(delta, p, saved, train=False, x=x[:3], dialect=PJREDDIE)
    with pytest.raises(ShapeError, match=r"^out does not fit.*\(4, 6, 5, 7\), found \(4, 6, 35\)"):
        out = np.empty((4, 6, 35), np.float32)
        backward_batchnorm_layer(delta, p, saved, dialect=PJREDDIE, out=out)
    with pytest.raises(ShapeError, match=r"expected \(n, f, ...\), found \(6,\)"):
        forward_batchnorm_layer(np.zeros(6, np.float32), p, train=True, dialect=PJREDDIE)


def test_delta_kernels_name_what_does_not_fit() -> None:
    x, v, w = (np.ones(shape, np.float32) for shape in ((2, 3, 4), (3,), (2,)))
    for call in (
        lambda: backward_scale_cpu(x, x, w),
        lambda: mean_delta_cpu(x, w),
        lambda: variance_delta_cpu(x, x, w, v),
        lambda: variance_delta_cpu(x, x, v, w),
        lambda: normalize_delta_cpu(x, w, v, v, v, x, PJREDDIE),
        lambda: normalize_delta_cpu(x, v, w, v, v, x, PJREDDIE),
        lambda: normalize_delta_cpu(x, v, v, w, v, x, PJREDDIE),
        lambda: normalize_delta_cpu(x, v, v, v, w, x, PJREDDIE),
    ):
        with pytest.raises(ShapeError, match=r"expected \(3,\), found \(2,\)"):
            call()
    for call in (
        lambda: backward_scale_cpu(x, x[:1], v),
        lambda: variance_delta_cpu(x, x[:1], v, v),
        lambda: normalize_delta_cpu(x, v, v, v, v, x[:1], PJREDDIE),
    ):
        with pytest.raises(ShapeError, match=r"expected \(2, 3, 4\), found \(1, 3, 4\)"):
            call()
