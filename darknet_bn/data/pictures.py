"""Data sets of pictures in files, with their class in the path or boxes in files of labels."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data.augment import random_augment_image
from darknet_bn.data.augment_boxes import augment_boxes
from darknet_bn.data.base import Dataset, Picture, many
from darknet_bn.data.lists import ListEntry, load_list
from darknet_bn.data.path_classes import load_classes
from darknet_bn.data.picture_labels import NO_BOXES, load_labels
from darknet_bn.data.truth import BoxTruth, ClassTruth, Move, correct_boxes
from darknet_bn.errors import DarknetError, DarknetWarning, ImageError, Where
from darknet_bn.formats.names import Data, load_names
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.pictures.images import load_image
from darknet_bn.pictures.prepare import fit_image, own_fit, picture_shape
from darknet_bn.values import brief
from darknet_bn.work.threads import workers

# Options of [net] that change pictures in ways not supported here: for classifiers, and for
# detectors; the programs do not support the latter either.
_NOT_DONE = ("mixup", "cutmix", "mosaic", "blur", "gaussian_noise")
NOT_FOR_BOXES = ("cutmix",)


@dataclass(frozen=True, eq=False)
class PictureDataset(Dataset):
    """Pictures in files.

    Attributes
    ----------
    name : str
        The name of the list.
    model : Model
        Its options say how the pictures are changed.
    train : bool
        Whether they are changed at random; if not, they are made inputs as in tests.
    items : tuple of Picture
    """

    name: str
    model: Model
    train: bool
    items: tuple[Picture, ...]
    _failed: dict[int, ImageError] = field(default_factory=dict, init=False, repr=False)
    _told: set[int] = field(default_factory=set, init=False, repr=False)

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
            The picture cannot be read.
        """
        return load_image(self.items[index].path, self.model.network.input.c)

    def batch(
        self, indices: Sequence[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return some examples, which all threads prepare.

        In training, the next picture replaces one that cannot be read, with a warning.
        """
        return self.part_of_batch(indices, rng, range(len(indices)), shape=shape)

    def part_of_batch(
        self,
        indices: Sequence[int],
        rng: np.random.Generator,
        places: Sequence[int],
        *,
        shape: Shape,
    ) -> tuple[F32, F32]:
        """Return a batch of which only some places are filled, with what `batch` has there.

        Parameters
        ----------
        indices, rng, shape
            As of `batch`.
        places : sequence of int
            Places in the batch, one at least; all others are zero.
        """
        rngs = rng.spawn(len(indices))
        x = np.zeros((len(indices), *shape.dims), np.float32)
        truths: list[F32] = [NO_BOXES] * len(indices)

        def fill(place: int) -> None:
            x[place], truths[place] = self._example(int(indices[place]), shape, rngs[place])

        workers().run(fill, places)
        nothing = np.zeros_like(truths[places[0]])
        for place in set(range(len(indices))).difference(places):
            truths[place] = nothing
        for index in sorted(set(self._failed) - self._told):
            self._told.add(index)
            text = f"{self._failed[index]}; the next picture is used instead"
            warnings.warn(text, DarknetWarning, stacklevel=2)
        return x, np.stack(truths)

    def _readable(self, index: int) -> tuple[int, F32]:
        """Return the first picture from ``index`` on that can be read, and its number."""
        if not self.train:
            return index, self.load(index)
        for step in range(len(self)):
            number = (index + step) % len(self)
            if number not in self._failed:
                try:
                    return number, self.load(number)
                except ImageError as error:
                    self._failed[number] = error
        raise self._failed[index]

    @abstractmethod
    def _example(self, index: int, shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
        """Return the input (c, h, w) that is made from a picture, and its truth."""


@dataclass(frozen=True, eq=False)
class PictureClasses(PictureDataset):
    """Pictures that have one class each.

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
        pictures, classes = many(len(self), "picture"), many(self.truth.classes, "class")
        return f"{Path(self.name).name}: {pictures} of {classes}"

    def _example(self, index: int, shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
        index, im = self._readable(index)
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
    left_out : tuple of DarknetError
        One error for each box in a label file that is impossible and ignored.
    without_labels : tuple of str
        The pictures that have no label file, and so no boxes.
    class_names, notes : tuple of str
        As of `Dataset`.
    """

    truth: BoxTruth
    left_out: tuple[DarknetError, ...] = ()
    without_labels: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, self.describe())

    def describe(self) -> str:
        """Return a line about the data set."""
        boxes = [len(picture.boxes) for picture in self.items]
        pictures, classes = many(len(self), "picture"), many(self.truth.head.classes, "class")
        return (
            f"{Path(self.name).name}: {pictures}, {boxes.count(0)} of them without boxes; "
            f"{many(sum(boxes), 'box')} of {classes}"
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
        index, im = self._readable(index)
        return im, self.items[index].boxes


def load_pictures(data: Data, model: Model, *, train: bool) -> PictureDataset:
    """Open the pictures of a ``.data`` file for a model.

    Parameters
    ----------
    data : Data
    model : Model
        If its last layer is a detection head, boxes are read from label files; if not, the class of
        a picture is the one whose label is part of its path.
    train : bool
        Whether to use the list ``train`` and change pictures at random, or the list ``valid``.

    Raises
    ------
    DarknetError
        A list is missing or empty, or no picture has labels.
    DataError
        Pictures are missing, or labels are invalid; it holds all of the errors.
    ShapeError
        The network takes no pictures.

    Warns
    -----
    DataWarning
        Boxes are impossible and ignored; it holds all of the errors.
    DarknetWarning
        Pictures have no labels, or options of ``[net]`` are ignored.
    """
    picture_shape(model.network)
    return open_pictures(load_list(data, "train" if train else "valid"), data, model, train=train)


def open_pictures(
    entries: Sequence[ListEntry], data: Data, model: Model, *, train: bool
) -> PictureDataset:
    """Open the pictures of a list that has been read, as `load_pictures` does."""
    picture_shape(model.network)
    name = entries[0].where.file or "list"
    head = model.network.last_head
    if head is not None:
        if train:
            warn_of_not_done(model)
        truth = BoxTruth(head, model.dialect)
        labels = load_labels(entries, truth, data)
        items = tuple(
            Picture(entry.path, each) for entry, each in zip(entries, labels.boxes, strict=True)
        )
        return PictureBoxes(name, model, train, items, truth, labels.left_out, labels.without)
    if train:
        warn_of_not_done(model, _NOT_DONE)
    classes = ClassTruth.of(model.network, train=train)
    numbers = load_classes(entries, _class_labels(data, classes.classes))
    items = tuple(
        Picture(entry.path, NO_BOXES, number)
        for entry, number in zip(entries, numbers, strict=True)
    )
    return PictureClasses(name, model, train, items, classes)


def _class_labels(data: Data, classes: int) -> tuple[str, ...]:
    """Return the labels that give the class of a path; a list may have more than needed."""
    file = data.path("labels" if "labels" in data.options else "names")
    if file is None:
        raise DarknetError(
            "the file does not name the classes",
            where=Where(file=data.file, key="labels"),
            expected="labels=FILE, a file with one class name per line",
        )
    labels = load_names(file)
    if len(labels) < classes:
        raise DarknetError(
            "there are fewer labels than network outputs",
            where=Where(file=file),
            expected=f"{classes}",
            found=f"{len(labels)}",
        )
    return labels[:classes]


def warn_of_not_done(model: Model, options: Iterable[str] = NOT_FOR_BOXES) -> None:
    """Warn of options of ``[net]`` that change pictures in ways not supported here."""
    for option in options:
        if model.network.net.value(option):
            _warn(f"[net]: {option}: this augmentation is not supported; the option is ignored")


def _warn(text: str) -> None:
    warnings.warn(text, DarknetWarning, stacklevel=4)
