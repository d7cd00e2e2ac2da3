"""Models to read data for, and pictures with a rectangle in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import darknet_bn as dn

F32 = npt.NDArray[np.float32]
YOLO = "[yolo] mask=0 anchors=10,14 classes=3 num=1 max=4 jitter=.3"
GRID = "[detection] classes=3 coords=4 num=1 side=2 jitter=.2"
W, H = 40, 32  # of the nets


def _model(dialect: str, net: str, *sections: str) -> dn.Model:
    first = f"[net] width={W} height={H} channels=3 {net}"
    text = "\n\n".join("\n".join(section.split()) for section in (first, *sections)) + "\n"
    return dn.load(text.encode(), None, dialect=dialect)


def detector(dialect: str = "alexeyab", net: str = "", head: str = YOLO) -> dn.Model:
    """A net with a head: of YOLOv3, or [detection] of YOLOv1."""
    if head.startswith("[detection]"):
        return _model(dialect, net, "[connected] output=32 activation=linear", head)
    return _model(dialect, net, "[convolutional] filters=8 stride=4 activation=linear", head)


def classifier(dialect: str = "alexeyab", net: str = "", classes: int = 2) -> dn.Model:
    last = f"[connected] output={classes} activation=linear"
    return _model(dialect, net, last, "[softmax]")


def rectangle(h: int, w: int, left: int, top: int, right: int, bottom: int) -> tuple[F32, F32]:
    """A picture, blue with a red rectangle, and the box of that."""
    im = np.zeros((3, h, w), np.float32)
    im[2] = 1
    im[0, top:bottom, left:right], im[2, top:bottom, left:right] = 1, 0
    x, y = (left + right) / 2 / w, (top + bottom) / 2 / h
    box = np.array([[x, y, (right - left) / w, (bottom - top) / h, 1]], np.float32)
    return im, box


def red(x: F32) -> tuple[float, float, float, float]:
    """The edges of what is more red than blue in a picture: left, top, right, bottom, as shares."""
    rows, columns = np.nonzero(x[0] > x[2] + 0.02)
    _, h, w = x.shape
    return (
        columns.min() / w,
        rows.min() / h,
        (columns.max() + 1) / w,
        (rows.max() + 1) / h,
    )


def edges(box: F32) -> tuple[float, float, float, float]:
    x, y, w, h = box[:4].tolist()
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2
