"""Activation functions applied: to whole arrays by all threads, to a tile in the calling one.

They work in place, block by block, so that what they compute stays in cache.  Each is the formula
of the C source, arranged so that float32 carries it: no difference of two nearly equal numbers, no
overflow where the result is finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import CfgError
from darknet_bn.kernels.activations.row import Activation
from darknet_bn.kernels.activations.table import ACTIVATIONS
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import elements, pixels
from darknet_bn.work.threads import workers


@dataclass(frozen=True)
class Epilogue:
    """What follows the sums of a convolution, while they are hot: bias, then activation.

    Attributes
    ----------
    biases : float32 array (f,), or None
    activation : Activation, or None
        Not one that is ``over_channels``: a tile does not hold all channels of a pixel.
    """

    biases: F32 | None
    activation: Activation | None

    def apply(self, y: F32, filters: slice) -> None:
        """Finish a tile in place.

        Parameters
        ----------
        y : float32 array (f', ...)
            Sums of some filters.
        filters : slice
            Which of all filters they are.
        """
        if self.biases is not None:
            np.add(y, self.biases[filters].reshape((-1,) + (1,) * (y.ndim - 1)), out=y)
        if self.activation is not None:
            activate_tile(y, self.activation)


@floating
def activate_array(x: F32, name: str, *, out: F32 | None = None) -> F32:
    """Apply an activation to every element.

    Parameters
    ----------
    x : float32 array
        ``(n, c, h, w)`` for ``normalize_channels*``, else of any shape.  Or float64; the result is
        of the same type.
    name : str
        A key of ``ACTIVATIONS``.
    out : float32 array of the same shape, optional
        Where the result goes; may be ``x``.

    Returns
    -------
    y : float32 array of the same shape

    Raises
    ------
    CfgError
        The name is unknown.

    Notes
    -----
    C: ``activate_array`` in ``src/activations.c``, and ``activate_array_swish``, ``_mish``,
    ``_hard_mish``, ``_normalize_channels*`` of AlexeyAB.  C's ``relu6`` is 0 everywhere on
    AlexeyAB's CPU and its ``tanh`` is NaN for large x in pjreddie's; here both are what their
    names say.
    """
    activation = ACTIVATIONS.get(name)
    if activation is None:
        raise CfgError("unknown activation", found=name, expected=", ".join(ACTIVATIONS))
    if out is None:
        out = np.empty_like(x)
    if out is not x:
        np.copyto(out, x)
    if out.size <= measured.ELEMENTS and not activation.over_channels:
        activation.apply(out)
    else:
        workers().run(lambda part: activation.apply(*part), _parts(out, activation))
    return out


@floating
def activate_tile(y: F32, activation: Activation) -> None:
    """Apply an activation in place in the calling thread, in blocks that stay in cache.

    Parameters
    ----------
    y : float32 array
        As ``Activation.apply`` takes it.
    activation : Activation
    """
    if y.size <= measured.ELEMENTS:
        activation.apply(y)
        return
    for (part,) in _parts(y, activation):
        activation.apply(part)


def _parts(y: F32, activation: Activation) -> list[tuple[F32, ...]]:
    """Cut an array into views that stay in the cache, of whole pixels where channels count."""
    cut = pixels if activation.over_channels else elements
    return cut(measured.ELEMENTS, y)
