"""The class names that a command line gives."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import choices, kinds
from darknet_bn.cli.options import FILE, Command

if TYPE_CHECKING:
    from darknet_bn.formats.names import Data


@dataclass(frozen=True)
class ClassNames:
    """The source of class names.

    Attributes
    ----------
    file : str or None
        A ``.names`` file; it takes precedence over ``data``.
    data : Data or None
        A ``.data`` file that has already been read.
    data_option : str or None
        The option that gave ``data``; None if it is needed for more than the names.
    own : sequence of str
        The names that labels have, if there is no file.
    """

    file: str | None
    data: Data | None
    data_option: str | None = "--data"
    own: Sequence[str] = ()

    @property
    def files(self) -> tuple[str | None, ...]:
        """The files that the names are read from."""
        data = self.data
        if data is None:
            return (self.file,)
        return (self.file or data.names, data.file)

    def top(self, given: int | None) -> int:
        """Return how many classes to show: as given, as the ``.data`` file says, or the default."""
        return given or (None if self.data is None else self.data.top) or choices.TOP

    def load(self) -> tuple[str, ...] | None:
        """Return the names, however many there are; None if no file was given."""
        file = self.file or (self.data.names if self.data is not None else None)
        return None if file is None else dn.load_names(file)

    def fit(self, classes: int) -> tuple[str, ...]:
        """Return a name for each class.

        Raises
        ------
        DarknetError
            There are fewer names than classes: they belong to another model, and all would be
            wrong.

        Warns
        -----
        DarknetWarning
            There are more names than classes, or the ``.data`` file gives a different number of
            classes; or there are fewer names in a ``.data`` file that is needed for more than the
            names.
        """
        from darknet_bn.data.base import many
        from darknet_bn.formats.names import fit_names, names_for_classes

        if self.data is not None and self.data.classes not in (None, classes):
            place = dn.Where(file=self.data.file, key="classes")
            text = f"{place}: the network has {many(classes, 'class')}, not {self.data.classes}"
            warnings.warn(text, dn.DarknetWarning, stacklevel=2)
        file = self.file or (self.data.names if self.data is not None else None)
        if file is None:
            return fit_names(self.own or None, classes)
        names = dn.load_names(file)
        option = "--names" if self.file is not None else self.data_option
        if len(names) < classes and option is not None:
            raise dn.DarknetError(
                names_for_classes(len(names), classes),
                where=dn.Where(file=file),
                hint=f"leave out {option} to print class numbers",
            )
        return fit_names(names, classes, file=file)


def names_and_data(command: Command) -> Command:
    """Pass ``names`` to a command: ``--names`` and ``--data``."""

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
        help="Darknet .data file whose names= gives the class names.",
    )
    @functools.wraps(command)
    def wrapped(names_file: str | None, data_file: str | None, **rest: Any) -> Any:
        kinds.require_local(names_file, data_file)
        data = None if data_file is None else dn.load_data(data_file)
        return command(names=ClassNames(names_file, data), **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with the two files
