"""A set of pictures with boxes, in any layout of labels, as a data set for a model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darknet_bn.data.base import Picture, many
from darknet_bn.data.layouts.base import Finding, LabelledPicture, LabelledSet
from darknet_bn.data.pictures import PictureBoxes, warn_of_not_done
from darknet_bn.data.truth import BoxTruth
from darknet_bn.errors import DarknetError, DarknetWarning, DataError, DataWarning, Where
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import picture_shape

_PARTS = {True: ("train", "valid", "test"), False: ("valid", "test", "train")}
_REFUSED = ("line", "file", "picture", "dimensions")  # kinds of finding, as in label files
_ONLY_TRAINING = "the set has no part for validation: all of its pictures are used"
_LABELS, _TWICE, _ORPHAN = "labels", "twice", "orphan"


def data_file(path: str | os.PathLike[str]) -> str | None:
    """Return the ``.data`` file that a path is, or that a folder has; None if there is none."""
    place = Path(path)
    if place.suffix.lower() == ".data" and not place.is_dir():
        return os.fspath(path)
    if place.is_dir():
        found = [each for each in sorted(place.glob("*.data")) if each.is_file()]
        return str(found[0]) if len(found) == 1 else None
    return None


def part_of(labelled: LabelledSet, *, train: bool) -> str:
    """Return the part of a set that is for training, or for validation.

    A set without a part for validation has its part for tests used instead, or the one that it has.

    Raises
    ------
    DarknetError
        The set has no pictures.
    """
    there = labelled.parts()
    if not there:
        problems = [each.error for each in labelled.findings]
        where = Where(file=labelled.place)
        if problems:
            raise DataError("the set has no pictures that can be used", problems, where=where)
        raise DarknetError("the set has no pictures", where=where)
    return next(part for part in _PARTS[train] if part in there)


def load_labelled(labelled: LabelledSet, model: Model, *, train: bool) -> PictureBoxes:
    """Make a set the data set of a detector.

    Parameters
    ----------
    labelled : LabelledSet
    model : Model
    train : bool
        As of `load_dataset`.

    Raises
    ------
    DarknetError
        The model is not a detector, or the set has no pictures.
    DataError
        Pictures are missing, or labels are not boxes; it holds all of the errors.
    ShapeError
        The network takes no pictures.

    Warns
    -----
    DataWarning
        Boxes are impossible and ignored; it holds all of the errors.
    DarknetWarning
        Pictures have no labels; the network has another number of classes; or boxes are left out
        because they are marked as crowds or difficult.
    """
    picture_shape(model.network)
    head = model.network.last_head
    if head is None:
        raise DarknetError(
            "these labels are boxes, but the model is not a detector",
            where=Where(file=labelled.place),
            expected="a .data file whose labels= names the classes, or an .npz file",
        )
    if train:
        warn_of_not_done(model)
    part = part_of(labelled, train=train)
    chosen = labelled.of_part(part)
    if not any(each.labels for each in chosen):
        raise DarknetError(
            "no picture has a label file" if len(chosen) > 1 else "the picture has no label file",
            where=Where(file=chosen[0].path),
            hint="an empty file means no objects",
        )
    findings = [each for each in labelled.findings if each.part in (part, None)]
    findings += _without_class(chosen, head.classes)
    left_out = _left_out(labelled, findings, any(each.boxes for each in chosen))
    without = tuple(
        each.error.where.file or "" for each in findings if each.kind == _LABELS
    )  # fmt: skip
    truth = BoxTruth(head, model.dialect)
    items = tuple(
        Picture(each.path, _rows(each, head.classes)) for each in chosen
    )  # fmt: skip
    _warn_of_rest(labelled, chosen, without, truth, [len(each.boxes) for each in items])
    return PictureBoxes(
        labelled.place,
        model,
        train,
        items,
        truth,
        left_out,
        without,
        labelled.names,
        (*labelled.notes, _ONLY_TRAINING) if part == "train" and not train else labelled.notes,
    )


def _rows(
    picture: LabelledPicture, classes: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    boxes = [box[:5] for box in picture.boxes if not box.mark and box.number < classes]
    return np.array(boxes, np.float32).reshape(-1, 5)


def _without_class(pictures: Sequence[LabelledPicture], classes: int) -> list[Finding]:
    expected = f"0 to {classes - 1}" if classes > 1 else "0, the only one"
    return [
        Finding(
            "class",
            DarknetError(
                f"the network has no class {box.number}", where=each.where(box), expected=expected
            ),
        )
        for each in pictures
        for box in each.boxes
        if box.number >= classes
    ]


def _left_out(
    labelled: LabelledSet, findings: Sequence[Finding], some: bool
) -> tuple[DarknetError, ...]:
    """Return the boxes that are left out, with a warning; refuse what is not a box at all."""
    where = Where(file=labelled.place)
    odd = [each for each in findings if each.kind not in (_LABELS, _TWICE, _ORPHAN)]
    refused = [each.error for each in odd if each.kind in _REFUSED]
    errors = tuple(each.error for each in odd)
    if refused or (errors and not some):
        what = f"{many(len(refused or errors), 'place')} of the labels cannot be used"
        raise DataError(what, refused or errors, where=where)
    if errors:
        text = f"{labelled.place}: {many(len(errors), 'box')} ignored; the first: {errors[0]}"
        warnings.warn(DataWarning(text, errors), stacklevel=4)
    return errors


def _warn_of_rest(
    labelled: LabelledSet,
    pictures: Sequence[LabelledPicture],
    without: Sequence[str],
    truth: BoxTruth,
    counts: Sequence[int],
) -> None:
    marked = sum(bool(box.mark) for each in pictures for box in each.boxes)
    texts = []
    if without:
        texts.append(
            f"{len(without)} of {many(len(pictures), 'picture')} without a label file, and so "
            f"without objects; the first: {without[0]}"
        )
    if marked:
        texts.append(f"{many(marked, 'box')} left out: marked as crowd or difficult")
    if labelled.names and len(labelled.names) != truth.head.classes:
        classes = many(truth.head.classes, "class")
        texts.append(f"the network has {classes}, not {len(labelled.names)}")
    if truth.room is not None and max(counts, default=0) > truth.room:
        texts.append(
            f"a picture has {max(counts)} boxes; only max={truth.room} of them are used at a time"
        )
    for text in texts:
        warnings.warn(f"{labelled.place}: {text}", DarknetWarning, stacklevel=4)
