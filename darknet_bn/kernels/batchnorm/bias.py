"""The per-filter steps that batch norm shares with plain biases.  C: ``src/convolutional_layer.c``.

Activations are (n, f, s): images, filters, pixels.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.batchnorm.filters import along_filters, channel_sum, expect, in_c
from darknet_bn.kernels.floating import floating


@floating
def scale_bias(x: F32, scales: F32, out: F32 | None = None) -> F32:
    """Multiply each filter by its scale.

    Parameters
    ----------
    x : float32 array (n, f, s)
        float64 is also accepted, here and below; the result has the same type.
    scales : float32 array (f,)
    out : float32 array (n, f, s), optional
        Receives the result; may be ``x``.

    Returns
    -------
    y : float32 array (n, f, s)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``scale_bias`` in ``src/convolutional_layer.c``, which overwrites ``x``.
    """
    with in_c():
        return along_filters(np.multiply, x, "scales", scales, out=out)


@floating
def add_bias(x: F32, biases: F32, out: F32 | None = None) -> F32:
    """Add each filter's bias.

    Parameters
    ----------
    x : float32 array (n, f, s)
    biases : float32 array (f,)
    out : float32 array (n, f, s), optional
        Receives the result; may be ``x``.

    Returns
    -------
    y : float32 array (n, f, s)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``add_bias`` in ``src/convolutional_layer.c``, which overwrites ``x``.
    """
    with in_c():
        return along_filters(np.add, x, "biases", biases, out=out)


@floating
def backward_bias(bias_updates: F32, delta: F32, out: F32 | None = None) -> F32:
    """Add the sum of each filter's delta to its bias update.

    Parameters
    ----------
    bias_updates : float32 array (f,)
    delta : float32 array (n, f, s)
        Minus the gradient of the loss with respect to the output, as all deltas in Darknet.
    out : float32 array (f,), optional
        Receives the result; may be ``bias_updates``.

    Returns
    -------
    bias_updates : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``backward_bias`` in ``src/convolutional_layer.c``, which accumulates in place.
    """
    with in_c():
        total = channel_sum(delta)
        expect("bias_updates", bias_updates, total.shape)
        return np.add(bias_updates, total.astype(delta.dtype), out=out)
