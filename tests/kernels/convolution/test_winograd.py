"""Winograd's transforms against the plain sum, and each way to share the tiles."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.convolution.scheme import F2, F4, Scheme
from darknet_bn.kernels.convolution.winograd import Winograd, transform_filters
from darknet_bn.work import measured
from tests.support.convolutions import assert_close, convolve, leaky, make_case, run_into_slice

pytestmark = pytest.mark.usefixtures("each_kernel")

SCHEMES = pytest.mark.parametrize("scheme", [F2, F4], ids=["F2", "F4"])
THREE = ConvGeometry(size=3, pad=1)


@SCHEMES
def test_the_matrices_are_exact(scheme: Scheme) -> None:
    """One tile of whole numbers: nothing is rounded in F2, next to nothing in F4 (1/3, 1/15)."""
    rng = np.random.default_rng(6)
    kernel = rng.integers(-9, 9, (3, 3)).astype(np.float64)
    tile = rng.integers(-9, 9, (scheme.a, scheme.a)).astype(np.float64)
    m = scheme.m
    expected = np.zeros((m, m))
    for ky, kx in np.ndindex(3, 3):
        expected += kernel[ky, kx] * tile[ky : ky + m, kx : kx + m]
    product = (scheme.filter @ kernel @ scheme.filter.T) * (scheme.input @ tile @ scheme.input.T)
    # the matrices in float32 hold multiples of 1/4, so only the thirds of `filter` are rounded
    np.testing.assert_allclose(scheme.output @ product @ scheme.output.T, expected, atol=1e-11)


@SCHEMES
@pytest.mark.parametrize(("f", "c"), [(1, 1), (24, 5), (37, 20), (70, 64)])
@pytest.mark.parametrize("taps", [1, 1000, 1 << 15])
def test_filters_in_parts_are_those_of_the_formula(
    taps: int, f: int, c: int, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "WINOGRAD_TAPS", taps)
    weights = np.random.default_rng(7).standard_normal((f, c, 3, 3)).astype(np.float32)
    found = transform_filters(weights, scheme, 24)
    expected = np.einsum("ir,fcrk,jk->ijcf", scheme.filter, weights.astype(float), scheme.filter)
    assert (found.dtype, found.shape) == (np.float32, (*expected.shape[:2], -(-f // 24), c, 24))
    flat = found.swapaxes(2, 3).reshape(*expected.shape[:3], -1)
    # Both are in float64 and rounded once; the order of its sums decides if that is a tie.
    np.testing.assert_array_max_ulp(flat[..., :f], expected.astype(np.float32), 1)
    assert not flat[..., f:].any()


@SCHEMES
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "size", [(1, 1), (4, 4), (5, 7), (8, 12), (13, 13), (3, 22), (17, 2)], ids=str
)
@pytest.mark.parametrize("way", ["share tiles", "share filters", "tiny parts"])
def test_any_size(
    way: str, size: tuple[int, ...], n: int, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "WINOGRAD_HEAVY", 0 if way == "share filters" else 1 << 30)
    if way != "share filters":
        monkeypatch.setattr(measured, "WINOGRAD_PATCHES", 1)
    if way == "tiny parts":
        for name in ("WINOGRAD_ROWS", "WINOGRAD_SUMS", "WINOGRAD_TILES", "WINOGRAD_TAPS"):
            monkeypatch.setattr(measured, name, 1)
    case = make_case(n, 20, *size, 37, THREE)
    convolution = Winograd(
        case.weights, Epilogue(case.biases, ACTIVATIONS["leaky"]), case.in_shape, scheme
    )
    # 180 products a sum: 2e-6 of the largest is what F4 was seen to lose, F2 a tenth of it
    assert_close(run_into_slice(convolution, case), leaky(convolve(case)), 5e-6)


@pytest.mark.parametrize(
    ("unpacked", "block"), [(1, 1 << 20), (5000, 1 << 20), (5000, 100), (100_000, 100)]
)
def test_any_cut_of_the_products(
    unpacked: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "UNPACKED", unpacked)
    monkeypatch.setattr(measured, "WINOGRAD_PATCH", block)
    monkeypatch.setattr(measured, "WINOGRAD_COLUMNS", 1)
    case = make_case(1, 5, 16, 24, 37, THREE)
    convolution = Winograd(case.weights, Epilogue(case.biases, None), case.in_shape, F4)
    assert_close(run_into_slice(convolution, case), convolve(case), 5e-6)  # as above


def test_wide_images() -> None:
    """More tiles side by side than are transformed at once, and a few less."""
    for width in (637, 650):
        case = make_case(1, 2, 6, width, 3, THREE)
        convolution = Winograd(case.weights, Epilogue(case.biases, None), case.in_shape, F4)
        assert_close(run_into_slice(convolution, case), convolve(case), 5e-6)  # as above


def test_input_that_may_not_be_written() -> None:
    case = make_case(1, 20, 9, 10, 16, THREE)
    case.x.flags.writeable = False
    convolution = Winograd(case.weights, Epilogue(case.biases, None), case.in_shape, F4)
    assert_close(run_into_slice(convolution, case), convolve(case), 5e-6)  # as above


@SCHEMES
def test_neither_bias_nor_activation(scheme: Scheme) -> None:
    case = make_case(2, 16, 9, 10, 16, THREE)
    found = run_into_slice(
        Winograd(case.weights, Epilogue(None, None), case.in_shape, scheme), case
    )
    case.biases[:] = 0
    assert_close(found, convolve(case), 5e-6)  # as above


@SCHEMES
def test_the_sum_of_many_channels_stays_accurate(scheme: Scheme) -> None:
    """Positive inputs, as after an activation, let errors of the large sums in between show."""
    case = make_case(1, 512, 6, 6, 16, THREE)
    np.abs(case.x, out=case.x)
    convolution = Winograd(case.weights, Epilogue(case.biases, None), case.in_shape, scheme)
    # 4e-6 was seen; the points 0, ±1, ±2 give 1.5e-5
    assert_close(run_into_slice(convolution, case), convolve(case), 1e-5)
