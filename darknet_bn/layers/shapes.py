"""What several kinds of layers ask of the shapes they get."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.layers.base import Shape


def image(x: Shape) -> Shape:
    """Return the shape itself, if it is that of an image.

    Raises
    ------
    ShapeError
        It is a flat count.
    """
    if x.flat:
        raise ShapeError(
            "the layer before has no image shape", expected="w x h x c", found=f"{x} values"
        )
    return x


def images(x: F32, shape: Shape) -> F32:
    """Return an array of images (n, *shape.dims) as (n, c, h, w)."""
    return x.reshape(len(x), shape.c, shape.h, shape.w)


def flat(x: F32) -> F32:
    """Return an array of images as (n, size)."""
    return x.reshape(len(x), -1)


def window_text(size: int, stride_x: int, stride_y: int) -> str:
    """Return ``size x size / stride`` as Darknet prints it."""
    stride = f"{stride_x}" if stride_x == stride_y else f"{stride_x}x{stride_y}"
    return f"{size} x {size} / {stride}"


def copy(xs: "object", y: F32) -> None:
    """Copy the first input: the step of a layer whose output is its input."""
