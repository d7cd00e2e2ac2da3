"""A convolution prepared for inference: gemm, bias and activation in one call."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.activations import ACTIVATIONS, Activation, activate_tile
from darknet_bn.kernels.im2col import ConvGeometry, im2col_cpu
from darknet_bn.workers import workers

__all__ = ["ConvGeometry", "Convolution"]


class Convolution:
    """One convolution with bias and activation, for inputs of one shape.

    Parameters
    ----------
    weights : float32 array (f, c//g, k, k)
    biases : float32 array (f,), or None
    geometry : ConvGeometry
    activation : str or None
        A key of ``ACTIVATIONS``.
    in_shape : (c, h, w)
    exact : bool
        Use nothing but im2col and gemm.
    """

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
        c, h, w = in_shape
        oh, ow = geometry.out_hw(h, w)
        f, k, g = weights.shape[0], geometry.size, geometry.groups
        if oh < 1 or ow < 1:
            raise ShapeError("the kernel does not fit into the image", found=f"{oh}x{ow}")
        if c % g or f % g or weights.shape != (f, c // g, k, k):
            raise ShapeError(
                "weights do not fit",
                expected=f"(filters, {c}/{g}, {k}, {k})",
                found=str(weights.shape),
            )
        self.geometry = geometry
        self.in_shape = in_shape
        self.out_shape = (f, oh, ow)
        self._weights = weights.reshape(g, f // g, -1)
        self._biases = None if biases is None else biases.reshape(g, f // g, 1)
        self._activation: Activation | None = ACTIVATIONS[activation] if activation else None

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """
        workers().run(lambda i: self._image(x[i], out[i]), range(len(x)))

    def _image(self, x: F32, out: F32) -> None:
        c, k = self.in_shape[0], self.geometry.size
        f, oh, ow = self.out_shape
        g = self.geometry.groups
        columns = workers().scratch(c * k * k * oh * ow).reshape(c, k, k, oh, ow)
        im2col_cpu(x, self.geometry, out=columns)
        y = out.reshape(g, f // g, oh * ow)
        np.matmul(self._weights, columns.reshape(g, -1, oh * ow), out=y)
        if self._biases is not None:
            np.add(y, self._biases, out=y)
        if self._activation is not None:
            if self._activation.over_channels:
                self._activation.apply(out[None])
            else:
                activate_tile(y, self._activation)
