"""What all tests share: where the golden data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_folder() -> Path | None:
    """The folder of golden data, models, cfgs and pictures, or None where it is absent."""
    named = os.environ.get("DARKNET_BN_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    return folder if folder.is_dir() else None


SHARED = shared_folder()
needs_shared = pytest.mark.skipif(SHARED is None, reason="the shared golden data is absent")


@pytest.fixture(scope="session")
def shared_or_none() -> Path | None:
    """The folder of golden data, or None where it is absent."""
    return SHARED


@pytest.fixture
def shared() -> Path:
    """The folder of golden data; skips where it is absent."""
    if SHARED is None:
        pytest.skip("the shared golden data is absent")
    return SHARED
