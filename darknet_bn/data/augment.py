"""Pictures changed at random for training: turned, cut, stretched, mirrored, recoloured.

Everything random is drawn from a generator that the caller passes.
"""

from __future__ import annotations

import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.pictures.augment import distort_image, flip_image, rotate_crop_image
from darknet_bn.kernels.pictures.resize import as_picture
from darknet_bn.layers.net import Net
from darknet_bn.layers.shape import Shape


def rand_scale(rng: np.random.Generator, most: float) -> float:
    """Draw a factor between 1 and ``most``, or between their reciprocals.

    C: ``rand_scale`` in ``src/utils.c``.
    """
    scale = rng.uniform(min(1.0, most), max(1.0, most))
    return scale if rng.random() < 0.5 else 1 / scale


def random_distort_image(im: F32, net: Net, rng: np.random.Generator) -> F32:
    """Change the colours of a picture at random.

    Parameters
    ----------
    im : float32 array (c, h, w)
    net : Net
        ``hue``, ``saturation`` and ``exposure`` limit the changes.
    rng : Generator

    Returns
    -------
    distorted : float32 array (c, h, w)

    Notes
    -----
    C: ``random_distort_image`` in ``src/image.c``.  If AlexeyAB's is built with OpenCV, it rounds
    to 8 bits in between, and a hue below red stays red.
    """
    hue = rng.uniform(-abs(net.hue), abs(net.hue))
    saturation, exposure = rand_scale(rng, net.saturation), rand_scale(rng, net.exposure)
    return distort_image(im, hue, saturation, exposure)


def random_augment_image(im: F32, net: Net, shape: Shape, rng: np.random.Generator) -> F32:
    """Change a picture at random for the training of a classifier.

    The picture is turned by up to ``angle`` degrees and stretched by up to ``aspect``.  Its shorter
    side is scaled to between ``min_crop`` and ``max_crop`` pixels, for an input as wide as in the
    cfg.  A part is cut out, mirrored or not, and its colours are changed.

    Parameters
    ----------
    im : float32 array (c, H, W)
    net : Net
    shape : Shape
        The shape of the result.
    rng : Generator

    Returns
    -------
    x : float32 array (c, h, w)

    Notes
    -----
    C: ``random_augment_image`` in ``src/image.c``, ``load_data_augment`` in ``src/data.c``.
    """
    _, height, width = as_picture(im).shape
    aspect = rand_scale(rng, net.aspect)
    low, high = crop_sides(net, shape.w)
    side = int(rng.integers(low, high, endpoint=True))
    scale = side / max(1, int(min(height, width * aspect)))
    rad = math.radians(rng.uniform(-1, 1) * net.angle)
    dx = rng.uniform(-1, 1) * (width * scale / aspect - shape.w) / 2
    dy = rng.uniform(-1, 1) * (height * scale - shape.h) / 2
    x = rotate_crop_image(im, rad, scale, shape.w, shape.h, dx, dy, aspect)
    if net.flip and rng.random() < 0.5:
        x = flip_image(x)
    return random_distort_image(x, net, rng)


def crop_sides(net: Net, w: int) -> tuple[int, int]:
    """Return the least and the greatest length of a classifier picture's shorter side.

    Parameters
    ----------
    net : Net
        ``min_ratio`` and ``max_ratio``, or ``min_crop`` and ``max_crop``, which refer to the width
        in the cfg; by default once and twice that width.
    w : int
        The width of the input.

    Notes
    -----
    C: ``parse_net_options`` in ``src/parser.c``, ``train_classifier``.
    """
    width = net.width or w
    low, high = net.min_ratio, net.max_ratio
    low = (width if net.min_crop is None else net.min_crop) / width if low is None else low
    high = (2 * width if net.max_crop is None else net.max_crop) / width if high is None else high
    shortest = max(1, int(low * w))
    return shortest, max(shortest, int(high * w))
