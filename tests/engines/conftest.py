"""Sessions in every engine that is installed."""

from __future__ import annotations

import importlib.util

import pytest

from darknet_bn.engines.base import ENGINES

MODULES = {"opencv": "cv2", "litert": "ai_edge_litert"}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(MODULES.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")
    return name
