"""Products in parts, and the two strategies made of them, whichever way threads share them."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels import choice
from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue
from darknet_bn.kernels.convolution import gemm
from darknet_bn.kernels.convolution.gemm import Im2col, Pointwise, equal_parts, multiply
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured
from tests.support.convolutions import (
    Case,
    assert_close,
    convolve,
    leaky,
    make_case,
    run_into_slice,
)

pytestmark = pytest.mark.usefixtures("each_kernel")

# A sum of at most 576 products in float32: 1e-6 of the largest is several times what was seen.
TOLERANCE = 1e-6

THREE = ConvGeometry(size=3, pad=1)
WIDE = ConvGeometry(size=3, stride_x=2, stride_y=3, pad=2, dilation=2)
GROUPS = ConvGeometry(size=3, pad=1, groups=4)
ONE = ConvGeometry(size=1)
STRIDED = ConvGeometry(size=1, stride_x=2, stride_y=2, pad=1)


def leaky_epilogue(case: Case) -> Epilogue:
    return Epilogue(case.biases, ACTIVATIONS["leaky"])


@pytest.fixture(params=["alone", "tiles", "filters", "few rows"])
def sharing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One thread for all; or each way to share, on images that are too small for it otherwise."""
    threads = 1 if request.param == "alone" else 2
    monkeypatch.setattr(gemm, "sharers", lambda *_: threads)
    monkeypatch.setattr(measured, "FILTERS_PIXELS", 1 << 20 if request.param == "filters" else 0)
    if request.param == "few rows":
        monkeypatch.setattr(measured, "WINDOWS", 1)
        monkeypatch.setattr(measured, "POINTWISE_SUMS", 1)
    return str(request.param)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("f", [8, 68])  # few filters, and enough to be shared
@pytest.mark.parametrize("bias_as_weight", [0, 1 << 20], ids=["added", "weight"])
@pytest.mark.parametrize("geometry", [THREE, WIDE, GROUPS, STRIDED], ids=str)
def test_im2col(
    sharing: str,
    monkeypatch: pytest.MonkeyPatch,
    geometry: ConvGeometry,
    bias_as_weight: int,
    f: int,
    n: int,
) -> None:
    monkeypatch.setattr(measured, "BIAS_AS_WEIGHT", bias_as_weight)
    case = make_case(n, 8, 9, 7, f, geometry)
    found = run_into_slice(
        Im2col(case.weights, leaky_epilogue(case), geometry, case.in_shape), case
    )
    assert_close(found, leaky(convolve(case)), TOLERANCE)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("f", [4, 68])  # fewer than channels, and more
@pytest.mark.parametrize("bias_as_weight", [0, 1 << 20], ids=["added", "weight"])
@pytest.mark.parametrize("groups", [1, 4])
def test_pointwise(
    sharing: str, monkeypatch: pytest.MonkeyPatch, groups: int, bias_as_weight: int, f: int, n: int
) -> None:
    monkeypatch.setattr(measured, "BIAS_AS_WEIGHT", bias_as_weight)
    case = make_case(n, 8, 5, 7, f, ConvGeometry(size=1, groups=groups))
    found = run_into_slice(
        Pointwise(case.weights, leaky_epilogue(case), case.geometry, case.in_shape), case
    )
    assert_close(found, leaky(convolve(case)), TOLERANCE)


@pytest.mark.parametrize("strategy", [Im2col, Pointwise])
def test_neither_bias_nor_activation(strategy: type) -> None:
    case = make_case(2, 8, 5, 7, 6, ONE)
    found = run_into_slice(strategy(case.weights, Epilogue(None, None), ONE, case.in_shape), case)
    case.biases[:] = 0
    assert_close(found, convolve(case), TOLERANCE)


@pytest.mark.parametrize("f", [4, 12])
def test_exact_results_do_not_depend_on_the_kernels(
    f: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(2, 8, 9, 7, f, ONE)
    exact = Pointwise(case.weights, leaky_epilogue(case), ONE, case.in_shape, exact=True)
    found = run_into_slice(exact, case)
    with monkeypatch.context() as patch:
        patch.setattr(choice, "compiled_wanted", lambda: False)
        np.testing.assert_array_equal(found, run_into_slice(exact, case))


@pytest.mark.parametrize("pixels", [100, 200, 1200, 1201, 5000, 20011])
@pytest.mark.parametrize(("f", "taps"), [(8, 9), (16, 27), (64, 64), (70, 80)])
def test_multiply(f: int, taps: int, pixels: int) -> None:
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((f, taps), dtype=np.float32)
    columns = rng.standard_normal((2, taps, pixels + 3), dtype=np.float32)[:, :, 1:-2]
    out = np.full((2, f, pixels + 2), np.nan, np.float32)
    multiply(weights, columns, out[:, :, 1:-1])
    assert_close(out[:, :, 1:-1], weights.astype(np.float64) @ columns, TOLERANCE)
    assert np.isnan(out[:, :, [0, -1]]).all()


@pytest.mark.parametrize("most", [1, 16, 17, 100, 1000])
@pytest.mark.parametrize("size", [1, 16, 97, 361, 1000, 8192])
def test_equal_parts(size: int, most: int) -> None:
    parts, width, rest = equal_parts(size, most)
    assert parts * width + rest == size
    assert width <= most or parts == 0
    assert 0 <= rest <= max(most, width)
