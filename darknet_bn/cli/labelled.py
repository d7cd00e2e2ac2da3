"""Labelled pictures that a command line names: a data set, or a list of pictures."""

from __future__ import annotations

from pathlib import Path

import click

import darknet_bn as dn
from darknet_bn.cli import batches
from darknet_bn.cli.picture_lists import read_list
from darknet_bn.data.kinds import require_kind as require_data_set
from darknet_bn.data.labelled import data_file
from darknet_bn.data.lists import ListEntry
from darknet_bn.data.pictures import open_pictures
from darknet_bn.formats.names import Data


def require_kind(data: str) -> None:
    """Check that a word names labelled pictures or arrays.

    Raises
    ------
    DarknetError
        It does not; the hint says what to do.
    """
    if not batches.is_list(data):
        require_data_set(data)


def load(model: dn.Model, data: str, names_file: str | None) -> tuple[dn.Dataset, Data | None]:
    """Open what a model is measured on.

    Parameters
    ----------
    model : Model
    data : str
        A ``.data`` file, whose list ``valid`` is used; a list; an ``.npz`` file; or a set of
        labels.
    names_file : str or None
        The names of the classes, which a classifier needs for a list: one of them is part of each
        path.  Labels that name their classes are matched with them.

    Returns
    -------
    dataset : Dataset
    given : Data or None
        The content of a ``.data`` file.

    Raises
    ------
    click.UsageError
        The names are needed.
    DataError
        Several pictures or labels are wrong; it holds all of the errors.
    DarknetError
        A file cannot be read, or does not fit the model.
    """
    if not batches.is_list(data):
        names = None if names_file is None else dn.load_names(names_file)
        dataset = dn.load_dataset(data, model, train=False, names=names)
        file = data_file(data)
        return dataset, None if file is None else dn.load_data(file)
    if names_file is None and not model.network.is_detector:
        raise click.UsageError("--names is needed: a name in the path of a picture is its class")
    lines = read_list(data)
    problems = [line.problem for line in lines if line.problem is not None]
    batches.require_all(problems, len(lines) - len(problems), data)
    entries = [
        ListEntry(line.text, Path() if line.path == line.text else Path(data).parent, line.where)
        for line in lines
    ]
    told = Data({} if names_file is None else {"names": names_file})
    return open_pictures(entries, told, model, train=False), None
