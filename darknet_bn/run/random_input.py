"""Input for a net when there is no picture: random values, and a size that takes no time."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network

_STEPS = 2  # the second reads what the first has left
_SIZE = 64  # pixels: enough for every weight to count, small enough to take no time


def random_input(
    network: Network,
    seed: int | np.random.Generator = 0,
    *,
    images: int | None = None,
    dims: tuple[int, ...] | None = None,
) -> F32:
    """Return random values from 0 to 1 for the whole input of a network.

    Parameters
    ----------
    network : Network
    seed : int or Generator
        A generator gives different values each time.
    images : int, optional
        By default the images of one sequence, which is one image if no layer is recurrent.
    dims : tuple of int, optional
        Shape of an image, if it differs from the network's input.

    Returns
    -------
    x : float32 array (images, *dims)
    """
    shape = (images or network.time_steps, *(dims or network.input.dims))
    return np.random.default_rng(seed).random(shape, np.float32)


def small(model: Model) -> Model:
    """Return a model for a small image if its layers allow one, and for few time steps."""
    if model.network.recurrent:
        model = model.with_time_steps(_STEPS)
    shape = model.network.input
    if shape.flat or min(shape.h, shape.w) <= _SIZE or shape.h % 32 or shape.w % 32:
        return model
    try:
        return model.resized(_SIZE, _SIZE)
    except DarknetError:
        return model
