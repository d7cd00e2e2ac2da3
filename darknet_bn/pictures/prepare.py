"""Make a picture the input of a network, as Darknet does."""

from __future__ import annotations

from typing import Literal

from darknet_bn.arrays import F32
from darknet_bn.errors import ImageError, ShapeError, Where
from darknet_bn.kernels.boxes.box import letterbox_size
from darknet_bn.kernels.floating import require_floats
from darknet_bn.kernels.pictures.resize import (
    as_picture,
    crop_image,
    letterbox_image,
    resize_image,
    resize_min,
)
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.pictures.images import CHANNELS, load_image
from darknet_bn.work.memory import require_memory

Fit = Literal["letterbox", "stretch", "crop"]

_COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}  # by channels


def own_fit(model: Model) -> Fit:
    """Return how the program fits a picture into the input of a network.

    Returns
    -------
    fit : "letterbox", "stretch" or "crop"
        ``"stretch"`` for a detector and ``"crop"`` for a classifier; but ``"letterbox"`` if the
        dialect always does that, and for detectors with ``letter_box=1`` in ``[net]``.

    Notes
    -----
    C: ``test_detector`` in ``examples/detector.c`` and ``predict_classifier`` in
    ``examples/classifier.c`` (pjreddie; AlexeyAB has them in ``src``).
    """
    detects = model.network.is_detector
    if model.dialect.letterboxes or (detects and model.network.net.letter_box):
        return "letterbox"
    return "stretch" if detects else "crop"


def preparation(model: Model) -> dict[str, str]:
    """Say in words how pictures are made the input, for programs that do it themselves.

    Returns
    -------
    words : dict from key to str
        ``resize``: ``letterbox, grey 0.5``; ``stretch``; or ``crop, shorter side to`` a number of
        pixels, and ``centre``.  ``interpolation``: ``bilinear, corner pixels on corner pixels``.
        ``colours``: ``RGB``, ``RGBA`` or ``grey``, the order of the planes.  ``range``: ``0..1``.
        Empty if the network takes no pictures.
    """
    try:
        size = picture_shape(model.network)
    except ShapeError:
        return {}
    resize = {
        "letterbox": "letterbox, grey 0.5",
        "stretch": "stretch",
        "crop": f"crop, shorter side to {size.w}, centre",
    }
    return {
        "resize": resize[own_fit(model)],
        "interpolation": "bilinear, corner pixels on corner pixels",
        "colours": _COLOURS[size.c],
        "range": "0..1",
    }


def prepare(im: F32, model: Model, fit: Fit | None = None) -> F32:
    """Make a picture the input of a network.

    Parameters
    ----------
    im : float32 array (c, H, W)
        As `load_image` reads it, with the channels of the network's input.
    model : Model
    fit : "letterbox", "stretch" or "crop", optional
        Fit it in between bars of grey; stretch it; or scale its shorter side to the width of the
        input, and cut out the middle.  The default is the result of `own_fit`.

    Returns
    -------
    x : float32 array (1, c, h, w)

    Raises
    ------
    ShapeError
        The network takes no pictures, or none with this number of channels; ``im`` is not a
        picture; or it is so narrow that there is not enough memory to scale it, or that nothing of
        it would be left.
    """
    size = picture_shape(model.network)
    require_floats("prepare", "im", im)
    c = len(as_picture(im))
    if c != size.c:
        hint = f"load_image(path, {size.c}) reads it with these"
        if im.shape[2] == size.c:
            hint = "the channels come first: im.transpose(2, 0, 1)"
        raise ShapeError(
            "the picture does not have the channels of the network's input",
            expected=f"{size.c}",
            found=f"{c}",
            hint=hint,
        )
    way = fit or own_fit(model)
    if way == "letterbox" and 0 in letterbox_size(im.shape[1:], (size.h, size.w)):
        raise ShapeError(
            "the letterboxed picture would have no pixels",
            expected="a less elongated picture",
            found=f"{im.shape[2]} x {im.shape[1]} pixels in {size.w} x {size.h}",
        )
    return fit_image(im, way, size)[None]


def read_picture(path: str, model: Model, fit: Fit | None = None) -> tuple[F32, F32]:
    """Read a picture, and make it the input of a network.

    Parameters
    ----------
    path : str
    model : Model
    fit : "letterbox", "stretch" or "crop", optional
        As in `prepare`.

    Returns
    -------
    im, x : float32 arrays (c, H, W) and (1, c, h, w)
        The picture as it is, and the input.

    Raises
    ------
    ImageError
        It cannot be read or made the input.
    """
    im = load_image(path, model.network.input.c)
    try:
        return im, prepare(im, model, fit)
    except ShapeError as error:
        raise error.as_kind(ImageError, where=Where(file=path)) from error


def fit_image(im: F32, fit: Fit, size: Shape) -> F32:
    """Fit a picture into an input of some size.

    Parameters
    ----------
    im : float32 array (c, H, W)
    fit : "letterbox", "stretch" or "crop"
        As in `prepare`.
    size : Shape
        The size of the input; its channels do not matter.

    Returns
    -------
    x : float32 array (c, h, w)

    Raises
    ------
    ShapeError
        There is no such way to fit it, or the picture is so narrow that there is not enough memory.
    """
    if fit == "crop":
        return _cropped(im, size)
    if fit == "letterbox":
        return letterbox_image(im, size.w, size.h)
    if fit == "stretch":
        return resize_image(im, size.w, size.h)
    raise ShapeError(
        "unknown way to fit a picture", expected="letterbox, stretch, crop", found=f"{fit!r}"
    )


def picture_shape(network: Network) -> Shape:
    """Return the shape of a network's input, if the network takes pictures.

    Raises
    ------
    ShapeError
        The input has no image shape, or not 1, 3 or 4 channels.
    """
    shape = network.input
    if shape.flat or shape.c not in CHANNELS:
        raise ShapeError(
            "the network does not take pictures",
            expected="an input of w x h x 3, x 1 or x 4",
            found=f"{shape}",
        )
    return shape


def _cropped(im: F32, size: Shape) -> F32:
    """C: ``predict_classifier`` in AlexeyAB's ``src/classifier.c``."""
    c, height, width = im.shape
    longer = size.w * max(height, width) // min(height, width)
    require_memory(4 * 4 * c * size.w * longer, f"a picture scaled to {size.w} x {longer}")
    scaled = resize_min(im, size.w)
    _, height, width = scaled.shape
    # C rounds towards zero here, if the input is higher than wide and the picture is not.
    left, top = int((width - size.w) / 2), int((height - size.h) / 2)
    return crop_image(scaled, left, top, size.w, size.h)
