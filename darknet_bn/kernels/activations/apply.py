"""Apply activation functions: to whole arrays on all threads, to a tile in the calling thread.

They work in place, block by block, so that intermediate results stay in cache.  Each is the formula
of the C source, arranged for float32: no difference of two nearly equal numbers, and no overflow if
the result is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import CfgError
from darknet_bn.kernels.activations import compiled
from darknet_bn.kernels.activations.row import Activation
from darknet_bn.kernels.activations.table import ACTIVATIONS
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import elements, pixels
from darknet_bn.work.threads import workers


@dataclass(frozen=True)
class Epilogue:
    """What follows the sums of a convolution while they are still in cache: bias, then activation.

    Attributes
    ----------
    biases : float32 array (f,), or None
    activation : Activation, or None
        Must not be ``over_channels``: a tile does not hold all channels of a pixel.
    """

    biases: F32 | None
    activation: Activation | None

    def apply(self, y: F32, filters: slice) -> None:
        """Finish a tile in place.

        Parameters
        ----------
        y : float32 array (f', ...)
            The sums of some filters.
        filters : slice
            Which filters they are.
        """
        if self.biases is not None or self.activation is not None:
            self.bind(y, filters)()

    def bind(self, y: F32, filters: slice) -> Callable[[], None]:
        """Prepare to finish a tile that is used again; arguments as in `apply`."""
        return _bind(y, None if self.biases is None else self.biases[filters], self.activation)


@twin(compiled.bind, when=compiled.pays)
def _bind(y: F32, biases: F32 | None, activation: Activation | None) -> Callable[[], None]:
    column = None if biases is None else biases.reshape((-1,) + (1,) * (y.ndim - 1))

    def finish() -> None:
        if column is not None:
            np.add(y, column, out=y)
        if activation is not None:
            activate_tile(y, activation)

    return finish


@floating
def activate_array(x: F32, name: str, *, out: F32 | None = None) -> F32:
    """Apply an activation to every element.

    Parameters
    ----------
    x : float32 array
        ``(n, c, h, w)`` for ``normalize_channels*``, otherwise any shape.  float64 is also
        accepted; the result has the same type.
    name : str
        A key of ``ACTIVATIONS``.
    out : float32 array of the same shape, optional
        Receives the result; may be ``x``.

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
    if worth_one_thread(out.size, activation):
        activate_tile(out, activation)
    else:
        workers().run(lambda part: activation.apply(*part), _parts(out, activation))
    return out


def worth_one_thread(size: int, activation: Activation) -> bool:
    """Return whether handing parts of so many values to threads would cost more than it gains."""
    if activation.over_channels:
        return False
    return size <= (measured.ELEMENTS if activation.bend is None else measured.BENT)


@floating
def activate_tile(y: F32, activation: Activation) -> None:
    """Apply an activation in place in the calling thread, in blocks that stay in cache.

    Parameters
    ----------
    y : float32 array
        In a shape that ``Activation.apply`` accepts.
    activation : Activation
    """
    if y.size <= measured.ELEMENTS:
        activation.apply(y)
        return
    for (part,) in _parts(y, activation):
        activation.apply(part)


def _parts(y: F32, activation: Activation) -> list[tuple[F32, ...]]:
    """Cut an array into views that stay in cache, with whole pixels if it works on channels."""
    cut = pixels if activation.over_channels else elements
    return cut(measured.ELEMENTS, y)
