"""Batch norm backward, exact or as the programs compute it, block by block.

`batchnorm_layer.backward_batchnorm_layer` has already checked the arguments.  The results of one
function for a block are still in cache for the next; threads share the blocks.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm import compiled
from darknet_bn.kernels.batchnorm.bias import backward_bias, scale_bias
from darknet_bn.kernels.batchnorm.blas import normalize_cpu
from darknet_bn.kernels.batchnorm.deltas import (
    backward_scale_cpu,
    mean_delta_cpu,
    normalize_delta_cpu,
    variance_delta_cpu,
)
from darknet_bn.kernels.batchnorm.exact import exact_batchnorm_delta
from darknet_bn.kernels.batchnorm.filters import along_filters, in_c, scratch_like, share_filters
from darknet_bn.kernels.batchnorm.operands import Deltas, Normalised
from darknet_bn.kernels.choice import twin


@twin(compiled.exact, when=lambda deltas, *_: compiled.pays(deltas.delta))
def exact(deltas: Deltas, trained: Normalised, dialect: Dialect) -> None:
    """Go backward by the derivative of the forward pass in training."""

    def block(filters: slice) -> None:
        own, (x, mean, variance) = deltas.some(filters), trained.some(filters)
        sums = exact_batchnorm_delta(x, mean, own.delta, own.scales, variance, dialect, own.out)
        own.bias_updates[:] += sums.bias_updates
        own.scale_updates[:] += sums.scale_updates
        own.mean_delta[:], own.variance_delta[:] = sums.mean_delta, sums.variance_delta

    share_filters(block, deltas.delta)


@twin(compiled.as_coded, when=lambda deltas, *_: compiled.pays(deltas.delta))
def as_coded(
    deltas: Deltas, normalised: Normalised, trained: Normalised, forward: Dialect, dialect: Dialect
) -> None:
    """Go backward with the C functions in turn.

    Parameters
    ----------
    deltas : Deltas
    normalised : Normalised
        From the pass to go backward through.
    trained : Normalised
        From the last training pass, whose ``x_norm`` C keeps; the same object if it is that pass.
    forward : Dialect
        The dialect in which that ``x_norm`` was computed.
    dialect : Dialect
    """

    def block(filters: slice) -> None:
        own, last = deltas.some(filters), trained.some(filters)
        if dialect.batch_norm_trains_biases:
            backward_bias(own.bias_updates, own.delta, out=own.bias_updates)
        d, x_norm = scratch_like(own.out, "centred"), scratch_like(own.out, "terms")
        _centre(last, d)
        normalize_cpu(d, None, last.variance, forward, out=x_norm)
        backward_scale_cpu(x_norm, own.delta, own.scale_updates, out=own.scale_updates)
        if normalised is not trained:
            _centre(normalised.some(filters), d)
        v = normalised.variance[filters]
        scale_bias(own.delta, own.scales, out=own.out)
        own.mean_delta[:] = mean_delta_cpu(own.out, v)
        own.variance_delta[:] = variance_delta_cpu(d, own.out, None, v)
        md, vd = own.mean_delta, own.variance_delta
        normalize_delta_cpu(d, None, v, md, vd, own.out, dialect, out=own.out)

    share_filters(block, deltas.delta)


def _centre(normalised: Normalised, out: F32) -> None:
    with in_c():
        along_filters(np.subtract, normalised.x, "mean", normalised.mean, out=out)
