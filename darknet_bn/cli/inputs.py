"""What a net is given: an array from a file, or random values."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

import click
import numpy as np

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.run import as_input


def read_input(path: str | None, seed: int | None, network: dn.Network) -> tuple[F32, str]:
    """Read the input of a net, or draw it.

    Parameters
    ----------
    path : str or None
        An ``.npy``; an ``.npz`` with an array ``input``, or one array only; None for random values.
    seed : int or None
        For random values from 0 to 1; None is 0.

    Returns
    -------
    x, name : float32 array (n, *shape), str
        The input, and where it comes from.

    Raises
    ------
    click.UsageError
        There are both a path and a seed.
    DarknetError
        The file cannot be read, or does not fit the net.
    """
    if path is None:
        seed = seed or 0
        shape = (network.time_steps, *network.input.dims)
        x = np.random.default_rng(seed).random(shape, np.float32)
        return x, f"random, seed {seed}"
    if seed is not None:
        raise click.UsageError("--seed is for a random input, but there is one in a file")
    try:
        return as_input(network, _read_array(path)), path
    except dn.ShapeError as error:
        error.where = dn.Where(file=path)
        raise


def _read_array(path: str) -> Any:
    place = dn.Where(file=path)
    try:
        # A map checks that the file holds what its head promises, before any memory is taken.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        with loaded:
            names = loaded.files
            if "input" not in names and len(names) != 1:
                raise dn.DarknetError(
                    "which array is the input?",
                    where=place,
                    expected="an array 'input', or one array only",
                    found=", ".join(names[:4]) or "none",
                )
            return loaded["input" if "input" in names else names[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise dn.DarknetError(f"cannot be read: {error.strerror}", where=place) from error
        raise dn.DarknetError(
            "this is no array",
            where=place,
            expected="an .npy or .npz file as numpy.save and numpy.savez write them",
        ) from error
