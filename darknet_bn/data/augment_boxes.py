"""Pictures with boxes changed at random for training; the boxes follow their picture.

pjreddie's Darknet stretches a picture and puts it on a grey canvas.  AlexeyAB's cuts off some of it
at each side, or adds to it, and may blur it, or combine several pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data.augment import random_distort_image
from darknet_bn.data.truth import Move, correct_boxes
from darknet_bn.kernels.pictures.augment import (
    crop_resize_image,
    flip_image,
    gaussian_blur,
    place_image,
)
from darknet_bn.kernels.pictures.resize import as_picture, crop_image, resize_image
from darknet_bn.layers.net import Net
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model

Labelled = Callable[[int], tuple[F32, F32]]
"""``labelled(index)``: a picture (c, H, W) of a data set, and its boxes (boxes, 5)."""

_GREY = 0.5
_MIXED = 0.5  # share of examples combined from several pictures, if asked for
_NEAREST = 0.2  # least share of the input between its border and where four pictures meet
_BLUR = 17  # pixels: the window of a blur that spares the boxes
_MOST_NOISE = 127


class PicturePart(NamedTuple):
    """A part of a picture, which may reach beyond it: the pixels cut off at each side."""

    left: int
    top: int
    right: int
    bottom: int

    def size(self, im: F32) -> tuple[int, int]:
        """Return the width and height of the part, at least one pixel each."""
        _, height, width = im.shape
        return max(1, width - self.left - self.right), max(1, height - self.top - self.bottom)

    def move(self, im: F32) -> Move:
        """Return how points move when the part becomes the whole."""
        _, height, width = im.shape
        part_width, part_height = self.size(im)
        return Move(
            (width / part_width, height / part_height),
            (self.left / part_width, self.top / part_height),
        )

    def letterboxed(self, im: F32, shape: Shape) -> PicturePart:
        """Return the part enlarged at two sides, so that an input keeps the picture's aspect ratio.

        C: ``load_data_detection`` in AlexeyAB's ``src/data.c``.
        """
        _, height, width = im.shape
        if width * shape.h > height * shape.w:
            more = int((width * shape.h / shape.w - height) / 2)
            return self._replace(top=self.top - more, bottom=self.bottom - more)
        more = int((height * shape.w / shape.h - width) / 2)
        return self._replace(left=self.left - more, right=self.right - more)

    def padding(self, im: F32) -> tuple[float, float, float, float]:
        """Return the share of the part that is outside the picture at each side."""
        width, height = self.size(im)
        return (
            max(0.0, -self.left / width),
            max(0.0, -self.top / height),
            max(0.0, -self.right / width),
            max(0.0, -self.bottom / height),
        )


class Example(NamedTuple):
    """A picture made an input, its boxes, and the share of padding at each side."""

    x: F32
    boxes: F32
    padding: tuple[float, float, float, float] = (0, 0, 0, 0)


def augment_boxes(
    labelled: Labelled,
    index: int,
    count: int,
    model: Model,
    shape: Shape,
    rng: np.random.Generator,
) -> tuple[F32, F32]:
    """Make an example for the training of a detector.

    Parameters
    ----------
    labelled : function
    index, count : int
        The number of the picture, and how many pictures there are to combine it with.
    model : Model
        Its last layer's ``jitter`` and ``resize`` count, and ``flip``, ``hue``, ``saturation``,
        ``exposure``, ``letter_box``, ``mosaic``, ``mixup``, ``blur`` and ``gaussian_noise`` of
        ``[net]``.
    shape : Shape
        The shape of the input.
    rng : Generator

    Returns
    -------
    x : float32 array (c, h, w)
    boxes : float32 array (boxes, 5)
        The visible parts of the boxes.

    Notes
    -----
    C: ``load_data_detection`` and ``load_data_region`` in ``src/data.c``.  AlexeyAB's decides for a
    whole batch whether pictures are combined; here this is decided for each picture.  If four of
    them are, boxes are cut at the edge of their own picture, as with ``mosaic_bound=1``; without
    that option, C keeps the parts that another picture hides.
    """
    net = model.network.net
    several = 4 if net.mosaic else 2 if net.mixup and not net.cutmix else 1
    mixes = not (model.dialect.places_pictures or _in_grid(model))
    if not (mixes and several > 1 and rng.random() < _MIXED):
        return _example(*labelled(index), model, shape, rng)[:2]
    chosen = [index, *rng.integers(count, size=several - 1).tolist()]
    examples = [_example(*labelled(each), model, shape, rng) for each in chosen]
    if several == 4:
        return mosaic(examples, shape, rng)
    first, second = examples
    x = first.x * np.float32(0.5) + second.x * np.float32(0.5)
    return x, np.concatenate((first.boxes, second.boxes))


def _in_grid(model: Model) -> bool:
    head = model.network.last_head
    return head is not None and head.grid is not None


def _example(im: F32, boxes: F32, model: Model, shape: Shape, rng: np.random.Generator) -> Example:
    net, head, grid = model.network.net, model.network.last_head, _in_grid(model)
    jitter, resize = (0.0, 1.0) if head is None else (head.jitter, head.resize)
    padding = (0.0, 0.0, 0.0, 0.0)
    if model.dialect.places_pictures and not grid:
        x, move = place_randomly(im, jitter, shape, rng)
    else:
        part = random_part(im, jitter, rng, resize=resize)
        if net.letter_box and not grid:
            part = part.letterboxed(im, shape)
        x, move, padding = cut_out(im, part, shape, edges=grid), part.move(im), part.padding(im)
    if net.flip and rng.random() < 0.5:
        x, move = flip_image(x), replace(move, flip=True)
        padding = (padding[2], padding[1], padding[0], padding[3])
    x, boxes = random_distort_image(x, net, rng), correct_boxes(boxes, move)
    if not (model.dialect.places_pictures or grid):
        x = _spoiled(x, boxes, net, rng)
    return Example(x, boxes, padding)


def place_randomly(
    im: F32, jitter: float, shape: Shape, rng: np.random.Generator
) -> tuple[F32, Move]:
    """Stretch a picture at random, scale it to fit, and put it anywhere on a grey canvas.

    Parameters
    ----------
    im : float32 array (c, H, W)
    jitter : float
        The largest change of its sides before scaling, as a share of their length.
    shape : Shape
        The shape of the canvas.
    rng : Generator

    Returns
    -------
    x : float32 array (c, h, w)
    move : Move

    Notes
    -----
    C: ``load_data_detection`` in pjreddie's ``src/data.c``.
    """
    c, height, width = as_picture(im).shape
    wide = max(1.0, width * (1 + jitter * rng.uniform(-1, 1)))
    high = max(1.0, height * (1 + jitter * rng.uniform(-1, 1)))
    aspect = wide / high
    if aspect < 1:
        w, h = max(1, int(shape.h * aspect)), shape.h
    else:
        w, h = shape.w, max(1, int(shape.w / aspect))
    dx, dy = (int(rng.uniform(0, 1) * room) for room in (shape.w - w, shape.h - h))
    x = np.full((c, shape.h, shape.w), _GREY, np.float32)
    place_image(im, w, h, dx, dy, x)
    return x, Move((w / shape.w, h / shape.h), (-dx / shape.w, -dy / shape.h))


def random_part(
    im: F32, jitter: float, rng: np.random.Generator, *, resize: float = 1.0
) -> PicturePart:
    """Draw a random part of a picture, which may be smaller or larger at each side.

    Parameters
    ----------
    im : float32 array (c, H, W)
    jitter : float
        The largest change at a side, as a share of the picture.
    rng : Generator
    resize : float
        The factor by which the picture may also shrink or, if it is above 1, shrink or grow.

    Notes
    -----
    C: ``load_data_region`` in ``src/data.c``; with ``resize``, ``load_data_detection`` in
    AlexeyAB's.
    """
    smallest = min(resize, 1 / resize) if resize > 0 else 1.0
    least, most = (1 - 1 / smallest) / 2, max(0.0, (1 - 1 / resize) / 2) if resize > 0 else 0.0
    cuts = rng.uniform(-jitter, jitter, 4)
    cuts += rng.uniform(least, most, 2)[[0, 1, 0, 1]]  # one for left and top, one for the others
    _, height, width = im.shape
    return PicturePart(*(cuts[[0, 2, 1, 3]] * (width, height, width, height)).astype(int).tolist())


def cut_out(im: F32, part: PicturePart, shape: Shape, *, edges: bool = False) -> F32:
    """Make a part of a picture an input.

    Parameters
    ----------
    im : float32 array (c, H, W)
    part : PicturePart
    shape : Shape
        The shape of the result.
    edges : bool
        Whether pixels outside the picture repeat its border; if not, they have its mean colour.

    Returns
    -------
    x : float32 array (c, h, w)

    Notes
    -----
    C: ``load_data_region`` in ``src/data.c``, or AlexeyAB's ``image_data_augmentation``.
    """
    width, height = part.size(im)
    if edges:
        return resize_image(crop_image(im, part.left, part.top, width, height), shape.w, shape.h)
    mean = im.mean(axis=(1, 2))
    return crop_resize_image(im, part.left, part.top, width, height, shape.w, shape.h, outside=mean)


def _spoiled(x: F32, boxes: F32, net: Net, rng: np.random.Generator) -> F32:
    """Blur a picture (c, h, w) all over or around its boxes, and add noise to it, or not.

    C: ``load_data_detection`` and ``image_data_augmentation`` in AlexeyAB's, whose noise is never
    negative, because its type is unsigned.
    """
    _, h, w = x.shape
    how = int(rng.integers(3)) if net.blur else 0
    noise = net.gaussian_noise if rng.random() < 0.5 else 0.0
    if how:
        blur = 1 if how == 1 else int(net.blur)
        if blur > 1 and len(boxes):
            blur = min(blur, int((boxes[:, 2:4] * (w, h)).min() / 8))
        sharp = x
        if blur > 0:
            x = gaussian_blur(x, _BLUR if blur == 1 else blur // 2 * 2 + 1)
        if blur == 1:
            corners = boxes[:, [0, 1, 0, 1]] + boxes[:, [2, 3, 2, 3]] * (-0.5, -0.5, 0.5, 0.5)
            for left, top, right, bottom in (corners * (w, h, w, h)).astype(int).tolist():
                x[:, top:bottom, left:right] = sharp[:, top:bottom, left:right]
    if noise > 0:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(min(noise, _MOST_NOISE) / 255)
        np.clip(x, 0, 1, out=x)
    return x


def mosaic(examples: list[Example], shape: Shape, rng: np.random.Generator) -> tuple[F32, F32]:
    """Combine four examples that meet at a random point, each without its padding there.

    Parameters
    ----------
    examples : list of Example
        The upper left, upper right, lower left and lower right example.
    shape : Shape
        The shape of the input.
    rng : Generator

    Returns
    -------
    x : float32 array (c, h, w)
    boxes : float32 array (boxes, 5)

    Notes
    -----
    C: ``load_data_detection`` and ``blend_truth_mosaic`` in AlexeyAB's ``src/data.c``.
    """
    w, h = shape.w, shape.h
    cut_x, cut_y = (int(rng.uniform(_NEAREST, 1 - _NEAREST) * size) for size in (w, h))
    x = np.empty((shape.c, h, w), np.float32)
    found = []
    for number, (image, boxes, (left, top, right, bottom)) in enumerate(examples):
        columns, from_x = _window(number % 2 == 1, cut_x, w, int(left * w), int(right * w))
        rows, from_y = _window(number // 2 == 1, cut_y, h, int(top * h), int(bottom * h))
        wide, high = columns.stop - columns.start, rows.stop - rows.start
        x[:, rows, columns] = image[:, from_y : from_y + high, from_x : from_x + wide]
        window = (from_x / w, from_y / h, (from_x + wide) / w, (from_y + high) / h)
        kept = correct_boxes(boxes, Move(), window)
        kept[:, 0] += (columns.start - from_x) / w
        kept[:, 1] += (rows.start - from_y) / h
        found.append(kept)
    return x, np.concatenate(found)


def _window(last: bool, cut: int, size: int, before: int, behind: int) -> tuple[slice, int]:
    """Return where a part goes along an axis, and where it begins in its own input.

    The picture before the cut contributes its end, the one after it its beginning, without the
    padding there.
    """
    if last:
        return slice(cut, size), min(cut, before)
    return slice(0, cut), size - cut - min(size - cut, behind)
