"""Activation functions in training: forward and backward.

Darknet computes most gradients from the output.  C: ``gradient_array`` in ``src/activations.c``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.kernels.activations.apply import activate_array, worth_one_thread
from darknet_bn.kernels.activations.row import Activation
from darknet_bn.kernels.activations.table import ACTIVATIONS
from darknet_bn.kernels.batchnorm.filters import by_filter
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import elements, pixels
from darknet_bn.work.threads import workers


@floating
def activate_training(
    z: F32, name: str, dialect: Dialect | str
) -> tuple[F32, Callable[[F32], F32]]:
    """Activate, and prepare the backward pass.

    Parameters
    ----------
    z : float32 array
        As for `activate_array`; contiguous.  Overwritten if the backward pass needs only the
        output.  May be float64; then all arrays are.
    name : str
        A key of ``ACTIVATIONS``.
    dialect : Dialect or str
        If its gradients are not exact, some are computed as in the programs: the gradient of
        ``gelu`` at the output, and the gradients over channels without a part of their Jacobian.

    Returns
    -------
    y : float32 array like ``z``
    back : function
        ``back(delta)`` multiplies the delta of ``y`` in place and returns it.
    """
    dialect = dialect_named(dialect)
    row = ACTIVATIONS[name]
    slope = row.slope if dialect.exact_gradients else row.as_coded or row.slope
    if slope is None:
        return z, lambda delta: delta
    y = activate_array(z, name, out=None if slope.of_input else z)
    kept = z if slope.of_input else y

    def back(delta: F32) -> F32:
        delta = np.ascontiguousarray(delta)
        pairs = _pairs(delta, kept, row)
        with np.errstate(all="ignore"):
            if worth_one_thread(delta.size, row):
                for pair in pairs:
                    slope.multiply(*pair)
            else:
                workers().run(lambda pair: slope.multiply(*pair), pairs)
        return delta

    return y, back


def _pairs(delta: F32, kept: F32, activation: Activation) -> list[tuple[F32, ...]]:
    """Cut two arrays in the same way, into parts that stay in cache."""
    if activation.over_channels:
        return pixels(measured.ELEMENTS, by_filter(delta), by_filter(kept))
    return elements(measured.ELEMENTS, delta.reshape(-1), kept.reshape(-1))
