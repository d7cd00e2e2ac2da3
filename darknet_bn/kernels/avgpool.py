"""The mean of each channel.  C: ``src/avgpool_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block, run_blocks


@floating
def forward_avgpool_layer(x: F32, out: F32) -> None:
    """Average each channel over its pixels.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    out : float32 array (n, c, 1, 1)
        Where the result goes.

    Notes
    -----
    C: ``forward_avgpool_layer`` in ``src/avgpool_layer.c``, which adds the pixels one by one; the
    sum here, in pairs, is the more accurate one.
    """
    n, c, h, w = x.shape
    pixels = x.reshape(n, c, h * w)
    means = out[:, :, 0, 0]

    def block(at: Block) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.reduce(pixels[at], axis=2, out=means[at])
            np.divide(means[at], h * w, out=means[at])

    run_blocks(block, n, c, h * w)
