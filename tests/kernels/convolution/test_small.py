"""Convolutions of many small images against the plain sum; where they are chosen."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

from darknet_bn.kernels.activations import activate_array
from darknet_bn.kernels.convolution import compiled_small
from darknet_bn.kernels.convolution.compiled_small import Small
from darknet_bn.kernels.convolution.convolution import Convolution
from darknet_bn.kernels.convolution.gradient import input_delta, weight_updates
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured, threads
from tests.support.convolutions import Case, assert_close, convolve, make_case

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is absent"
)
SAME = ConvGeometry(size=3, pad=1)
SIZES = [  # images, channels, height, width, filters
    (16, 1, 8, 8, 16),
    (37, 3, 5, 7, 6),
    (20, 5, 1, 4, 1),
    (150, 2, 3, 1, 4),
    (18, 4, 1, 1, 9),
]


def run(case: Case, activation: str | None = None, in_parts: bool = False) -> np.ndarray:
    convolution = Convolution(case.weights, case.biases, SAME, activation, case.in_shape)
    out = np.full(case.out_shape, np.nan, np.float32)
    convolution(case.x if in_parts else np.ascontiguousarray(case.x), out)
    return out


@pytest.mark.parametrize("activation", [None, "leaky", "mish"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size(
    size: tuple[int, int, int, int, int], activation: str | None, each_kernel: str
) -> None:
    case = make_case(*size, SAME)
    expected = activate_array(convolve(case).astype(np.float32), activation or "linear")
    assert_close(run(case, activation), expected, 1e-6)  # 45 products a sum: a few roundings


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_updates_are_those_of_float64(
    size: tuple[int, int, int, int, int], each_kernel: str
) -> None:
    case = make_case(*size, SAME)
    x = np.ascontiguousarray(case.x)
    delta = np.random.default_rng(1).standard_normal(case.out_shape, np.float32)
    wide = weight_updates(x.astype(np.float64), delta.astype(np.float64), SAME)
    # Sums of some thousand products: float32 loses less than 1e-5 of the largest.
    assert_close(weight_updates(x, delta, SAME), wide, 1e-5)


@needs_numba
def test_neither_threads_nor_groups_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "WORTH_SHARING", 0)
    case = make_case(75, 3, 6, 5, 7, SAME)
    x = np.ascontiguousarray(case.x)
    delta = np.random.default_rng(1).standard_normal(case.out_shape, np.float32)
    y, carried, updates = set(), set(), set()
    for count in (1, 2, 3, 5, 9):
        monkeypatch.setitem(threads._OF_PROCESS, os.getpid(), threads.Workers(count))
        y.add(run(case).tobytes())
        out = np.empty_like(x)
        input_delta(delta, case.weights, SAME, out)
        carried.add(out.tobytes())
        updates.add(compiled_small.weight_updates(x, delta, SAME).tobytes())
    assert (len(y), len(carried), len(updates)) == (1, 1, 1)


def test_where_it_is_chosen(each_kernel: str) -> None:
    def small(
        geometry: ConvGeometry = SAME, c: int = 9, f: int = 6, side: int = 8, **how: bool
    ) -> bool:
        weights = np.zeros((f, c, geometry.size, geometry.size), np.float32)
        in_shape = (c, side, side)
        made = Convolution(weights, None, geometry, "leaky", in_shape, **how)
        used: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Small, "__call__", lambda self, x, out: used.append(len(x)))
            for n in (15, 16):
                out = np.empty((n, *made.out_shape), np.float32)
                made(np.zeros((n, *in_shape), np.float32), out)
        assert 15 not in used
        return 16 in used

    compiled = each_kernel == "compiled"
    assert small() is small(c=3) is compiled
    assert not small(exact=True)
    assert not small(side=17)
    assert not small(c=128, f=128)  # Winograd needs fewer multiplications
    assert not small(ConvGeometry(size=3, pad=1, stride_x=2))
    assert not small(ConvGeometry(size=5, pad=2))
    assert not small(ConvGeometry(size=3))


@needs_numba
def test_parts_of_a_wider_batch_go_the_other_way() -> None:
    case = make_case(20, 3, 6, 5, 7, SAME)
    assert not case.x.flags.c_contiguous
    expected = activate_array(convolve(case).astype(np.float32), "leaky")
    assert_close(run(case, "leaky", in_parts=True), expected, 1e-6)  # as above


def test_only_what_is_faster_is_compiled() -> None:
    case = make_case(16, 3, 6, 5, 7, SAME)
    x, delta = np.ascontiguousarray(case.x), np.zeros(case.out_shape, np.float32)
    assert compiled_small.pays(x, delta, SAME)
    assert not compiled_small.pays(case.x, delta, SAME)
    assert not compiled_small.pays(x[:15], delta[:15], SAME)
    assert not compiled_small.pays(x.astype(np.float64), delta.astype(np.float64), SAME)
    assert not compiled_small.pays(x, delta, ConvGeometry(size=3, pad=1, stride_y=2))
