"""Which engines are installed."""

from __future__ import annotations

import importlib.util

import pytest

from darknet_bn.engines.base import ENGINES

PACKAGES = {"litert": "ai_edge_litert", "opencv": "cv2"}  # what is imported, if not by its name


def installed(engine: str) -> bool:
    """Whether the package of an engine is there."""
    return importlib.util.find_spec(PACKAGES.get(engine, engine)) is not None


INSTALLED = tuple(filter(installed, ENGINES))
EACH = [
    pytest.param(
        each, marks=pytest.mark.skipif(not installed(each), reason=f"{each} is not installed")
    )
    for each in ENGINES
]
