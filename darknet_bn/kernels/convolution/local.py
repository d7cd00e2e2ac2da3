"""A convolution with different filters for each pixel.  C: ``src/local_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Activation, activate_tile
from darknet_bn.kernels.convolution.gradient import col2im_cpu
from darknet_bn.kernels.convolution.im2col import ConvGeometry, windows
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting, pieces, sharers
from darknet_bn.work.threads import workers


@floating
def forward_local_layer(
    x: F32, weights: F32, biases: F32, geometry: ConvGeometry, activation: Activation, out: F32
) -> None:
    """Multiply every window of the image by its own filters.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    weights : float32 array (oh*ow, f, c, k, k)
    biases : float32 array (f, oh, ow)
    geometry : ConvGeometry
        Without groups.
    activation : Activation
    out : float32 array (n, f, oh, ow)
        Receives the result.

    Notes
    -----
    C: ``forward_local_layer`` in ``src/local_layer.c``.  All weights are read once per batch, which
    takes longer than the arithmetic.
    """
    n, (f, oh, ow) = len(x), biases.shape
    taps = weights[0, 0].size
    y = out.reshape(n, f, oh * ow)
    offsets = biases.reshape(f, -1).T
    matrices = weights.reshape(oh * ow, f, taps)
    images = max(1, min(n, measured.LOCAL_WINDOWS // (ow * taps)))
    threads = sharers(n * weights.size, weights.size)
    rows = min(fitting(measured.LOCAL_WINDOWS, images * ow * taps), -(-oh // threads))

    def tile(part: slice) -> None:
        pixels = slice(part.start * ow, part.stop * ow)
        count = pixels.stop - pixels.start
        for some in pieces(n, images):
            b = some.stop - some.start
            seen = workers().scratch(count * b * taps, "windows", x.dtype)
            seen = seen.reshape(part.stop - part.start, ow, b, *weights.shape[2:])
            for i in range(b):
                of_image = windows(x[some.start + i], geometry, part.start, seen.shape[0])
                np.copyto(seen[:, :, i], of_image.transpose(3, 4, 0, 1, 2))
            sums = workers().scratch(count * f * b, "sums", x.dtype).reshape(count, f, b)
            columns = seen.reshape(count, b, taps).transpose(0, 2, 1)
            np.matmul(matrices[pixels], columns, out=sums)
            np.add(sums, offsets[pixels, :, np.newaxis], out=sums)
            activate_tile(sums, activation)
            np.copyto(y[some, :, pixels], sums.transpose(2, 1, 0))

    workers().run(tile, pieces(oh, rows))


@floating
def backward_local_layer(
    x: F32, weights: F32, delta: F32, geometry: ConvGeometry
) -> tuple[F32, F32]:
    """Carry the delta of the sums back to the input, and sum the updates of the weights.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    weights : float32 array (oh*ow, f, c, k, k)
    delta : float32 array (n, f, oh, ow)
    geometry : ConvGeometry

    Returns
    -------
    delta_x, updates : float32 arrays like ``x`` and ``weights``

    Notes
    -----
    C: ``backward_local_layer`` in ``src/local_layer.c``.
    """
    n, f, oh, ow = delta.shape
    c, k = x.shape[1], geometry.size
    at = delta.reshape(n, f, oh * ow).transpose(2, 1, 0)  # (f, n) for each pixel
    seen = windows(x, geometry, 0, oh).reshape(c * k * k, n, oh * ow).transpose(2, 1, 0)
    updates = np.matmul(at, seen).reshape(weights.shape)
    spread = np.matmul(weights.reshape(oh * ow, f, -1).swapaxes(1, 2), at)
    columns = spread.transpose(1, 2, 0).reshape(c, k, k, n, oh, ow)
    delta_x = np.empty_like(x)
    col2im_cpu(columns, geometry, delta_x)
    return delta_x, updates
