"""Response normalisation across channels.  C: ``src/normalization_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.blocks import Block, run_blocks


def forward_normalization_layer(
    x: F32,
    size: int,
    alpha: float,
    beta: float,
    kappa: float,
    out: F32,
    *,
    misses_one: bool = True,
) -> None:
    """Divide every value by a power of the squares of the channels around it.

    Parameters
    ----------
    x : float32 array (n, c, s)
        Images, channels, pixels.
    size : int
        How many channels count: from ``(size-1)//2`` before to ``size//2`` behind.
    alpha, beta, kappa : float
        The divisor is ``(kappa + alpha * sum)**beta``.
    out : float32 array (n, c, s)
        Where the result goes; not ``x``.
    misses_one : bool
        Whether the sums never get to see the square of channel ``size//2``, but lose it when that
        channel is left behind.

    Notes
    -----
    C: ``forward_normalization_layer`` in ``src/normalization_layer.c``, where they do.
    """
    n, c, s = x.shape
    ahead, behind = size // 2, (size - 1) // 2
    unseen = x[:, ahead] if misses_one and ahead < c else None

    def block(at: Block) -> None:
        images, pixels = at
        part, y = x[images, :, pixels], out[images, :, pixels]
        total = np.zeros((len(part), part.shape[2]))
        square = np.empty_like(total)
        if unseen is not None:
            total -= np.square(unseen[images, pixels], dtype=np.float64, out=square)
        for channel in range(min(ahead, c)):
            total += np.square(part[:, channel], dtype=np.float64, out=square)
        for k in range(c):
            if k + ahead < c:
                total += np.square(part[:, k + ahead], dtype=np.float64, out=square)
            if k - behind - 1 >= 0:
                total -= np.square(part[:, k - behind - 1], dtype=np.float64, out=square)
            np.multiply(total, alpha, out=square)
            np.add(square, kappa, out=y[:, k], casting="same_kind")
        with np.errstate(all="ignore"):  # a sum below zero gives NaN, in C too
            np.power(y, np.float32(-beta), out=y)
            np.multiply(y, part, out=y)

    run_blocks(block, n, s, c)


def l2normalize_cpu(x: F32, out: F32) -> None:
    """Scale the channels of every pixel so that their squares add up to one.

    Parameters
    ----------
    x : float32 array (n, c, s)
        Images, channels, pixels.
    out : float32 array (n, c, s)
        Where the result goes; NaN where all channels are zero.

    Notes
    -----
    C: ``l2normalize_cpu`` in pjreddie's ``src/blas.c``.
    """
    n, c, s = x.shape

    def block(at: Block) -> None:
        images, pixels = at
        part = x[images, :, pixels]
        norm = np.sqrt(np.einsum("nks,nks->ns", part, part, dtype=np.float64)).astype(np.float32)
        with np.errstate(all="ignore"):
            np.divide(part, norm[:, np.newaxis], out=out[images, :, pixels])

    run_blocks(block, n, s, c)
