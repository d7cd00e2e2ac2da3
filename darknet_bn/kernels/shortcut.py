"""Sums of the outputs of several layers.  C: ``shortcut_cpu`` and others in ``src/blas.c``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.work.threads import workers

SHARES_EPS = 1e-4  # added to the sum of weights that shares are made of
_EPS = np.float32(SHARES_EPS)


@floating
def shortcut_cpu(x: F32, add: F32, s1: float, s2: float, out: F32) -> None:
    """Add images of any size; if one is larger, only every n-th pixel of it is used.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    add : float32 array (n, c1, h1, w1)
        If it is larger than ``x`` by a whole factor, its pixels are read that far apart; if ``x``
        is larger, the pixels of the result are that far apart.  Channels that only one of them has
        are ignored.
    s1, s2 : float
        ``alpha`` and ``beta`` in the cfg: the factors of ``x`` and ``add``.
    out : float32 array (n, c, h, w)
        Receives the result: ``s1 * x + s2 * add`` where both have a pixel, elsewhere ``x``.

    Notes
    -----
    C: ``shortcut_cpu`` in pjreddie's ``src/blas.c``, which expects ``x`` in ``out``.
    """
    if add.shape[1:] == x.shape[1:] and s1 == 1:
        _add_scaled(x, add, s2, out)
        return
    np.copyto(out, x)
    ours, theirs = overlap(x.shape[2], add.shape[2]), overlap(x.shape[3], add.shape[3])
    c = min(x.shape[1], add.shape[1])
    at = out[:, :c, ours[0], theirs[0]]
    other = add[:, :c, ours[1], theirs[1]]
    if s1 != 1:
        np.multiply(at, np.float32(s1), out=at)
    _add_scaled(at, other, s2, at)


def overlap(size: int, add: int) -> tuple[slice, slice]:
    """Return which rows (or columns) of ``size`` and of ``add`` belong together."""
    count = min(size, add)
    sample, stride = max(1, size // add), max(1, add // size)
    return (
        slice(0, (count - 1) * sample + 1, sample),
        slice(0, (count - 1) * stride + 1, stride),
    )


@floating
def shortcut_multilayer_cpu(
    x: F32, adds: Sequence[F32], out: F32, weights: F32 | None = None
) -> None:
    """Add any number of images of the same size, each with its weights.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    adds : sequence of float32 arrays (n, c1, h, w)
        Channels after the c-th are ignored; missing channels count as 0.
    out : float32 array (n, c, h, w)
        Receives the result.
    weights : float32 array (1 + len(adds), c), optional
        The factor for each array and channel, as returned by `normalized_weights`.

    Notes
    -----
    C: ``shortcut_multilayer_cpu`` in AlexeyAB's ``src/blas.c``.
    """
    if weights is None:
        rest = list(adds)
        if rest and rest[0].shape == x.shape:
            np.add(x, rest.pop(0), out=out)
        else:
            np.copyto(out, x)
    else:
        np.multiply(x, weights[0, :, None, None], out=out)
        rest = list(adds)
    for number, add in enumerate(rest, start=1):
        c = min(out.shape[1], add.shape[1])
        part = add[:, :c]
        if weights is not None:
            scaled = workers().scratch(part.size, "shortcut", part.dtype).reshape(part.shape)
            part = np.multiply(part, weights[number, :c, None, None], out=scaled)
        np.add(out[:, :c], part, out=out[:, :c])


@floating
def normalized_weights(weights: F32, normalization: str) -> F32:
    """Normalise the weights so that the weights of one channel sum to nearly one.

    Parameters
    ----------
    weights : float32 array (m, c)
        One row for each array that is added.
    normalization : str
        ``none``; ``relu`` or ``avg_relu``: negative weights become 0, the others are divided by
        their sum; ``softmax``.

    Returns
    -------
    weights : float32 array (m, c)

    Notes
    -----
    C: part of ``shortcut_multilayer_cpu``, which adds 1e-4 to each sum.
    """
    if normalization == "none":
        return weights
    if normalization == "softmax":
        parts = np.exp(weights - weights.max(axis=0))
    else:
        parts = np.maximum(weights, 0)
    shares: F32 = parts / (_EPS + parts.sum(axis=0))
    return shares


@floating
def normalized_weights_delta(weights: F32, normalization: str, delta: F32) -> F32:
    """Carry the delta of the result of `normalized_weights` back to its input.

    Parameters
    ----------
    weights : float32 array (m, c)
    normalization : str
    delta : float32 array (m, c)

    Returns
    -------
    delta_weights : float32 array (m, c)

    Notes
    -----
    C does not have this step: there the weights learn as if they were not normalised.
    """
    if normalization == "none":
        return delta
    shares = normalized_weights(weights, normalization)
    shared = (delta * shares).sum(axis=0)
    if normalization == "softmax":
        # The subtracted maximum cancels, except for the small number in the divisor.
        top = np.equal(weights, weights.max(axis=0))
        result: F32 = shares * (delta - shared) - top * shared * (1 - shares.sum(axis=0))
        return result
    total = _EPS + np.maximum(weights, 0).sum(axis=0)
    kept: F32 = (delta - shared) / total * (weights > 0)
    return kept


def _add_scaled(x: F32, add: F32, scale: float, out: F32) -> None:
    if scale != 1:
        scaled = workers().scratch(add.size, "shortcut", add.dtype).reshape(add.shape)
        add = np.multiply(add, np.float32(scale), out=scaled)
    np.add(x, add, out=out)
