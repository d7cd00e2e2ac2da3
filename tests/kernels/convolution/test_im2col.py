"""Windows of an image, against one look-up a tap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darknet_bn.kernels.convolution.im2col import ConvGeometry, im2col_cpu, windows

GEOMETRIES = [
    ConvGeometry(size=size, stride_x=across, stride_y=down, pad=pad, dilation=dilation)
    for size, (down, across), pad, dilation in itertools.product(
        (1, 2, 3, 5), ((1, 1), (2, 2), (1, 3), (2, 1)), (0, 1, 2, 7), (1, 2, 3)
    )
]
CASES = [
    (shape, geometry)
    for shape, geometry in itertools.product(((2, 6, 7), (1, 1, 5), (1, 9, 2)), GEOMETRIES)
    if min(geometry.out_hw(*shape[1:])) > 0
]


def text(value: object) -> str:
    if not isinstance(value, ConvGeometry):
        return str(value)
    g = value
    return f"k{g.size}s{g.stride_y}x{g.stride_x}p{g.pad}d{g.dilation}"


def seen(x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """What C's im2col_cpu_ext reads, a pixel at a time."""
    c, h, w = x.shape
    k = geometry.size
    oh, ow = geometry.out_hw(h, w)
    columns = np.zeros((c, k, k, oh, ow), np.float32)
    for ky, kx, row, column in np.ndindex(k, k, oh, ow):
        iy = row * geometry.stride_y + (ky - geometry.pad) * geometry.dilation
        ix = column * geometry.stride_x + (kx - geometry.pad) * geometry.dilation
        if 0 <= iy < h and 0 <= ix < w:
            columns[:, ky, kx, row, column] = x[:, iy, ix]
    return columns


@pytest.mark.parametrize(("shape", "geometry"), CASES, ids=text)
def test_columns(shape: tuple[int, int, int], geometry: ConvGeometry) -> None:
    x = np.random.default_rng(3).random(shape, dtype=np.float32)
    expected = seen(x, geometry)
    np.testing.assert_array_equal(im2col_cpu(x, geometry), expected)
    out = np.full(expected.shape, np.nan, np.float32)
    assert im2col_cpu(x, geometry, out=out) is out
    np.testing.assert_array_equal(out, expected)
    rows = max(1, expected.shape[3] // 2)
    first = expected.shape[3] - rows
    part = windows(x, geometry, first, rows)
    np.testing.assert_array_equal(part, expected[:, :, :, first:])


def test_windows_inside_of_the_image_are_not_copied() -> None:
    x = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6)
    assert np.shares_memory(windows(x, ConvGeometry(size=3), 0, 3), x)
    padded = ConvGeometry(size=3, pad=1)
    assert np.shares_memory(windows(x, ConvGeometry(size=1, stride_y=2), 0, 3), x)
    assert not np.shares_memory(windows(x, padded, 0, 5), x)


def test_the_result_is_the_callers_own() -> None:
    """The buffer with the zeros is used again, so nothing returned may be a view of it."""
    geometry = ConvGeometry(size=3, pad=1)
    x = np.ones((1, 4, 4), np.float32)
    first = im2col_cpu(x, geometry)
    im2col_cpu(2 * x, geometry)
    assert first.max() == 1


@pytest.mark.parametrize(
    ("pixels", "size", "stride", "pad", "dilation", "expected"),
    [
        (416, 3, 1, 1, 1, 416),
        (416, 3, 2, 1, 1, 208),
        (13, 3, 2, 1, 1, 7),
        (8, 2, 2, 1, 1, 5),  # an even kernel with padding
        (19, 3, 1, 1, 4, 19),  # dilation leaves the count as it is
        (19, 3, 1, 0, 4, 17),
        (1, 2, 2, 0, 1, 1),  # C divides -1 by 2 to 0
        (1, 3, 1, 0, 1, -1),
    ],
)
def test_out_hw(
    pixels: int, size: int, stride: int, pad: int, dilation: int, expected: int
) -> None:
    geometry = ConvGeometry(size=size, stride_x=stride, stride_y=stride, pad=pad, dilation=dilation)
    assert geometry.out_hw(pixels, 5 * pixels)[0] == expected
    assert geometry.out_hw(5 * pixels, pixels)[1] == expected
