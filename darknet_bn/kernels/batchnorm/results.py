"""What the passes of batch norm return and keep; in C, these are fields of the layer."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm.blas import normalize_cpu
from darknet_bn.kernels.batchnorm.filters import by_filter
from darknet_bn.kernels.floating import require_floats
from darknet_bn.values import brief_fields


@dataclass(frozen=True)
class BatchNormSaved:
    """What a training pass keeps for the backward pass.

    Attributes
    ----------
    x : float32 array, shaped like the input
        The input itself, not a copy.
    mean, variance : float32 arrays (f,)
        Statistics of this batch.
    dialect : Dialect
    """

    x: F32
    mean: F32
    variance: F32
    dialect: Dialect

    __repr__ = brief_fields

    def __post_init__(self) -> None:
        """Refuse arrays that do not hold floating-point numbers."""
        for name in ("x", "mean", "variance"):
            require_floats("BatchNormSaved", name, getattr(self, name))

    @property
    def x_norm(self) -> F32:
        """The normalised input, before scales and biases, with the shape of the input.

        C stores it.  Here it is computed again on request, to the same bits: training then needs a
        third less memory, and less time for memory access.
        """
        x_norm = normalize_cpu(by_filter(self.x), self.mean, self.variance, self.dialect)
        return x_norm.reshape(self.x.shape)


@dataclass(frozen=True)
class BatchNormForward:
    """The result of a forward pass.

    Attributes
    ----------
    y : float32 array, shaped like the input
    saved : BatchNormSaved or None
        None in inference.
    rolling_mean, rolling_variance : float32 arrays (f,)
        The new averages; in inference, the old averages.
    """

    y: F32
    saved: BatchNormSaved | None
    rolling_mean: F32
    rolling_variance: F32

    __repr__ = brief_fields


@dataclass(frozen=True)
class BatchNormBackward:
    """The result of a backward pass; every array is minus a gradient of the loss.

    Attributes
    ----------
    delta_x : float32 array, shaped like the input
    bias_updates, scale_updates : float32 arrays (f,)
        The updates passed in, plus the updates from this pass.
    mean_delta, variance_delta : float32 arrays (f,)
    """

    delta_x: F32
    bias_updates: F32
    scale_updates: F32
    mean_delta: F32
    variance_delta: F32

    __repr__ = brief_fields
