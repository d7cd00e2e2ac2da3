"""Open a data set for a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from darknet_bn.data.array_sets import load_array_set
from darknet_bn.data.base import Dataset
from darknet_bn.data.kinds import require_kind
from darknet_bn.data.labelled import data_file, load_labelled
from darknet_bn.data.layouts.find import read_set
from darknet_bn.data.pictures import load_pictures
from darknet_bn.formats.names import load_data
from darknet_bn.model.model import Model


def load_dataset(
    path: str | os.PathLike[str],
    model: Model,
    *,
    train: bool,
    names: Sequence[str] | None = None,
) -> Dataset:
    """Open a data set for a model.

    Parameters
    ----------
    path : path
        An ``.npz`` with arrays ``x`` and ``y`` (see `darknet_bn.data.array_sets`); a ``.data``
        file with lists of pictures; or for a detector a set of pictures with labels as Ultralytics,
        COCO, PASCAL VOC, Roboflow and FiftyOne have them: a file or a folder.
    model : Model
        Its last layer decides what the truth is: boxes for a detection head, else the outputs.
    train : bool
        Whether to use the list ``train`` of a ``.data`` file, and to change pictures at random as
        ``[net]`` and the head say; if not, the list ``valid`` is used, as in tests.

    Returns
    -------
    Dataset

    Raises
    ------
    DarknetError
        A file is missing or invalid, or does not fit the model.
    DataError
        Several pictures of a list, or lines of label files, are wrong; it holds all of the errors.

    Warns
    -----
    DataWarning
        Boxes in label files are impossible and ignored; it holds all of the errors.
    DarknetWarning
        Something else is odd, or not supported.
    """
    require_kind(path)
    if Path(path).suffix.lower() == ".npz":
        return load_array_set(path, model, train=train)
    file = data_file(path)
    if file is not None:
        data = load_data(file)
        whole = file == os.fspath(path)  # a folder may have the one list of an export
        if whole or ("train" if train else "valid") in data.options:
            return load_pictures(data, model, train=train)
    labelled = read_set(path)
    if names is not None and any(labelled.names):
        labelled = labelled.numbered_as(names)
    return load_labelled(labelled, model, train=train)
