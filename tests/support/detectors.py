"""Detectors with heads of every kind, and what proves their exported files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text, random_input, random_model

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
HEAD = "[convolutional] size=1 activation=linear filters="
HEADS = {
    "yolo": ("pjreddie", "[yolo] classes=3 num=2 mask=0,1 anchors=2,3,5,4", 16),
    "yolo, scaled": ("alexeyab", "[yolo] classes=3 num=2 anchors=2,3,5,4 scale_x_y=1.2", 16),
    "yolo, anchor by anchor": ("hank-ai", "[yolo] classes=3 num=2 anchors=2,3,5,4", 16),
    "yolo, new": ("alexeyab", "[yolo] classes=3 num=2 anchors=2,3,5,4 new_coords=1", 16),
    "Gaussian": ("alexeyab", "[Gaussian_yolo] classes=3 num=2 anchors=2,3,5,4", 24),
    "Gaussian, corner": ("alexeyab", "[Gaussian_yolo] classes=3 yolo_point=left_top", 12),
    "region": ("pjreddie", "[region] classes=3 num=2 anchors=.5,1,2,1 softmax=1", 16),
    "region, more": ("pjreddie", "[region] classes=3 num=2 coords=5 softmax=1", 18),
    "region, background": ("pjreddie", "[region] classes=3 background=1 softmax=1", 8),
    "region, cell by cell": ("alexeyab", "[region] classes=3 num=2 anchors=.5,1,2,1", 16),
}


def detector(name: str) -> dn.Model:
    dialect, section, filters = HEADS[name]
    front = f"{HEAD}{filters}"
    if "new_coords" in section:  # which leaves it to the layer before to squash
        front = front.replace("linear", "logistic")
    return random_model(cfg_text(CONV, front, section, width=6), dialect)


def v1_detector() -> dn.Model:
    full = "[connected] output=52 activation=linear"
    head = "[detection] side=2 classes=3 num=2 coords=4 softmax=1 sqrt=1"
    return random_model(cfg_text(full, head), "pjreddie")


def found_by(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


def prove(model: dn.Model, exported: dn.Exported, **options: Any) -> dn.Report:
    x = random_input(model, exported.input.dims[0])  # type: ignore[arg-type]
    return dn.prove(model, exported, {"random": x}, **options)
