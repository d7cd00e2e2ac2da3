from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels.pictures.resize import crop_image, resize_min
from darknet_bn.pictures.prepare import Fit, own_fit, picture_shape, preparation
from tests.support.builders import cfg_text, random_model

CONV = "[convolutional] filters=21 size=1 activation=linear"
YOLO = "[yolo] mask=0,1,2 num=3 classes=2 anchors=8,10,18,24,40,36"
DETECTOR = cfg_text(CONV, YOLO, width=12, height=8)
CLASSIFIER = cfg_text(CONV, "[avgpool]", "[softmax]", width=12, height=8)
BOXED = DETECTOR.replace(b"[net]", b"[net]\nletter_box=1")


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((channels, height, width), np.float32)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize(
    ("cfg", "dialect", "fit"),
    [
        (DETECTOR, "pjreddie", "letterbox"),
        (DETECTOR, "pjreddie-gpu", "letterbox"),
        (DETECTOR, "alexeyab", "stretch"),
        (DETECTOR, "hank-ai", "stretch"),
        (BOXED, "alexeyab", "letterbox"),
        (CLASSIFIER, "pjreddie", "letterbox"),
        (CLASSIFIER, "alexeyab", "crop"),
        (CLASSIFIER.replace(b"[net]", b"[net]\nletter_box=1"), "alexeyab", "crop"),
    ],
)
def test_each_program_has_its_own_way(cfg: bytes, dialect: str, fit: Fit) -> None:
    model = random_model(cfg, dialect)
    assert own_fit(model) == fit
    im = picture(17, 31)
    np.testing.assert_array_equal(dn.prepare(im, model), dn.prepare(im, model, fit))


@pytest.mark.parametrize("size", [(17, 31), (31, 17), (9, 9), (8, 12)], ids=str)
def test_the_ways(size: tuple[int, int]) -> None:
    model, im = random_model(DETECTOR), picture(*size)
    expected = {
        "letterbox": dn.letterbox(im, 12, 8),
        "stretch": dn.resize_image(im, 12, 8),
    }
    for fit, x in expected.items():
        np.testing.assert_array_equal(dn.prepare(im, model, fit), x[None])


@pytest.mark.parametrize(
    ("size", "net", "start"),
    [
        # Scaled to (12, 21), (12, 12) and (24, 12): half of the rows and columns too many.
        ((17, 31), (8, 12), (2, 4)),
        ((10, 10), (8, 12), (2, 0)),
        ((20, 10), (8, 12), (8, 0)),
        # To (12, 12): three rows too few, and C divides towards zero.
        ((10, 10), (15, 12), (-1, 0)),
    ],
    ids=str,
)
def test_cropping_takes_the_middle(
    size: tuple[int, int], net: tuple[int, int], start: tuple[int, int]
) -> None:
    model = random_model(cfg_text(CONV, "[softmax]", height=net[0], width=net[1]))
    im = picture(*size)
    scaled = resize_min(im, net[1])
    expected = crop_image(scaled, start[1], start[0], net[1], net[0])
    np.testing.assert_array_equal(dn.prepare(im, model, "crop"), expected[None])


def test_it_is_what_darknet_feeds(shared: Path) -> None:
    inputs = shared / "golden/models/inputs"
    pair = shared / "models/yolov3-tiny/yolov3-tiny"
    model = dn.load(f"{pair}.cfg", f"{pair}.weights", dialect="alexeyab")
    with np.load(inputs / "dog_b_resize_416.npz") as arrays:
        expected = arrays["input"]
    x = dn.prepare(dn.load_image(shared / "images/dog.jpg"), model)
    # The decoders of JPEG are up to 3 levels of 255 apart.
    np.testing.assert_allclose(x[0], expected, rtol=0, atol=0.0121)


def test_alpha_is_a_fourth_channel() -> None:
    model, im = random_model(cfg_text(CONV, YOLO, channels=4, width=12, height=8)), picture(9, 9, 4)
    boxed = dn.prepare(im, model, "letterbox")
    np.testing.assert_array_equal(boxed[0], dn.letterbox(im, 12, 8))
    assert (boxed[0, 3, :, 0] == 0.5).all()  # Darknet fills all channels with its grey
    assert dn.forward(model, boxed)[1].shape == (1, 21, 8, 12)


@pytest.mark.parametrize(
    ("im", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"^prepare: im is not .*from_bytes\(im\[:, :, ::-1\]\)$"),
        (np.zeros((4, 5, 3), np.float32), r"found 4\); the channels come first: im\.transpose"),
        (np.zeros((1, 5, 3), np.float32), r"found 1\); the channels come first: im\.transpose"),
        (np.zeros((1, 4, 5), np.float32), r"found 1\); load_image\(path, 3\) reads it with these"),
        ([[1.0]], r"^prepare: im is not an array"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_makes_one(im: Any, message: str) -> None:
    with pytest.raises(dn.ShapeError, match=message):
        dn.prepare(im, random_model(DETECTOR))


@pytest.mark.parametrize(("net", "im"), [(3, 1), (1, 3), (4, 3), (3, 4)])
def test_other_channels_are_refused(net: int, im: int) -> None:
    model = random_model(cfg_text(CONV, channels=net))
    with pytest.raises(
        dn.ShapeError, match=rf"does not have the channels.*expected {net}, found {im}"
    ):
        dn.prepare(picture(4, 4, im), model)


@pytest.mark.parametrize(("channels", "colours"), [(1, "grey"), (3, "RGB"), (4, "RGBA")])
def test_the_planes_are_said_in_words(channels: int, colours: str) -> None:
    cfg = cfg_text(CONV, YOLO, width=12, height=8, channels=channels)
    assert preparation(random_model(cfg, "alexeyab")) == {
        "resize": "stretch",
        "interpolation": "bilinear, corner pixels on corner pixels",
        "colours": colours,
        "range": "0..1",
    }


def test_a_network_may_take_no_pictures() -> None:
    assert preparation(random_model(cfg_text(CONV, channels=5))) == {}
    with pytest.raises(dn.ShapeError, match="the network does not take pictures"):
        picture_shape(random_model(cfg_text(CONV, channels=5)).network)
    flat = random_model(b"[net]\ninputs=5\n[connected]\noutput=2\nactivation=linear\n")
    with pytest.raises(dn.ShapeError, match="the network does not take pictures"):
        dn.prepare(picture(4, 4), flat)


def test_a_way_that_is_none() -> None:
    with pytest.raises(dn.ShapeError, match="expected letterbox, stretch, crop, found 'fill'"):
        dn.prepare(picture(4, 4), random_model(DETECTOR), "fill")  # type: ignore[arg-type]


def test_a_line_of_pixels_takes_no_memory() -> None:
    model = random_model(cfg_text(CONV, "[softmax]", width=10_000, height=4))
    with pytest.raises(dn.ShapeError, match="there is not enough memory for a picture scaled to"):
        dn.prepare(np.zeros((3, 1, 100_000), np.float32), model, "crop")
