"""OpenCV 4, whose numbers are the truth here."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def cv2() -> Any:
    """OpenCV with its reader of Darknet's files; skips if there is none."""
    module = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(module.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files")
    return module
