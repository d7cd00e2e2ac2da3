"""Batch norm backward, exact or as the programs compute it, block by block.

`batchnorm_layer.backward_batchnorm_layer` has already checked the arguments.  The results of one
function for a block are still in cache for the next; threads share the blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
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


class Normalised(NamedTuple):
    """What was normalised: a float32 array (n, f, s), with the statistics (f,) that were used."""

    x: F32
    mean: F32
    variance: F32

    def some(self, filters: slice) -> Normalised:
        """Return views of some filters."""
        return Normalised(self.x[:, filters], self.mean[filters], self.variance[filters])


class Deltas(NamedTuple):
    """What the backward pass reads, and the arrays it fills.

    Attributes
    ----------
    delta : float32 array (n, f, s)
        Delta of the output.
    scales : float32 array (f,)
    out : float32 array (n, f, s)
        Receives the delta of the input; may be ``delta``.
    bias_updates, scale_updates : float32 arrays (f,)
        Added to.
    mean_delta, variance_delta : float32 arrays (f,)
        Filled.
    """

    delta: F32
    scales: F32
    out: F32
    bias_updates: F32
    scale_updates: F32
    mean_delta: F32
    variance_delta: F32

    def some(self, filters: slice) -> Deltas:
        """Return views of some filters."""
        return Deltas(
            delta=self.delta[:, filters],
            scales=self.scales[filters],
            out=self.out[:, filters],
            bias_updates=self.bias_updates[filters],
            scale_updates=self.scale_updates[filters],
            mean_delta=self.mean_delta[filters],
            variance_delta=self.variance_delta[filters],
        )


def exact(deltas: Deltas, trained: Normalised, dialect: Dialect) -> None:
    """Go backward by the derivative of the forward pass in training."""

    def block(filters: slice) -> None:
        own, (x, mean, variance) = deltas.some(filters), trained.some(filters)
        sums = exact_batchnorm_delta(x, mean, own.delta, own.scales, variance, dialect, own.out)
        own.bias_updates[:] += sums.bias_updates
        own.scale_updates[:] += sums.scale_updates
        own.mean_delta[:], own.variance_delta[:] = sums.mean_delta, sums.variance_delta

    share_filters(block, deltas.delta)


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
