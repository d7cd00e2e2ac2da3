"""Inputs that a command line names, loaded batch by batch: pictures, lists of them, arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import darknet_bn as dn
from darknet_bn.cli import kinds, pictures

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.pictures.batches import Batches
    from darknet_bn.pictures.prepare import Fit


def is_list(data: str) -> bool:
    """Return whether a word is a list of pictures, by its suffix, or standard input."""
    return data == kinds.STDIN or data.lower().endswith(kinds.LISTS)


def is_array(data: str) -> bool:
    """Return whether a word names an ``.npz`` file."""
    return data.lower().endswith(".npz")


def require_kind(data: str) -> None:
    """Check that a word names pictures, a list of them, or a data set."""
    from darknet_bn.data.kinds import KINDS, VIDEOS, is_url, what_to_do
    from darknet_bn.data.layouts.find import find_layout

    where, expected = dn.Where(file=data), "a picture, a folder, a list, a .data or an .npz file"
    suffix = Path(data).suffix.lower()
    if not is_url(data):
        if pictures.may_be(data) or suffix in KINDS or is_list(data):
            return
        if find_layout(data) is not None:
            return
        if not suffix and not os.path.exists(data):
            raise dn.DarknetError("no such file", where=where, expected=expected)
    known = is_url(data) or suffix in (".npy", *VIDEOS)
    hint = what_to_do(data) if known else "give pictures only, such as 'photos/*.jpg'"
    raise dn.DarknetError(f"expected {expected}", where=where, hint=hint)


def is_labelled(data: str) -> bool:
    """Return whether a word names a set of labels, and not pictures themselves."""
    from darknet_bn.data.layouts.base import pictures_in
    from darknet_bn.data.layouts.find import find_layout

    if os.path.isdir(data):
        return not pictures_in(Path(data)) and find_layout(data) is not None
    return os.path.isfile(data) and find_layout(data) is not None


def load(model: dn.Model, data: str, batch: int, images: int | None, key: str, fit: Fit) -> Batches:
    """Return the inputs that a word names.

    Parameters
    ----------
    model : Model
    data : str
        A picture, a folder, a pattern, a list, a ``.data`` file, an ``.npz`` file or a set of
        labels.
    batch : int
        How many images a batch has.
    images : int or None
        How many of the images to use at most, evenly spaced.
    key : "train" or "valid"
        The list of a ``.data`` file to use.
    fit : "letterbox", "stretch" or "crop"

    Raises
    ------
    DataError
        Lines of a list do not lead to pictures; it holds all of the errors.
    """
    import numpy as np

    from darknet_bn.data.array_sets import load_array_inputs
    from darknet_bn.data.labelled import part_of
    from darknet_bn.data.layouts.find import read_set
    from darknet_bn.data.lists import load_list
    from darknet_bn.pictures.batches import Batches, picture_batches
    from darknet_bn.pictures.images import require_pillow

    if is_array(data):
        examples = load_array_inputs(data, model)
        chosen = _some(len(examples), images)
        rng = np.random.default_rng(0)  # nothing is random without augmentation

        def load(numbers: range) -> F32:
            x, _ = examples.batch(
                [chosen[number] for number in numbers], rng, shape=model.network.input
            )
            return x

        return Batches(len(chosen), batch, load)
    require_pillow()
    if data.lower().endswith(".data"):
        paths: Sequence[str] = [entry.path for entry in load_list(dn.load_data(data), key)]
    elif is_labelled(data):
        labelled = read_set(data)
        part = part_of(labelled, train=key == "train")
        paths = [each.path for each in labelled.of_part(part)]
    else:
        found = pictures.find([data])
        require_all([each.error for each in found.problems], found.count, data)
        paths = found.paths
    return picture_batches(model, [paths[each] for each in _some(len(paths), images)], batch, fit)


def require_all(problems: Sequence[dn.DarknetError], usable: int, data: str) -> None:
    """Refuse a list of which some lines do not lead to pictures, with a DataError."""
    if problems:
        what = f"{len(problems)} of {usable + len(problems)} pictures cannot be found"
        raise dn.DataError(what, problems, where=dn.Where(file=data))


def _some(count: int, wanted: int | None) -> list[int]:
    """Return ``wanted`` numbers below ``count``, evenly spaced; all if there are no more."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [number * count // wanted for number in range(wanted)]
