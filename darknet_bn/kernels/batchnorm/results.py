"""What the passes of batch norm give and keep; in C, fields of the layer."""

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
    """What a training pass keeps for the way back.

    Attributes
    ----------
    x : float32 array, shaped like the input
        The input itself, not a copy.
    mean, variance : float32 arrays (f,)
        Of this batch.
    dialect : Dialect
    """

    x: F32
    mean: F32
    variance: F32
    dialect: Dialect

    __repr__ = brief_fields

    def __post_init__(self) -> None:
        """Refuse what holds no floating-point numbers."""
        for name in ("x", "mean", "variance"):
            require_floats("BatchNormSaved", name, getattr(self, name))

    @property
    def x_norm(self) -> F32:
        """The normalised input, before scales and biases, shaped like the input.

        C stores it.  It is computed anew where it is asked for, to the same bits: training then
        needs a third less memory, and no time to touch that.
        """
        x_norm = normalize_cpu(by_filter(self.x), self.mean, self.variance, self.dialect)
        return x_norm.reshape(self.x.shape)


@dataclass(frozen=True)
class BatchNormForward:
    """What a forward pass gives.

    Attributes
    ----------
    y : float32 array, shaped like the input
    saved : BatchNormSaved or None
        None in inference.
    rolling_mean, rolling_variance : float32 arrays (f,)
        The new averages; in inference the old ones.
    """

    y: F32
    saved: BatchNormSaved | None
    rolling_mean: F32
    rolling_variance: F32

    __repr__ = brief_fields


@dataclass(frozen=True)
class BatchNormBackward:
    """What a backward pass gives; all of it minus the gradient of the loss.

    Attributes
    ----------
    delta_x : float32 array, shaped like the input
    bias_updates, scale_updates : float32 arrays (f,)
        Those handed over plus this pass.
    mean_delta, variance_delta : float32 arrays (f,)
    """

    delta_x: F32
    bias_updates: F32
    scale_updates: F32
    mean_delta: F32
    variance_delta: F32

    __repr__ = brief_fields
