"""The input of a net that nobody has a picture for: random values, the same for the same seed."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.model.network import Network


def random_input(
    network: Network,
    seed: int | np.random.Generator = 0,
    *,
    images: int | None = None,
    dims: tuple[int, ...] | None = None,
) -> F32:
    """Return random values from 0 to 1 for all that a network takes.

    Parameters
    ----------
    network : Network
    seed : int or Generator
        A generator gives other values each time.
    images : int, optional
        By default those of one sequence, which is one image where nothing is recurrent.
    dims : tuple of int, optional
        Of an image, where it is not of the network's own size.

    Returns
    -------
    x : float32 array (images, *dims)
    """
    shape = (images or network.time_steps, *(dims or network.input.dims))
    return np.random.default_rng(seed).random(shape, np.float32)
