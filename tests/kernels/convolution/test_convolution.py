"""The prepared convolution: which strategy is chosen, and that each computes the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.kernels.activations import activate_array
from darknet_bn.kernels.convolution.convolution import ConvGeometry, Convolution
from darknet_bn.kernels.convolution.depthwise import Depthwise
from darknet_bn.kernels.convolution.direct import Direct
from darknet_bn.kernels.convolution.gemm import Im2col, Pointwise
from darknet_bn.kernels.convolution.scheme import F2, F4
from darknet_bn.kernels.convolution.winograd import Winograd
from darknet_bn.work.threads import workers
from tests.support.convolutions import (
    Case,
    assert_close,
    convolve,
    leaky,
    make_case,
    run_into_slice,
)

pytestmark = pytest.mark.usefixtures("each_kernel")

THREE = ConvGeometry(size=3, pad=1)
pytestmark = pytest.mark.usefixtures("each_kernel")

# (strategy, channels, filters, geometry), sizes that are even and odd
STRATEGIES = {
    "pointwise": (Pointwise, 16, 24, ConvGeometry(size=1)),
    "pointwise, groups": (Pointwise, 16, 24, ConvGeometry(size=1, groups=8)),
    "winograd": (Winograd, 64, 64, THREE),
    "depthwise": (Depthwise, 16, 16, ConvGeometry(size=3, pad=1, groups=16)),
    "depthwise, stride": (
        Depthwise,
        16,
        32,
        ConvGeometry(size=5, stride_x=2, stride_y=2, pad=2, groups=16),
    ),
    "few channels": (Im2col, 3, 24, THREE),
    "few filters": (Im2col, 16, 5, THREE),
    "little work": (Im2col, 16, 16, THREE),
    "stride": (Im2col, 16, 24, ConvGeometry(size=3, stride_x=2, stride_y=2, pad=1)),
    "strides": (Im2col, 16, 24, ConvGeometry(size=3, stride_x=2, pad=1)),
    "no pad": (Im2col, 16, 24, ConvGeometry(size=3)),
    "dilation": (Im2col, 16, 24, ConvGeometry(size=3, pad=1, dilation=2)),
    "groups": (Im2col, 16, 24, ConvGeometry(size=3, pad=1, groups=4)),
    "even": (Im2col, 16, 24, ConvGeometry(size=2, pad=1)),
    "1x1 with stride": (Im2col, 16, 24, ConvGeometry(size=1, stride_x=2, stride_y=2)),
    "1x1 with pad": (Im2col, 16, 24, ConvGeometry(size=1, pad=2)),
}


def build(case: Case, activation: str | None = "leaky", *, exact: bool = False) -> Convolution:
    return Convolution(
        case.weights, case.biases, case.geometry, activation, case.in_shape, exact=exact
    )


@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("size", [(13, 13), (12, 7)], ids=str)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_computes_the_same(
    name: str, size: tuple[int, ...], n: int, exact: bool, each_kernel: str
) -> None:
    strategy, c, f, geometry = STRATEGIES[name]
    case = make_case(n, c, *size, f, geometry)
    convolution = build(case, exact=exact)
    chosen = Im2col if exact and strategy is Winograd else strategy
    if name == "few channels" and each_kernel == "compiled" and not exact:
        chosen = Direct
    assert type(convolution.strategy) is chosen
    assert convolution.out_shape == case.out_shape[1:]
    with workers().hold_blas():
        found = run_into_slice(convolution, case)
    # sums of up to 576 products: 1e-6 of the largest in any order, 2e-6 seen with Winograd
    assert_close(found, leaky(convolve(case)), 5e-6 if chosen is Winograd else 1e-6)


@pytest.mark.parametrize(("size", "scheme"), [((13, 13), F4), ((10, 10), F2), ((52, 40), F4)])
def test_scheme(size: tuple[int, ...], scheme) -> None:
    convolution = build(make_case(1, 64, *size, 64, THREE))
    assert isinstance(convolution.strategy, Winograd)
    assert convolution.strategy.scheme is scheme


@pytest.mark.parametrize("name", ["winograd", "stride", "pointwise", "depthwise"])
def test_threads_change_roundings_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, c, f, geometry = STRATEGIES[name]
    case = make_case(1, c, 150, 151, f, geometry)  # large enough to be shared
    results = []
    for threads in (1, 2, 2):
        monkeypatch.setenv("DARKNET_BN_THREADS", str(threads))
        monkeypatch.setattr("darknet_bn.work.threads._OF_PROCESS", {})
        assert workers().count == threads
        convolution = build(case)
        assert type(convolution.strategy) is strategy
        with workers().hold_blas():
            results.append(run_into_slice(convolution, case).copy())
    one, two, again = results
    np.testing.assert_array_equal(two, again)
    # other tiles, other order of the sums: roundings as above
    tolerance = 5e-6 if strategy is Winograd else 1e-6
    assert_close(one, two, tolerance)
    assert_close(one, leaky(_by_shifts(case)), tolerance)


def _by_shifts(case: Case) -> np.ndarray:
    """The plain sum again, all windows of a tap at once: for large images."""
    g = case.geometry
    n, f, oh, ow = case.out_shape
    x = np.pad(case.x.astype(np.float64), ((0, 0), (0, 0), (g.pad, g.pad), (g.pad, g.pad)))
    x = x.reshape(n, g.groups, -1, *x.shape[2:])
    weights = case.weights.astype(np.float64).reshape(g.groups, f // g.groups, -1, g.size, g.size)
    y = np.zeros((n, g.groups, f // g.groups, oh, ow))
    for ky, kx in itertools.product(range(g.size), repeat=2):
        down = slice(ky, ky + (oh - 1) * g.stride_y + 1, g.stride_y)
        across = slice(kx, kx + (ow - 1) * g.stride_x + 1, g.stride_x)
        seen = x[..., down, across].reshape(n, g.groups, -1, oh * ow)
        y += np.matmul(weights[..., ky, kx], seen).reshape(y.shape)
    return y.reshape(n, f, oh, ow) + case.biases[:, None, None]


@pytest.mark.parametrize("activation", [None, "linear", "mish", "normalize_channels_softmax"])
@pytest.mark.parametrize("name", ["winograd", "stride", "pointwise", "depthwise"])
def test_activation(name: str, activation: str | None) -> None:
    _, c, f, geometry = STRATEGIES[name]
    case = make_case(2, c, 9, 8, f, geometry)
    plain = run_into_slice(build(case, None), case)
    found = run_into_slice(build(case, activation), case)
    # the bias is added in another order if an activation follows: one rounding of 6e-8,
    # which a softmax of values up to 50 multiplies
    expected = activate_array(plain, activation or "linear")
    assert_close(found, expected, 1e-5)


def test_no_biases() -> None:
    case = make_case(1, 16, 9, 8, 24, THREE)
    convolution = Convolution(case.weights, None, THREE, None, case.in_shape)
    case.biases[:] = 0
    assert_close(run_into_slice(convolution, case), convolve(case), 1e-6)  # as above


def test_weights_may_be_a_memory_map(tmp_path: Path) -> None:
    case = make_case(1, 16, 9, 8, 24, ConvGeometry(size=3))
    path = tmp_path / "weights"
    case.weights.tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=case.weights.shape)
    convolution = Convolution(mapped, case.biases, case.geometry, "leaky", case.in_shape)
    assert_close(run_into_slice(convolution, case), leaky(convolve(case)), 1e-6)  # as above


@pytest.mark.parametrize(
    ("shape", "geometry", "in_shape", "message"),
    [
        ((4, 3, 3, 3), THREE, (4, 9, 9), r"weights do not fit.*\(filters, 4/1, 3, 3\)"),
        ((4, 4, 3, 2), THREE, (4, 9, 9), "weights do not fit"),
        ((4, 2, 3, 3), ConvGeometry(size=3, groups=3), (6, 9, 9), "weights do not fit"),
        ((3, 2, 3, 3), ConvGeometry(size=3, groups=3), (7, 9, 9), "weights do not fit"),
        ((4, 4, 3, 3), ConvGeometry(size=3), (4, 2, 9), "does not fit into the image.*2x9"),
    ],
)
def test_what_does_not_fit(
    shape: tuple[int, ...], geometry: ConvGeometry, in_shape: tuple[int, ...], message: str
) -> None:
    weights = np.zeros(shape, np.float32)
    with pytest.raises(ShapeError, match=message):
        Convolution(weights, None, geometry, None, in_shape)
