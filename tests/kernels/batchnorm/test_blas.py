"""mean, variance, normalize against float64, and the four strided helpers.

What the real programs gave is compared in test_batchnorm_golden.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE, Dialect
from darknet_bn.errors import ShapeError
from darknet_bn.kernels import (
    add_bias,
    axpy_cpu,
    backward_bias,
    copy_cpu,
    fill_cpu,
    mean_cpu,
    normalize_cpu,
    scal_cpu,
    scale_bias,
    variance_cpu,
)
from darknet_bn.work import measured

# Rows that are added up image by image or piece by piece, in whole pieces or not (521 is prime),
# and broadcast by pixel or by filter; one filter and one image are special cases of both.
SHAPES = [
    (1, 1, 600),
    (5, 7, 1),
    (1, 9, 1),
    (3, 4, 2),
    (6, 5, 127),
    (2, 3, 128),
    (2, 3, 521),
    (4, 3, 676),
    (2, 1, 1024),
    (2, 5, 2704),
    (1, 2, 10816),
    (70, 40, 16),
]


def values(shape: tuple[int, ...], dtype: type = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_mean_is_that_of_float64(shape: tuple[int, int, int], offset: float) -> None:
    x = values(shape) + np.float32(offset)
    exact = x.astype(np.float64).mean(axis=(0, 2))
    scale = np.abs(x.astype(np.float64)).mean(axis=(0, 2))
    found = mean_cpu(x)
    assert found.dtype == np.float32
    # three roundings of half a unit (6e-8): sum, reciprocal, product; and those within a piece
    np.testing.assert_array_less(np.abs(found - exact), 5e-7 * scale)


def test_mean_of_a_constant_filter_is_the_constant() -> None:
    x = np.full((8, 2, 10816), np.float32(0.3))
    # one value after the other would be 1e-3 off, one sum over the row 5e-6
    np.testing.assert_allclose(mean_cpu(x), np.float32(0.3), rtol=5e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_variance_has_the_unbiased_divisor(shape: tuple[int, int, int], offset: float) -> None:
    n, f, s = shape
    x = values(shape) + np.float32(offset)
    mean = mean_cpu(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        d = (x - mean[:, None]).astype(np.float64)
        exact = (d * d).sum(axis=(0, 2)) / np.float64(n * s - 1)
    found = variance_cpu(x, mean)
    assert found.shape == (f,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=1e-6)  # roundings as in the mean


def test_variance_in_small_tiles_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = values((5, 6, 300))
    mean = mean_cpu(x)
    whole = variance_cpu(x, mean)
    for size in (1, 1200, 2400, 7200, 15000):
        monkeypatch.setattr(measured, "NORM_TILE", size)
        np.testing.assert_allclose(variance_cpu(x, mean), whole, rtol=2e-7)  # one rounding


def test_variance_of_one_value_is_nan_without_a_warning() -> None:
    x = values((1, 4, 1))
    mean = mean_cpu(x)
    np.testing.assert_array_equal(mean, x[0, :, 0])
    assert np.isnan(variance_cpu(x, mean)).all()


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_is_the_formula(
    shape: tuple[int, int, int], dialect: Dialect, dtype: type
) -> None:
    x, f = values(shape, dtype), shape[1]
    mean = values((f,), dtype, 1)
    variance = np.abs(values((f,), dtype, 2)) * dtype(1e-4)  # so small that every eps shows
    v = variance.astype(np.float64)[:, None]
    sigma = np.sqrt(v) + 1e-6 if dialect is PJREDDIE else np.sqrt(v + 1e-5)
    before = x.copy()
    found = normalize_cpu(x, mean, variance, dialect)
    assert found.dtype == dtype
    np.testing.assert_array_equal(x, before)
    # float32 rounds the reciprocal of sigma and the product; the eps is a float32 everywhere,
    # 3e-8 off 1e-5, which is a part of sigma only
    rtol = 2.5e-7 if dtype is np.float32 else 3e-8
    np.testing.assert_allclose(found, (x - mean[:, None]) / sigma, rtol=rtol)
    assert normalize_cpu(x, mean, variance, dialect, out=x) is x
    np.testing.assert_array_equal(x, found)


def test_a_negative_variance_is_nan_in_its_filter_alone() -> None:
    x = values((2, 3, 4))
    variance = np.array([1, -1, 1], np.float32)
    nan = np.isnan(normalize_cpu(x, np.zeros(3, np.float32), variance, PJREDDIE))
    assert nan[:, 1].all()
    assert not nan[:, ::2].any()


def test_a_subnormal_variance_counts_as_zero() -> None:
    x = values((2, 1, 4))
    zero = np.zeros(1, np.float32)
    tiny = np.full(1, -7e-44, np.float32)  # as in the file of mobilenetv2-yolo-fastest-voc
    for dialect in (PJREDDIE, ALEXEYAB):
        np.testing.assert_array_equal(
            normalize_cpu(x, zero, tiny, dialect), normalize_cpu(x, zero, zero, dialect)
        )


def test_infinities_pass_without_a_warning() -> None:
    x = np.full((2, 1, 3), np.float32(3e38))
    one = np.ones(1, np.float32)
    assert np.isinf(mean_cpu(x)).all()  # the sum is a float32, as in C
    assert np.isinf(variance_cpu(x, -x[0, :, 0])).all()
    assert np.isinf(scale_bias(x, 2 * one)).all()
    assert np.isnan(add_bias(np.inf * x, -np.inf * one)).all()
    assert np.isinf(backward_bias(one, x)).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_and_bias_are_one_operation_a_value(shape: tuple[int, int, int], dtype: type) -> None:
    x, v = values(shape, dtype), values(shape[1:2], np.float32, 1)
    size = np.getbufsize()
    for function, expected in ((scale_bias, x * v[:, None]), (add_bias, x + v[:, None])):
        found = function(x, v)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)  # one rounding, the same one
        y = x.copy()
        assert function(y, v, out=y) is y
        np.testing.assert_array_equal(y, found)
    assert np.getbufsize() == size


def test_backward_bias_accumulates() -> None:
    delta, updates = values((3, 4, 50)), values((4,), seed=1)
    found = backward_bias(updates, delta)
    exact = updates + delta.astype(np.float64).sum(axis=(0, 2))
    # of sums of 150 values of about 1: some units of float32 at 10
    np.testing.assert_allclose(found, exact, atol=5e-6, rtol=0)
    assert found is not updates
    assert backward_bias(updates, delta, out=updates) is updates
    np.testing.assert_array_equal(updates, found)


@pytest.mark.parametrize("function", [scale_bias, add_bias])
def test_a_value_a_filter_is_expected(function: Callable[..., object]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(3,\), found \(4,\)"):
        function(values((2, 3, 4)), values((4,)))
    with pytest.raises(ShapeError, match=r"out .*expected \(2, 3, 4\), found \(2, 3, 1\)"):
        function(values((2, 3, 4)), values((3,)), out=values((2, 3, 1)))


def test_statistics_need_three_axes_and_fitting_filters() -> None:
    x, three, two = values((2, 3, 4)), values((3,)), values((2,))
    for call in (
        lambda: variance_cpu(x, two),
        lambda: normalize_cpu(x, two, three, PJREDDIE),
        lambda: normalize_cpu(x, three, two, PJREDDIE),
        lambda: backward_bias(two, x),
    ):
        with pytest.raises(ShapeError, match=r"expected \(3,\), found \(2,\)"):
            call()
    with pytest.raises(ShapeError, match=r"expected \(n, f, s\), found \(2, 3, 4, 1\)"):
        mean_cpu(x[..., None])


def stepped(y: np.ndarray, incy: int, new: list[np.float32]) -> np.ndarray:
    """What the C loop leaves: element i at i * incy."""
    y = y.copy()
    for i, value in enumerate(new):
        y[i * incy] = value
    return y


@pytest.mark.parametrize("incx, incy", [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_the_strided_helpers_are_the_c_loops(incx: int, incy: int) -> None:
    n = 5
    x, y = values((n * incx,)), values((n * incy,), seed=1)
    alpha = np.float32(0.99)
    xs, ys = [x[i * incx] for i in range(n)], [y[i * incy] for i in range(n)]
    for function, expected in (
        (lambda out: copy_cpu(x, incx, y, incy, out), stepped(y, incy, xs)),
        (
            lambda out: axpy_cpu(0.99, x, incx, y, incy, out),
            stepped(y, incy, [b + alpha * a for a, b in zip(xs, ys, strict=True)]),
        ),
        (
            lambda out: scal_cpu(0.99, y, incy, out),
            stepped(y, incy, [b * alpha for b in ys]),
        ),
        (lambda out: fill_cpu(0.99, y, incy, out), stepped(y, incy, [alpha] * n)),
    ):
        before = x.copy(), y.copy()
        found = function(None)
        other = np.empty_like(y)
        assert function(other) is other
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(other, expected)
        np.testing.assert_array_equal(x, before[0])
        np.testing.assert_array_equal(y, before[1])
    assert copy_cpu(x, incx, y, incy, out=y) is y
    np.testing.assert_array_equal(y[::incy], x[::incx])


def test_alpha_is_a_float32_in_every_precision() -> None:
    one = np.ones(2)
    assert scal_cpu(0.99, one, 1)[0] == float(np.float32(0.99)) != 0.99
    assert axpy_cpu(0.99, one, 1, one, 1)[0] == 1 + float(np.float32(0.99))
    assert fill_cpu(0.99, one, 1).tolist() == [float(np.float32(0.99))] * 2


def test_steps_that_do_not_fit_are_refused() -> None:
    x, y = values((6,)), values((4,))
    with pytest.raises(ShapeError, match="expected 3 as in x, found 4 in y"):
        copy_cpu(x, 2, y, 1)
    with pytest.raises(ShapeError, match="expected 6 as in x, found 2 in y"):
        axpy_cpu(1.0, x, 1, y, 2)
    for call in (
        lambda: scal_cpu(2.0, x.reshape(2, 3), 1),
        lambda: fill_cpu(2.0, x, 0),
        lambda: copy_cpu(x, -1, x, 1),
    ):
        with pytest.raises(ShapeError, match="one axis and a positive step"):
            call()
    with pytest.raises(ShapeError, match=r"out .*expected \(6,\), found \(4,\)"):
        scal_cpu(2.0, x, 1, out=y)
