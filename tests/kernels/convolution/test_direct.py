"""The compiled convolution of few channels against the plain sum; where it is chosen."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue, activate_array
from darknet_bn.kernels.convolution import direct
from darknet_bn.kernels.convolution.convolution import Convolution
from darknet_bn.kernels.convolution.direct import Direct
from darknet_bn.kernels.convolution.gemm import Im2col
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured
from darknet_bn.work.threads import workers
from tests.support.convolutions import Case, assert_close, convolve, make_case, run_into_slice

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is absent"
)
THREE = ConvGeometry(size=3, pad=1)
TWO = ConvGeometry(size=3, pad=1, stride_x=2, stride_y=2)
IMAGE = (3, 20, 16)


def build(case: Case, activation: str | None) -> Direct:
    epilogue = Epilogue(case.biases, ACTIVATIONS[activation] if activation else None)
    return Direct(case.weights, epilogue, case.geometry, case.in_shape)


@needs_numba
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (1, 3)], ids=str)
@pytest.mark.parametrize("c", [1, 3])
def test_any_size(c: int, strides: tuple[int, int], pad: int) -> None:
    across, down = strides
    geometry = ConvGeometry(size=3, pad=pad, stride_x=across, stride_y=down)
    for n, f, hw in ((1, 4, (3, 3)), (2, 5, (8, 17)), (1, 1, (5, 40)), (1, 3, (3, 2 * 432 + 5))):
        case = make_case(n, c, *hw, f, geometry)
        expected = activate_array(convolve(case).astype(np.float32), "leaky")
        # 27 products a sum, in float32: a few roundings of 6e-8
        assert_close(run_into_slice(build(case, "leaky"), case), expected, 1e-6)


@needs_numba
@pytest.mark.parametrize("activation", [None, "relu", "mish", "logistic"])
def test_any_activation(activation: str | None) -> None:
    case = make_case(2, 2, 9, 11, 6, THREE)
    expected = activate_array(convolve(case).astype(np.float32), activation or "linear")
    assert_close(run_into_slice(build(case, activation), case), expected, 1e-6)  # as above


@needs_numba
@pytest.mark.parametrize("geometry", [THREE, TWO], ids=str)
def test_neither_threads_nor_parts_change_a_bit(
    geometry: ConvGeometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(1, 3, 200, 300, 16, geometry)  # large enough to be shared
    results = []
    for threads, padded in ((1, 1 << 16), (2, 1 << 16), (3, 1)):
        monkeypatch.setenv("DARKNET_BN_THREADS", str(threads))
        monkeypatch.setattr("darknet_bn.work.threads._OF_PROCESS", {})
        monkeypatch.setattr(measured, "DIRECT_PADDED", padded)
        results.append(run_into_slice(build(case, "leaky"), case))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_where_it_is_chosen(each_kernel: str) -> None:
    def chosen(
        geometry: ConvGeometry = THREE, in_shape: tuple[int, int, int] = IMAGE, **how: bool
    ) -> type:
        c = in_shape[0] // geometry.groups
        weights = np.zeros((6, c, geometry.size, geometry.size), np.float32)
        return type(Convolution(weights, None, geometry, "leaky", in_shape, **how).strategy)

    compiled = Direct if each_kernel == "compiled" else Im2col
    assert chosen() is chosen(TWO) is compiled
    assert chosen(exact=True) is Im2col
    assert chosen(in_shape=(9, 20, 16)) is Im2col
    assert chosen(ConvGeometry(size=5, pad=2)) is Im2col
    assert chosen(ConvGeometry(size=3, pad=1, groups=3), (6, 20, 16)) is Im2col
    assert chosen(ConvGeometry(size=3, pad=2, dilation=2)) is Im2col
    assert chosen(ConvGeometry(size=3, pad=1, stride_x=3)) is Im2col


def test_float64_is_not_for_it() -> None:
    epilogue = Epilogue(None, None)
    assert direct.pays(np.zeros((6, 3, 3, 3), np.float32), epilogue, THREE, IMAGE, False)
    assert not direct.pays(np.zeros((6, 3, 3, 3)), epilogue, THREE, IMAGE, False)


@needs_numba
def test_it_computes_what_its_twin_does(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(2, 3, 20, 16, 6, TWO)
    with workers().hold_blas():
        epilogue = Epilogue(case.biases, None)
        products = run_into_slice(Im2col(case.weights, epilogue, TWO, case.in_shape), case)
    assert_close(run_into_slice(build(case, None), case), products, 1e-6)  # as above
