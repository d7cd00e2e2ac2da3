"""The backward pass of a convolution against its definition, in each way it is computed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.convolution import compiled_gradient
from darknet_bn.kernels.convolution.gradient import input_delta, weight_updates
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured, threads

pytestmark = pytest.mark.usefixtures("each_kernel")

GEOMETRIES = [
    ConvGeometry(size=3, pad=1),
    ConvGeometry(size=3),
    ConvGeometry(size=3, pad=2),
    ConvGeometry(size=3, pad=1, stride_x=2, stride_y=2),
    ConvGeometry(size=3, pad=1, stride_x=1, stride_y=2),
    ConvGeometry(size=3, pad=2, stride_x=3, stride_y=2),
    ConvGeometry(size=3, pad=1, stride_x=4, stride_y=5),
    ConvGeometry(size=3, pad=2, dilation=2),
    ConvGeometry(size=1),
    ConvGeometry(size=2, stride_x=2, stride_y=2),
    ConvGeometry(size=5, pad=2, stride_x=2, stride_y=2),
    ConvGeometry(size=3, pad=1, groups=2),
]
NAMES = [
    f"{g.size}x{g.size} stride {g.stride_y},{g.stride_x} pad {g.pad} x{g.dilation} g{g.groups}"
    for g in GEOMETRIES
]


@pytest.fixture(params=["as it is", "in tiny parts"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small work be computed as large work is, also cut into many parts."""
    monkeypatch.setattr(measured, "STRAIGHT_WORK", 0)
    monkeypatch.setattr(measured, "STRAIGHT_ROW", 1)
    if request.param == "in tiny parts":
        for name in ("STRAIGHT_PIXELS", "STRAIGHT_SUMS", "UPDATE_WINDOWS"):
            monkeypatch.setattr(measured, name, 30)
        monkeypatch.setattr(measured, "WORTH_SHARING", 0)


def by_definition(x: F32, delta: F32, weights: F32, g: ConvGeometry) -> tuple[F64, F64]:
    """Follow each product back: to its weight, and to its pixel."""
    n, c, h, w = x.shape
    f, of_group, k, _ = weights.shape
    edge = g.pad * g.dilation
    shape = n, c, h + 2 * edge + 2 * k, w + 2 * edge + 2 * k
    seen, carried = np.zeros(shape), np.zeros(shape)
    seen[:, :, edge : edge + h, edge : edge + w] = x
    updates = np.zeros(weights.shape)
    for filter_, row, column in np.ndindex(delta.shape[1:]):
        group = filter_ * g.groups // f
        channels = slice(group * of_group, (group + 1) * of_group)
        y, left = row * g.stride_y, column * g.stride_x
        rows = slice(y, y + (k - 1) * g.dilation + 1, g.dilation)
        columns = slice(left, left + (k - 1) * g.dilation + 1, g.dilation)
        given = delta[:, filter_, row, column].astype(np.float64)
        updates[filter_] += np.einsum("n,nckl->ckl", given, seen[:, channels, rows, columns])
        carried[:, channels, rows, columns] += np.einsum("n,ckl->nckl", given, weights[filter_])
    return updates, carried[:, :, edge : edge + h, edge : edge + w]


def case(g: ConvGeometry, size: tuple[int, int], n: int, f: int, c: int) -> tuple[F32, F32, F32]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, *size), np.float32)
    delta = rng.standard_normal((n, f, *g.out_hw(*size)), np.float32)
    return x, delta, rng.standard_normal((f, c // g.groups, g.size, g.size), np.float32)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=NAMES)
@pytest.mark.parametrize(
    ("size", "n", "f", "c"),
    [((7, 9), 3, 6, 4), ((6, 12), 2, 4, 2), ((5, 5), 1, 2, 2), ((11, 3), 4, 10, 6)],
)
def test_updates_and_delta_are_those_of_the_definition(
    geometry: ConvGeometry, size: tuple[int, int], n: int, f: int, c: int
) -> None:
    x, delta, weights = case(geometry, size, n, f, c)
    updates, carried = by_definition(x, delta, weights, geometry)
    # Sums of at most 400 products of normal numbers: float32 loses less than 1e-5 of the largest.
    tolerance = 1e-5 * np.abs(updates).max()
    np.testing.assert_allclose(weight_updates(x, delta, geometry), updates, 0, tolerance)
    out = np.full_like(x, np.nan)  # all of it is overwritten
    input_delta(delta, weights, geometry, out)
    np.testing.assert_allclose(out, carried, 0, 1e-5 * np.abs(carried).max())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("geometry", GEOMETRIES[:5], ids=NAMES[:5])
def test_any_number_of_threads_gives_the_same_updates(
    geometry: ConvGeometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "WORTH_SHARING", 0)
    x, delta, _ = case(geometry, (9, 11), 5, 9, 3)
    found = set()
    for count in (1, 2, 3):
        monkeypatch.setitem(threads._OF_PROCESS, os.getpid(), threads.Workers(count))
        found.add(weight_updates(x, delta, geometry).tobytes())
    assert len(found) == 1


@pytest.mark.usefixtures("small")
def test_any_number_of_threads_gives_the_same_delta_of_halved_images(
    each_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "WORTH_SHARING", 0)
    x, delta, weights = case(GEOMETRIES[3], (33, 35), 5, 9, 3)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setitem(threads._OF_PROCESS, os.getpid(), threads.Workers(count))
        found.append(np.empty_like(x))
        input_delta(delta, weights, GEOMETRIES[3], found[-1])
    # Our loops give the same bits.  Products are cut for the threads, and OpenBLAS for processors
    # without AVX-512 adds up in another order at the edge of each: 7e-8 of the largest was seen.
    off = 0 if each_kernel == "compiled" else 1e-6 * np.abs(found[0]).max()
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], 0, off)


def test_only_what_is_faster_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    same, halving = GEOMETRIES[0], GEOMETRIES[3]
    x, delta, weights = case(same, (32, 32), 4, 16, 16)
    assert compiled_gradient.pays(x, delta, same)
    assert not compiled_gradient.pays(x[:1], delta[:1, :, ::16, ::16].copy(), same)
    assert not compiled_gradient.pays(x.astype(np.float64), delta, same)
    assert not compiled_gradient.pays(x, delta, ConvGeometry(size=3, pad=1, groups=2))
    assert not compiled_gradient.carries(delta, weights, same, x)
    assert compiled_gradient.pays(x, delta[:, :, ::2, ::2].copy(), halving)
    assert not compiled_gradient.pays(x, delta[:, :, :, ::3].copy(), halving)
    halved = delta[:, :, ::2, ::2].copy()
    assert compiled_gradient.carries(halved, weights, halving, x)
    monkeypatch.setattr(measured, "STRAIGHT_CHANNELS", 15)
    assert not compiled_gradient.carries(halved, weights, halving, x)
