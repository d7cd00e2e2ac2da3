"""The names of the engines, and which of them is meant if nobody says."""

from __future__ import annotations

import os

ENGINES = ("numpy", "onnxruntime", "openvino", "opencv", "litert", "torch", "ncnn")
DEFAULT = ENGINES[0]
"""This package itself, which needs no other."""
VARIABLE = "DARKNET_BN_ENGINE"


def default_engine() -> str:
    """Return the engine that the environment names, or else our own."""
    return os.environ.get(VARIABLE) or DEFAULT
