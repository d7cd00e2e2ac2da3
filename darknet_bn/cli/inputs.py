"""The input of a net: a picture, an array from a file, or random values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.cli import kinds, output
from darknet_bn.errors import located
from darknet_bn.formats.npz import ArrayHeader, read_npy, read_npz
from darknet_bn.formats.reading import open_file
from darknet_bn.pictures.prepare import Fit, own_fit, picture_shape, read_picture
from darknet_bn.run.random_input import random_input
from darknet_bn.run.run import as_input

_EXPECTED = "a picture, or an .npy or .npz file as numpy.save and numpy.savez write them"


@dataclass(frozen=True)
class Input:
    """The input of a net.

    Attributes
    ----------
    x : float32 array (n, *shape)
    origin : str
        The source: a path, or the seed of random values.
    fit : "letterbox", "stretch", "crop" or None
        How the picture was made the input; None if it is not a picture.
    """

    x: F32
    origin: str
    fit: Fit | None = None

    @property
    def facts(self) -> dict[str, str | None]:
        """The facts about it for JSON."""
        return {"input": self.origin, "fit": self.fit}

    def lines(self, model: dn.Model, *, shape: bool = False) -> list[str]:
        """Return the source of the input, and how a picture was prepared."""
        dims = f", {' x '.join(map(str, self.x.shape))}" if shape else ""
        lines = [f"input: {output.printable(self.origin)}{dims}"]
        if self.fit is not None:
            lines.append(output.fit(model, self.fit, given=False, label="prepared"))
        return lines


def read_input(path: str | None, seed: int | None, model: dn.Model) -> Input:
    """Read the input of a net, or draw random values.

    Parameters
    ----------
    path : str or None
        A picture, which is made the input as the dialect's program does; an ``.npy``; an ``.npz``
        with an array ``input``, or with only one array; None for random values.
    seed : int or None
        The seed of random values from 0 to 1; None means 0.
    model : Model

    Returns
    -------
    input : Input

    Raises
    ------
    click.UsageError
        Both a path and a seed are given.
    DarknetError
        The file cannot be read, or does not fit the net.
    """
    network = model.network
    if path is None:
        seed = seed or 0
        return Input(random_input(network, seed), f"random, seed {seed}")
    if seed is not None:
        raise click.UsageError("--seed is for random input, but an input file was given")
    unusable = kinds.refusal(path)
    if unusable is not None:
        raise unusable
    if os.path.isdir(path) or kinds.is_pattern(path) or kinds.kind_of(path) == "list":
        problem = "expected one picture, or an .npy or .npz file"
        raise dn.DarknetError(problem, where=dn.Where(file=path))
    with located(dn.Where(file=path), dn.ShapeError):
        if kinds.is_picture(path):
            picture_shape(network)
            fit = own_fit(model)
            _, x = read_picture(path, model, fit)
            return Input(as_input(network, x), path, fit)
        return Input(as_input(network, _read_array(path)), path)


def _read_array(path: str) -> Any:
    try:
        with open_file(path) as stream:
            packed = stream.read(2) == b"PK"
        return _read_archive(path) if packed else read_npy(path)
    except dn.DarknetError as error:
        reason = error.problem.partition(": ")[2]
        if error.problem.startswith("cannot be read as"):
            raise dn.DarknetError(
                "not a NumPy file",
                where=error.where,
                expected=_EXPECTED,
                found=None if reason.startswith("this is not a NumPy array") else reason,
            ) from error
        raise


def _read_archive(path: str) -> Any:
    """Read the array ``input`` of an archive, or its only array."""
    names: list[str] = []

    def note(name: str, head: ArrayHeader) -> bool:
        names.append(name)
        return False

    read_npz(path, note)
    wanted = "input" if "input" in names else names[0] if len(names) == 1 else None
    if wanted is None:
        raise dn.DarknetError(
            "the archive does not say which array is the input",
            where=dn.Where(file=path),
            expected="an array 'input', or a single array",
            found=", ".join(names[:4]) or "none",
        )
    return read_npz(path, lambda name, head: name == wanted)[wanted]
