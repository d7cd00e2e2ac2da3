"""What several kinds of layers require of their input shapes."""

from __future__ import annotations

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, TrainingError, Where
from darknet_bn.kernels.pooling.windows import Window
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape, Shapes

LARGEST_WINDOW = 1024
"""Largest size of pooling windows; published nets have at most 13 pixels."""


class NoImageError(ShapeError):
    """A layer needs an image, but gets a flat count."""


class UnequalImagesError(ShapeError):
    """Images that a layer reads do not fit together.

    Attributes
    ----------
    pair : (int, int)
        Their positions among the layer's inputs; network.py says which layers these are.
    """

    def __init__(
        self,
        problem: str,
        pair: tuple[int, int],
        *,
        where: Where | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        self.pair = pair
        super().__init__(problem, where=where, expected=expected, found=found)


class UnevenImageError(ShapeError):
    """The sides of an image are not multiples of ``divisor``."""

    def __init__(self, problem: str, divisor: int, *, where: Where, found: str) -> None:
        self.divisor = divisor
        super().__init__(
            problem, where=where, expected=f"w and h divisible by {divisor}", found=found
        )


def image(x: Shape, what: str = "the layer before") -> Shape:
    """Return the shape itself, if it is the shape of an image.

    Raises
    ------
    NoImageError
        It is a flat count.
    """
    if x.flat:
        raise NoImageError(f"{what} has no image shape", expected="w x h x c", found=f"{x} values")
    return x


def unequal_images(xs: Shapes) -> tuple[int, int] | None:
    """Return the first of some shapes, and one that differs in size; None if all are equal."""
    for number, x in enumerate(xs):
        if (x.h, x.w, x.flat) != (xs[0].h, xs[0].w, xs[0].flat):
            return 0, number
    return None


def pooled(x: Shape, window: Window) -> Shape:
    """Return the shape that results when windows of an image become pixels.

    Raises
    ------
    ShapeError
        No window fits, or windows are larger than in any known network.
    """
    largest = max(window.size, window.stride_x, window.stride_y, window.padding)
    if largest > LARGEST_WINDOW:
        raise ShapeError(
            "the windows are too large",
            expected=f"a size, stride and padding of at most {LARGEST_WINDOW}",
            found=f"{largest}",
        )
    h, w = window.out_hw(x.h, x.w)
    if h < 1 or w < 1:
        raise ShapeError(
            f"a window of size {window.size} does not fit into the image",
            expected=f"at least {window.size} x {window.size} with its padding",
            found=f"{x.w} x {x.h}, padding {window.padding}",
        )
    return Shape(x.c, h, w)


def flat(x: F32) -> F32:
    """Return an array of images (n, *dims) as (n, size)."""
    return x.reshape(len(x), -1)


def planes(x: F32) -> F32:
    """Return an array of images (n, c, h, w) as (n, c, pixels)."""
    return x.reshape(*x.shape[:2], -1)


def truth_like(y: F32, context: TrainingContext) -> F32 | None:
    """Return the truth as (n, size), in an output's type; None if there is no truth.

    Raises
    ------
    ShapeError
        The number of values is different.
    """
    truth = context.truth
    if truth is None:
        return None
    size = y.size // len(y)
    if truth.size != y.size:
        raise ShapeError(
            "the truth does not fit the output",
            expected=f"({len(y)}, {size})",
            found=f"{truth.shape}",
        )
    return truth.reshape(len(y), size).astype(y.dtype, copy=False)


def box_truth(context: TrainingContext, classes: int, numbers: str | None = None) -> F32 | None:
    """Return the truth as boxes (n, boxes, 5); None if there is no truth.

    Parameters
    ----------
    context : TrainingContext
    classes : int
        Number of classes that the head knows.
    numbers : str, optional
        The file that renumbers classes: ``map=``.

    Raises
    ------
    ShapeError
        The truth is not boxes, or a box has a class that the head does not know.
    TrainingError
        Classes would have to be renumbered.
    """
    truth = context.truth
    if truth is None:
        return None
    if numbers is not None:
        raise TrainingError(
            "the classes of a truth cannot be renumbered",
            expected="labels with the numbers of the head's classes, and no map=",
            found=f"map={numbers}",
        )
    if truth.size % (5 * context.batch):
        raise ShapeError(
            "the truth does not describe boxes",
            expected=f"({context.batch}, boxes, 5): x, y, w, h and class",
            found=f"{truth.shape}",
        )
    boxes = truth.reshape(context.batch, -1, 5)
    kinds = boxes[..., 4][boxes[..., 0] != 0]
    if kinds.size and not (kinds.min() >= 0 and kinds.max() < classes):
        raise ShapeError(
            "a box has a class that does not exist",
            expected=f"0 to {classes - 1}",
            found=f"{kinds.min():g} to {kinds.max():g}",
        )
    return boxes


def window_text(size: int, stride_x: int, stride_y: int) -> str:
    """Return ``size x size / stride`` as Darknet prints it."""
    stride = f"{stride_x}" if stride_x == stride_y else f"{stride_x}x{stride_y}"
    return f"{size} x {size} / {stride}"


def check_filters(x: Shape, expected: int, what: str) -> None:
    """Check that the layer before a detection head has the number of filters the head needs.

    Parameters
    ----------
    x : Shape
    expected : int
    what : str
        How that number is calculated.

    Raises
    ------
    ShapeError
        The number is different.
    """
    if x.c != expected:
        raise ShapeError(
            "the layer before does not have the filters that this head needs",
            expected=f"filters={expected}: {what}",
            found=f"{x.c}",
        )
