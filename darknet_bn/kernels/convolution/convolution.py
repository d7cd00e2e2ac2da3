"""A convolution prepared for inference; its shape decides how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.activations import ACTIVATIONS, Epilogue, activate_array
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.convolution import direct
from darknet_bn.kernels.convolution.compiled_small import Small, is_small
from darknet_bn.kernels.convolution.depthwise import Depthwise
from darknet_bn.kernels.convolution.direct import Direct
from darknet_bn.kernels.convolution.gemm import Im2col, Pointwise
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.convolution.scheme import F2, F4, Scheme
from darknet_bn.kernels.convolution.winograd import Winograd
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured

__all__ = ["ConvGeometry", "Convolution"]

Strategy: TypeAlias = "Pointwise | Im2col | Winograd | Depthwise | Direct"


class Convolution:
    """One convolution with bias and activation, for images of one shape.

    Parameters
    ----------
    weights : float32 array (f, c//g, k, k)
        May be read-only, such as a memory map; it is copied only if it has to be transformed.  May
        be float64; then all arrays must be, and the direct method is used, as with ``exact``.
    biases : float32 array (f,), or None
    geometry : ConvGeometry
    activation : str or None
        A key of ``ACTIVATIONS``.
    in_shape : (c, h, w)
    exact : bool
        Use only sums of products of weights and pixels, as C does, without transforms.

    Attributes
    ----------
    out_shape : (f, oh, ow)

    Raises
    ------
    ShapeError
        The weights do not fit the input, or no window fits in the image.

    Notes
    -----
    C: ``forward_convolutional_layer`` in ``src/convolutional_layer.c`` without its batch norm.
    pjreddie's CPU code ignores the stride when it reads the input of a 1x1 convolution; this code
    does not.
    """

    @floating
    def __init__(
        self,
        weights: F32,
        biases: F32 | None,
        geometry: ConvGeometry,
        activation: str | None,
        in_shape: tuple[int, int, int],
        *,
        exact: bool = False,
    ) -> None:
        f = len(weights)
        self.out_shape = (f, *geometry.out_hw(*in_shape[1:]))
        _require_fit(weights, geometry, in_shape, self.out_shape)
        chosen = ACTIVATIONS[activation or "linear"]
        # A tile need not contain all channels of its pixels.
        self._afterwards = chosen.name if chosen.over_channels else None
        in_tiles = None if chosen.over_channels or chosen.name == "linear" else chosen
        choice = weights, Epilogue(biases, in_tiles), geometry, in_shape, exact
        self._for_many = _choose_for_many(*choice)
        if self._for_many is None:
            self.strategy = _choose(*choice)
        else:  # there may never be few images
            self._choice = choice

    @cached_property
    def strategy(self) -> Strategy:
        """The method that computes it; many small images at once may go another way."""
        return _choose(*self._choice)

    @floating
    def __call__(self, x: F32, out: F32) -> None:
        """Convolve a batch.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
            Each image contiguous; any n.
        out : float32 array (n, f, oh, ow)
            Each image contiguous; overwritten.

        Notes
        -----
        Threads share the work; the caller limits BLAS to one thread each (``hold_blas``).
        """
        self.bind(x, out)()

    @floating
    def bind(self, x: F32, out: F32) -> Callable[[], None]:
        """Prepare a call with arrays that are used again.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
            Both as in a call.

        Returns
        -------
        convolve : function
            ``convolve()`` convolves what is in ``x`` then.
        """
        many, name = self._for_many, self._afterwards
        convolve: Callable[[], None]
        if many is not None and many.takes(x, out):
            convolve = partial(many, x, out)
        elif isinstance(self.strategy, Pointwise | Depthwise):
            convolve = self.strategy.bind(x, out)
        else:
            convolve = partial(self.strategy, x, out)
        if name is None:
            return convolve

        def convolve_and_activate() -> None:
            convolve()
            activate_array(out, name, out=out)

        return convolve_and_activate


def _require_fit(
    weights: F32,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
) -> None:
    """Raise ShapeError if weights, geometry and image do not fit together."""
    f, c, k, g = len(weights), in_shape[0], geometry.size, geometry.groups
    if c % g or f % g or weights.shape != (f, c // g, k, k):
        raise ShapeError(
            "the weights do not fit the image",
            expected=f"(filters, {c}/{g}, {k}, {k})",
            found=f"{weights.shape}",
        )
    if min(out_shape) < 1:
        raise ShapeError(
            "the kernel does not fit into the image",
            expected=f"at least {k}x{k} with its padding",
            found=f"{in_shape[1]}x{in_shape[2]}, padding {geometry.pad}",
        )


def _direct(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> Strategy:
    return Direct(weights, epilogue, geometry, in_shape)


@twin(_direct, when=direct.pays)
def _choose(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> Strategy:
    """Choose the method that measurements showed to be fastest for such a shape."""
    strides = (geometry.stride_y, geometry.stride_x)
    if geometry.size == 1 and strides == (1, 1) and geometry.pad == 0:
        return Pointwise(weights, epilogue, geometry, in_shape, exact=exact)
    if geometry.groups == in_shape[0] and geometry.groups > 1 and weights.dtype == np.float32:
        return Depthwise(weights, epilogue, geometry, in_shape, exact=exact)
    exact = exact or weights.dtype != np.float32
    scheme = None if exact else _scheme(len(weights), geometry, in_shape)
    if scheme is not None:
        return Winograd(weights, epilogue, in_shape, scheme)
    return Im2col(weights, epilogue, geometry, in_shape)


def _is_small(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> bool:
    if exact or weights.dtype != np.float32 or not is_small(geometry, *in_shape[1:]):
        return False
    return _scheme(len(weights), geometry, in_shape) is None


def _small(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> Small | None:
    return Small(weights, epilogue)


@twin(_small, when=_is_small)
def _choose_for_many(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> Small | None:
    """Return the method that is faster for many images at once, if there is one."""
    return None


def _scheme(f: int, geometry: ConvGeometry, in_shape: tuple[int, int, int]) -> Scheme | None:
    """Return the Winograd scheme, or None if Winograd is impossible or would be slower."""
    c, h, w = in_shape
    if geometry != ConvGeometry(size=3, pad=1) or min(c, f) < measured.WINOGRAD_CHANNELS:
        return None
    if 9 * c * f * h * w < measured.WINOGRAD_MULTIPLICATIONS:
        return None
    return F4 if h * w > measured.WINOGRAD_SMALL_IMAGE else F2
