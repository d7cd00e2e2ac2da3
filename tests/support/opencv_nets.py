"""Nets in OpenCV 4 and in this package, from the same cfg and the same random weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import darknet_bn as dn
from tests.support.builders import cfg_text, weights_bytes

CONV = "[convolutional] filters=4 size=1 activation=linear"
YOLO = "[yolo] mask=0,1 anchors=10,20,30,40 num=2 classes=2"
REGION = "[region] anchors=1,2,3,4 num=2 classes=2 softmax=1 coords=4"


def files(
    *sections: str, width: int = 8, height: int = 8, channels: int = 4
) -> tuple[bytes, bytes]:
    """What a cfg and its weights hold."""
    cfg = cfg_text(*sections, width=width, height=height, channels=channels)
    return cfg, weights_of(cfg)


def weights_of(cfg: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return weights_bytes(cfg, "opencv")


def as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def both(cv2: Any, cfg: bytes, weights: bytes) -> tuple[Any, Any]:
    """OpenCV's net and ours."""
    theirs = cv2.dnn.readNetFromDarknet(as_array(cfg), as_array(weights))
    return theirs, dn.readNetFromDarknet(cfg, weights)


def blob(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_close(ours: Any, theirs: Any) -> None:
    """Agreement within float32's rounding over a deep net: 3e-6 of the largest value was seen."""
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
