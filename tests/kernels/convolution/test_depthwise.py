"""Depthwise convolutions of any geometry against the plain sum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darknet_bn.kernels import choice
from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue
from darknet_bn.kernels.convolution import compiled_depthwise, depthwise
from darknet_bn.kernels.convolution.depthwise import Depthwise
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from tests.support.convolutions import assert_close, convolve, leaky, make_case, run_into_slice

pytestmark = pytest.mark.usefixtures("each_kernel")

CHANNELS = 5
CASES = [
    (geometry, size)
    for geometry, size in itertools.product(
        [
            ConvGeometry(
                size=k, stride_y=down, stride_x=across, pad=pad, dilation=d, groups=CHANNELS
            )
            for k, (down, across), pad, d in itertools.product(
                (1, 2, 3, 5),
                ((1, 1), (2, 2), (1, 2), (3, 1), (4, 5)),
                (0, 1, 2, 6),
                (1, 2, 3),
            )
        ],
        [(6, 7), (1, 5), (9, 2)],
    )
    if min(geometry.out_hw(*size)) > 0
]
TOLERANCE = 1e-6  # 25 products and a bias in float32: a few roundings of 6e-8


def run(n: int, f: int, size: tuple[int, int], geometry: ConvGeometry) -> None:
    case = make_case(n, CHANNELS, *size, f, geometry)
    epilogue = Epilogue(case.biases, ACTIVATIONS["leaky"])
    convolution = Depthwise(case.weights, epilogue, geometry, case.in_shape)
    assert_close(run_into_slice(convolution, case), leaky(convolve(case)), TOLERANCE)


@pytest.mark.parametrize("name", ["linear", "relu", "relu6", "relie", "revleaky", "swish", "mish"])
@pytest.mark.parametrize("size", [3, 5])
def test_activations(name: str, size: int) -> None:
    geometry = ConvGeometry(size=size, pad=size // 2, groups=CHANNELS)
    case = make_case(2, CHANNELS, 9, 8, CHANNELS, geometry)
    case.weights[:] *= 3  # so that some sums are above 6
    activated = Depthwise(
        case.weights, Epilogue(case.biases, ACTIVATIONS[name]), geometry, case.in_shape
    )
    plain = Depthwise(case.weights, Epilogue(case.biases, None), geometry, case.in_shape)
    expected = np.ascontiguousarray(run_into_slice(plain, case))
    ACTIVATIONS[name].apply(expected)
    np.testing.assert_array_equal(run_into_slice(activated, case), expected)


def test_exact_results_do_not_depend_on_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ConvGeometry(size=3, pad=1, groups=CHANNELS)
    case = make_case(1, CHANNELS, 12, 13, CHANNELS, geometry)
    epilogue = Epilogue(case.biases, ACTIVATIONS["leaky"])
    exact = Depthwise(case.weights, epilogue, geometry, case.in_shape, exact=True)
    found = run_into_slice(exact, case)
    with monkeypatch.context() as patch:
        patch.setattr(choice, "compiled_wanted", lambda: False)
        np.testing.assert_array_equal(found, run_into_slice(exact, case))


@pytest.mark.parametrize(
    ("geometry", "size"),
    CASES,
    ids=lambda v: (
        f"k{v.size}s{v.stride_y}x{v.stride_x}p{v.pad}d{v.dilation}"
        if isinstance(v, ConvGeometry)
        else str(v)
    ),
)
def test_any_geometry(geometry: ConvGeometry, size: tuple[int, int]) -> None:
    run(1, CHANNELS, size, geometry)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_batches_multipliers_and_threads(
    multiplier: int, n: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernels in (depthwise, compiled_depthwise):
        monkeypatch.setattr(kernels, "sharers", lambda *_: threads)
    for stride, size in itertools.product((1, 2), (3, 5)):
        geometry = ConvGeometry(size=size, stride_x=stride, stride_y=stride, pad=1, groups=CHANNELS)
        run(n, CHANNELS * multiplier, (8, 11), geometry)


def test_neither_bias_nor_activation() -> None:
    geometry = ConvGeometry(size=3, pad=1, groups=CHANNELS)
    case = make_case(2, CHANNELS, 6, 6, CHANNELS, geometry)
    found = run_into_slice(
        Depthwise(case.weights, Epilogue(None, None), geometry, case.in_shape), case
    )
    case.biases[:] = 0
    assert_close(found, convolve(case), TOLERANCE)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 7), (7, 1), (3, 3), (40, 33)])
def test_images_of_any_size(size: tuple[int, int], stride: int) -> None:
    geometry = ConvGeometry(size=3, stride_x=stride, stride_y=stride, pad=1, groups=CHANNELS)
    run(2, CHANNELS, size, geometry)


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ConvGeometry(size=3, pad=1, groups=CHANNELS)
    case = make_case(1, CHANNELS, 30, 31, CHANNELS, geometry)
    epilogue = Epilogue(case.biases, ACTIVATIONS["leaky"])
    convolution = Depthwise(case.weights, epilogue, geometry, case.in_shape)
    found = []
    for threads in (1, 2, 3):
        for kernels in (depthwise, compiled_depthwise):
            monkeypatch.setattr(kernels, "sharers", lambda *_, count=threads: count)
        found.append(run_into_slice(convolution, case))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_an_image_holds_at_its_edge_stays_out_of_the_next_row() -> None:
    """Rows share the zeros between them; infinities next to those must not be seen from afar."""
    geometry = ConvGeometry(size=3, pad=1, groups=1)
    x = np.zeros((1, 1, 4, 5), np.float32)
    x[0, 0, 1, 4] = np.inf
    weights = np.ones((1, 1, 3, 3), np.float32)
    out = np.empty_like(x)
    Depthwise(weights, Epilogue(None, None), geometry, (1, 4, 5))(x, out)
    assert np.isinf(out[0, 0, :3, 3:]).all()
    assert (out[0, 0, :, :3] == 0).all()
