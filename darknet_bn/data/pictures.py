"""Data sets of pictures in files, with their class in the path or boxes in files of labels."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data.augment import random_augment_image
from darknet_bn.data.augment_boxes import augment_boxes
from darknet_bn.data.base import Dataset, Picture
from darknet_bn.data.labels import Labels, label_path, read_labels
from darknet_bn.data.lists import Entry, load_list
from darknet_bn.data.truth import BoxTruth, ClassTruth, Move, class_of_path, correct_boxes
from darknet_bn.dialect import ALEXEYAB, HANK_AI, PJREDDIE, Dialect
from darknet_bn.errors import DarknetError, DarknetWarning, Where
from darknet_bn.images import load_image
from darknet_bn.layers.base import Shape
from darknet_bn.layers.head import Head
from darknet_bn.model import Model
from darknet_bn.names import Data, load_names
from darknet_bn.prepare import fit_image, own_fit, picture_shape
from darknet_bn.values import brief
from darknet_bn.workers import workers

_NO_BOXES = np.zeros((0, 5), np.float32)
_NO_BOXES.flags.writeable = False
# Options of [net] that change pictures in ways not done here: of classifiers, and of detectors,
# where the programs do not do it either.
_NOT_DONE = ("mixup", "cutmix", "mosaic", "blur", "gaussian_noise")
_NOT_FOR_BOXES = ("cutmix",)


@dataclass(frozen=True, eq=False)
class PictureDataset(Dataset):
    """Pictures in files.

    Attributes
    ----------
    name : str
        Of the list.
    model : Model
        Whose options say what is done to the pictures.
    train : bool
        Whether they are changed at random; else they are made inputs as in tests.
    items : tuple of Picture
    """

    name: str
    model: Model
    train: bool
    items: tuple[Picture, ...]

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.items)

    @property
    def pictures(self) -> Sequence[Picture]:
        """The pictures, as the files have them."""
        return self.items

    def load(self, index: int) -> F32:
        """Read a picture (c, H, W), with the channels of the network's input.

        Raises
        ------
        ImageError
            It cannot be read.
        """
        return load_image(self.items[index].path, self.model.network.input.c)

    def batch(
        self, indices: Sequence[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return some examples, which all threads prepare."""
        rngs = rng.spawn(len(indices))
        x = np.empty((len(indices), *shape.dims), np.float32)
        truths: list[F32] = [_NO_BOXES] * len(indices)

        def fill(place: int) -> None:
            x[place], truths[place] = self._example(int(indices[place]), shape, rngs[place])

        workers().run(fill, range(len(indices)))
        return x, np.stack(truths)

    @abstractmethod
    def _example(self, index: int, shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
        """Return the input (c, h, w) that is made of a picture, and its truth."""


@dataclass(frozen=True, eq=False)
class PictureClasses(PictureDataset):
    """Pictures of one class each.

    Attributes
    ----------
    truth : ClassTruth
    """

    truth: ClassTruth

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, self.describe())

    def describe(self) -> str:
        """Return a line about the data set."""
        return f"{Path(self.name).name}: {len(self)} pictures of {self.truth.classes} classes"

    def _example(self, index: int, shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
        im = self.load(index)
        if self.train:
            x = random_augment_image(im, self.model.network.net, shape, rng)
        else:
            x = fit_image(im, "crop", shape)
        return x, self.truth(self.items[index].number)


@dataclass(frozen=True, eq=False)
class PictureBoxes(PictureDataset):
    """Pictures with boxes.

    Attributes
    ----------
    truth : BoxTruth
    """

    truth: BoxTruth

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, self.describe())

    def describe(self) -> str:
        """Return a line about the data set."""
        boxes = [len(picture.boxes) for picture in self.items]
        return (
            f"{Path(self.name).name}: {len(self)} pictures, {boxes.count(0)} of them without boxes;"
            f" {sum(boxes)} boxes of {self.truth.head.classes} classes"
        )

    def _example(self, index: int, shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
        if self.train:
            x, boxes = augment_boxes(self._labelled, index, len(self), self.model, shape, rng)
            return x, self.truth(rng.permutation(boxes), shape)
        im, boxes = self._labelled(index)
        fit = own_fit(self.model)
        move = Move.letterbox(im.shape[2], im.shape[1], shape) if fit == "letterbox" else Move()
        return fit_image(im, fit, shape), self.truth(correct_boxes(boxes, move), shape)

    def _labelled(self, index: int) -> tuple[F32, F32]:
        return self.load(index), self.items[index].boxes


def load_pictures(data: Data, model: Model, *, train: bool) -> PictureDataset:
    """Open the pictures of a ``.data`` file for a model.

    Parameters
    ----------
    data : Data
    model : Model
        If its last layer is a detection head, boxes are read from files of labels; else the class
        of a picture is the one whose label is part of its path.
    train : bool
        Whether to take the list ``train`` and change pictures at random, or the list ``valid``.

    Raises
    ------
    DarknetError
        A list, picture or label is not there, or not what it must be.
    ShapeError
        The network takes no pictures.

    Warns
    -----
    DarknetWarning
        Labels do not count, or options of ``[net]``.
    """
    picture_shape(model.network)
    key = "train" if train else "valid"
    entries = load_list(data, key)
    name = entries[0].where.file or key
    head = model.network.nodes[-1].layer
    if isinstance(head, Head):
        if train:
            _warn_of_not_done(model, _NOT_FOR_BOXES)
        truth = BoxTruth(head, model.dialect)
        boxes = _PictureLabels(truth, data).read(entries)
        items = tuple(Picture(entry.path, each) for entry, each in zip(entries, boxes, strict=True))
        return PictureBoxes(name, model, train, items, truth)
    if train:
        _warn_of_not_done(model, _NOT_DONE)
    classes = ClassTruth.of(model.network, train=train)
    labels = _class_labels(data, classes.classes)
    items = tuple(
        Picture(entry.path, _NO_BOXES, class_of_path(entry.text, labels, entry.where))
        for entry in entries
    )
    return PictureClasses(name, model, train, items, classes)


def _class_labels(data: Data, classes: int) -> tuple[str, ...]:
    """Return the texts that tell the class of a path; lists of more classes than needed exist."""
    file = data.path("labels" if "labels" in data.options else "names")
    if file is None:
        raise DarknetError(
            "it does not say how classes are called",
            where=Where(file=data.file, key="labels"),
            expected="labels=, the path of a file with the name of a class in each line",
        )
    labels = load_names(file)
    if len(labels) < classes:
        raise DarknetError(
            "there are fewer labels than the network has outputs",
            where=Where(file=file),
            expected=f"{classes}",
            found=f"{len(labels)}",
        )
    return labels[:classes]


def _warn_of_not_done(model: Model, options: Iterable[str]) -> None:
    for option in options:
        if getattr(model.network.net, option):
            _warn(f"[net]: {option}: pictures are not changed so here; the option does not count")


@dataclass(frozen=True)
class _PictureLabels:
    """The labels of a list of pictures: reads them, and warns once of each kind of oddity."""

    truth: BoxTruth
    data: Data

    def read(self, entries: Sequence[Entry]) -> list[F32]:
        """Return the boxes (boxes, 5) of each picture."""
        found = [self._labels(entry) for entry in entries]
        without = [entry for entry, each in zip(entries, found, strict=True) if each is None]
        file = entries[0].where.file
        if len(without) == len(entries):
            raise self._missing(entries[0], "no picture has a file of labels; the first has none")
        if without:
            one = str(self._missing(without[0], "the picture has no file of labels"))
            _warn(f"{one}; {len(without)} of {len(entries)} pictures have none, and no boxes")
        labels = [each or Labels(_NO_BOXES) for each in found]
        odd = [oddity for each in labels for oddity in each.oddities]
        if odd:
            _warn(f"{odd[0]}; the box does not count ({len(odd)} such boxes in {file})")
        room, full = self.truth.room, max(len(each.boxes) for each in labels)
        if room is not None and full > room:
            _warn(f"{file}: a picture has {full} boxes; only max={room} of them count at a time")
        classes = self.data.classes
        if classes is not None and classes != self.truth.head.classes:
            place = Where(file=self.data.file, key="classes")
            _warn(f"{place}: the network has {self.truth.head.classes} classes, not {classes}")
        return [each.boxes for each in labels]

    def _labels(self, entry: Entry) -> Labels | None:
        dialect = self.truth.dialect
        path = entry.beside(label_path(entry.text, dialect))
        if not os.path.isfile(path):
            if dialect.strict_labels:
                raise self._missing(entry, "the picture has no file of labels")
            return None
        class_only = dialect.places_pictures and getattr(self.truth.head, "tree", None) is not None
        return read_labels(
            path, self.truth.head.classes, strict=dialect.strict_labels, class_only=class_only
        )

    def _missing(self, entry: Entry, problem: str) -> DarknetError:
        def path(dialect: Dialect) -> str:
            return entry.beside(label_path(entry.text, dialect))

        others = [other for other in (PJREDDIE, ALEXEYAB, HANK_AI) if os.path.isfile(path(other))]
        hint = f"the dialect {others[0].name} has {path(others[0])}" if others else None
        return DarknetError(
            problem, where=entry.where, expected=path(self.truth.dialect), hint=hint
        )


def _warn(text: str) -> None:
    warnings.warn(text, DarknetWarning, stacklevel=5)
