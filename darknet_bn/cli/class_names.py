"""The names of classes that a command line gives."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.cli.options import FILE, Command
from darknet_bn.data.base import many
from darknet_bn.names import Data, fit_names


@dataclass(frozen=True)
class ClassNames:
    """Where the names of classes are.

    Attributes
    ----------
    file : str or None
        A ``.names`` file; it counts more than that of ``data``.
    data : Data or None
        A ``.data`` file that has been read.
    """

    file: str | None
    data: Data | None

    @property
    def files(self) -> tuple[str | None, ...]:
        """What the names are read from."""
        data = self.data
        if data is None:
            return (self.file,)
        return (self.file or data.names, data.file)

    def fit(self, classes: int) -> tuple[str, ...]:
        """Return a name for each class; warn where there are not as many as the files say."""
        file = self.file or (self.data.names if self.data is not None else None)
        if self.data is not None and self.data.classes not in (None, classes):
            place = dn.Where(file=self.data.file, key="classes")
            text = f"{place}: the network has {many(classes, 'class')}, not {self.data.classes}"
            warnings.warn(text, dn.DarknetWarning, stacklevel=2)
        return fit_names(None if file is None else dn.load_names(file), classes, file=file)


def names_and_data(command: Command) -> Command:
    """Hand ``names`` to a command: ``--names`` and ``--data``."""

    @click.option(
        "--names",
        "names_file",
        type=FILE,
        metavar="FILE",
        help="Class names, one per line (default: class 0, class 1, …).",
    )
    @click.option(
        "--data",
        "data_file",
        type=FILE,
        metavar="FILE",
        help="A .data file of Darknet, whose names= leads to the names.",
    )
    @functools.wraps(command)
    def wrapped(names_file: str | None, data_file: str | None, **rest: Any) -> Any:
        data = None if data_file is None else dn.load_data(data_file)
        return command(names=ClassNames(names_file, data), **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with the two files
