"""Files that are gone after the test need not be on the disk before it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_flush_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
