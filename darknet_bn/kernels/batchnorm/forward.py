"""Batch norm forward, in inference and in training: the C functions in turn, block by block.

`batchnorm_layer.forward_batchnorm_layer` has already checked the arguments.  The results of one
function for a block are still in cache for the next; threads share the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm import compiled
from darknet_bn.kernels.batchnorm.bias import add_bias, scale_bias
from darknet_bn.kernels.batchnorm.blas import mean_cpu, normalize_cpu, variance_cpu
from darknet_bn.kernels.batchnorm.filters import along_filters, in_c, share_filters, share_tiles
from darknet_bn.kernels.choice import twin
from darknet_bn.work.cuts import Block


@twin(compiled.infer, when=lambda xs, *_: compiled.pays(xs))
def infer(xs: F32, p: Mapping[str, F32], dialect: Dialect, out: F32) -> None:
    """Normalise with the rolling statistics.

    Parameters
    ----------
    xs : float32 array (n, f, s)
    p : mapping of float32 arrays (f,)
    dialect : Dialect
    out : float32 array (n, f, s)
        Receives the result; may be ``xs``.
    """

    def tile(at: Block) -> None:
        filters, part = at[1], out[at]
        mean, variance = p["rolling_mean"][filters], p["rolling_variance"][filters]
        normalize_cpu(xs[at], mean, variance, dialect, out=part)
        scale_bias(part, p["scales"][filters], out=part)
        add_bias(part, p["biases"][filters], out=part)

    share_tiles(tile, xs)


@twin(compiled.train, when=lambda xs, *_: compiled.pays(xs))
def train(xs: F32, p: Mapping[str, F32], dialect: Dialect, out: F32) -> tuple[F32, F32]:
    """Normalise with the statistics of the batch, and return them.

    Parameters
    ----------
    xs : float32 array (n, f, s)
    p : mapping of float32 arrays (f,)
    dialect : Dialect
    out : float32 array (n, f, s)
        Receives the result; not ``xs``.

    Returns
    -------
    mean, variance : float32 arrays (f,)
    """
    mean, variance = np.empty((2, xs.shape[1]), xs.dtype)

    def block(filters: slice) -> None:
        xb, yb = xs[:, filters], out[:, filters]
        mean[filters] = mean_cpu(xb)
        with in_c():  # once for both functions below
            along_filters(np.subtract, xb, "mean", mean[filters], out=yb)
        variance[filters] = variance_cpu(yb, None)
        normalize_cpu(yb, None, variance[filters], dialect, out=yb)
        scale_bias(yb, p["scales"][filters], out=yb)
        add_bias(yb, p["biases"][filters], out=yb)

    share_filters(block, xs)
    return mean, variance
