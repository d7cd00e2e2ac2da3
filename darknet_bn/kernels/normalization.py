"""Response normalisation across channels.  C: ``src/normalization_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block, run_blocks


@floating
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
    """Divide every value by a power of the sum of squares of the channels around it.

    Parameters
    ----------
    x : float32 array (n, c, s)
        Images, channels, pixels.
    size : int
        Number of channels in the sum: from ``(size-1)//2`` before to ``size//2`` after.
    alpha, beta, kappa : float
        The divisor is ``(kappa + alpha * sum)**beta``.
    out : float32 array (n, c, s)
        Receives the result; not ``x``.
    misses_one : bool
        Whether the sums never include the square of channel ``size//2``, but subtract it when that
        channel leaves the window.

    Notes
    -----
    C: ``forward_normalization_layer`` in ``src/normalization_layer.c``, which does so.
    """
    n, c, s = x.shape

    def block(at: Block) -> None:
        images, pixels = at
        part, y = x[images, :, pixels], out[images, :, pixels]
        _divisors(part, size, alpha, kappa, y, misses_one)
        with np.errstate(all="ignore"):  # a sum below zero gives NaN, as in C
            np.power(y, y.dtype.type(-beta), out=y)
            np.multiply(y, part, out=y)

    run_blocks(block, n, s, c)


@floating
def backward_normalization_layer(
    x: F32,
    delta: F32,
    size: int,
    alpha: float,
    beta: float,
    kappa: float,
    *,
    misses_one: bool,
    exact: bool,
) -> F32:
    """Carry the delta of `forward_normalization_layer` back to its input.

    Parameters
    ----------
    x, delta : float32 arrays (n, c, s)
        The input, and the delta of the output.
    size, alpha, beta, kappa, misses_one
        As in the forward pass.
    exact : bool
        Whether the effect of a value on the divisors of others counts; in the program it does not.

    Returns
    -------
    delta_x : float32 array (n, c, s)

    Notes
    -----
    C: ``backward_normalization_layer`` in ``src/normalization_layer.c``.
    """
    ahead, behind = size // 2, (size - 1) // 2
    norms = np.empty_like(x)
    _divisors(x, size, alpha, kappa, norms, misses_one)
    with np.errstate(all="ignore"):
        delta_x = delta * norms ** x.dtype.type(-beta)
        if not exact:
            return delta_x
        pull = delta * x * norms ** x.dtype.type(-beta - 1)
    c = x.shape[1]
    sums = np.zeros_like(x)
    for shift in range(-ahead, behind + 1):  # channel k includes channel k - shift in its divisor
        to = slice(max(0, -shift), min(c, c - shift))
        by = slice(max(0, shift), min(c, c + shift))
        sums[:, to] += pull[:, by]
    if misses_one and ahead < c:
        sums[:, ahead] -= pull.sum(axis=1)
    delta_x -= x.dtype.type(2 * alpha * beta) * x * sums
    return delta_x


def _divisors(x: F32, size: int, alpha: float, kappa: float, out: F32, misses_one: bool) -> None:
    """Compute ``kappa + alpha * sum`` of images (n, c, s)."""
    c, ahead, behind = x.shape[1], size // 2, (size - 1) // 2
    total = np.zeros((len(x), x.shape[2]))
    square = np.empty_like(total)
    if misses_one and ahead < c:
        total -= np.square(x[:, ahead], dtype=np.float64, out=square)
    for channel in range(min(ahead, c)):
        total += np.square(x[:, channel], dtype=np.float64, out=square)
    for k in range(c):
        if k + ahead < c:
            total += np.square(x[:, k + ahead], dtype=np.float64, out=square)
        if k - behind - 1 >= 0:
            total -= np.square(x[:, k - behind - 1], dtype=np.float64, out=square)
        np.multiply(total, alpha, out=square)
        np.add(square, kappa, out=out[:, k], casting="same_kind")


@floating
def l2normalize_cpu(x: F32, out: F32) -> None:
    """Scale the channels of every pixel so that their squares add up to one.

    Parameters
    ----------
    x : float32 array (n, c, s)
        Images, channels, pixels.
    out : float32 array (n, c, s)
        Receives the result; NaN where all channels are zero.

    Notes
    -----
    C: ``l2normalize_cpu`` in pjreddie's ``src/blas.c``.
    """
    n, c, s = x.shape

    def block(at: Block) -> None:
        images, pixels = at
        part = x[images, :, pixels]
        norm = np.sqrt(np.einsum("nks,nks->ns", part, part, dtype=np.float64)).astype(x.dtype)
        with np.errstate(all="ignore"):
            np.divide(part, norm[:, np.newaxis], out=out[images, :, pixels])

    run_blocks(block, n, s, c)
