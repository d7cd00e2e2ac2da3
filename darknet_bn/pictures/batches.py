"""Inputs that are loaded batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetWarning, ImageError
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit, picture_shape, read_picture
from darknet_bn.values import brief, brief_fields, counted
from darknet_bn.work.threads import workers


@dataclass(frozen=True)
class Batches:
    """A sequence of inputs (n, *shape) that are not kept in memory.

    Attributes
    ----------
    count : int
        How many images there are.
    size : int
        How many images a batch has; the last may have fewer.
    load : function
        ``load(numbers)`` returns the images with these numbers, from 0 to ``count - 1``.
    failed : collection of str
        What was wrong with the images that have been left out so far.
    """

    count: int
    size: int
    load: Callable[[range], F32]
    failed: Collection[str] = ()

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"of {self.size}, {counted(self.count, 'image')} in all")

    def __len__(self) -> int:
        """Return how many batches there are."""
        return -(-self.count // self.size)

    def __getitem__(self, number: int) -> F32:
        """Load a batch."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        start = number * self.size
        return self.load(range(start, min(start + self.size, self.count)))


def picture_batches(
    model: Model, paths: Sequence[str], size: int, fit: Fit | None = None
) -> Batches:
    """Return pictures as batches of a network's inputs.

    Parameters
    ----------
    model : Model
    paths : sequence of str
    size : int
        How many pictures a batch has.
    fit : "letterbox", "stretch" or "crop", optional
        As in `prepare`.

    Notes
    -----
    Loading a batch raises the errors of `load_inputs`, with one exception: a picture that cannot be
    used is left out with a warning, as long as the batch has others.
    """
    pictures = _Pictures(model, tuple(paths), fit)
    return Batches(len(paths), size, pictures, pictures.told)


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Pictures by number; unlike a function defined inside another, it can be pickled."""

    model: Model
    paths: tuple[str, ...]
    fit: Fit | None
    told: set[str] = field(default_factory=set)

    __repr__ = brief_fields

    def __call__(self, numbers: range) -> F32:
        failed: dict[int, ImageError] = {}
        paths = [self.paths[number] for number in numbers]
        x, _ = load_inputs(self.model, paths, self.fit, failed)
        for row in sorted(failed):
            error = failed[row]
            if not len(x):
                raise error
            if str(error) not in self.told:
                self.told.add(str(error))
                warnings.warn(f"{error}; it is left out", DarknetWarning, stacklevel=3)
        return x


def load_inputs(
    model: Model,
    paths: Sequence[str],
    fit: Fit | None = None,
    failed: dict[int, ImageError] | None = None,
) -> tuple[F32, list[Size]]:
    """Read pictures, and make them the input of a network, on all threads.

    Parameters
    ----------
    model : Model
    paths : sequence of str
    fit : "letterbox", "stretch" or "crop", optional
        As in `prepare`.
    failed : dict from int to ImageError, optional
        A dict for the errors of pictures that cannot be used, keyed by their index in ``paths``;
        these pictures have no row in ``x``.  Without it, the first error is raised.

    Returns
    -------
    x : float32 array (n, c, h, w)
    sizes : list of (height, width)
        The sizes of the pictures.

    Raises
    ------
    ImageError
        A picture cannot be read or made the input; the message names the file.
    ShapeError
        The network takes no pictures.
    """
    shape = picture_shape(model.network)
    x = np.empty((len(paths), *shape.dims), np.float32)
    sizes: list[Size] = [(0, 0)] * len(paths)

    def load(row: int) -> None:
        try:
            im, x[row : row + 1] = read_picture(paths[row], model, fit)
            sizes[row] = (im.shape[1], im.shape[2])
        except ImageError as error:
            if failed is None:
                raise
            failed[row] = error

    workers().run(load, range(len(paths)))
    if not failed:
        return x, sizes
    kept = [row for row in range(len(paths)) if row not in failed]
    return x[kept], [sizes[row] for row in kept]
