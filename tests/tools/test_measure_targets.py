"""tools/measure_targets.py pairs boxes, and times what takes longer as longer."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions.records import ClassScore
from tests.support.paths import TOOLS


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("measure_targets")
    finally:
        sys.path.remove(str(TOOLS))


def box(x: float, width: float = 0.2, kind: int = 0) -> dn.Detection:
    return dn.Detection((ClassScore(kind, "", 0.5),), 0.9, (x, 0.5, width, 0.4), (100, 100))


def test_boxes_of_one_class_are_paired_with_the_nearest(tool: ModuleType) -> None:
    ours = [box(0.30), box(0.35), box(0.80), box(0.60, kind=1)]
    theirs = [box(0.36), box(0.31), box(0.60), box(0.10)]
    pairs = tool.paired(ours, theirs)
    assert [(a.box[0], b.box[0]) for a, b in pairs] == [(0.30, 0.31), (0.35, 0.36)]


def test_one_box_is_one_pair(tool: ModuleType) -> None:
    assert len(tool.paired([box(0.5), box(0.51)], [box(0.5)])) == 1


@pytest.mark.parametrize(
    ("other", "share"), [(box(0.5), 0), (box(0.52), 0.1), (box(0.5, 0.25), 0.25)]
)
def test_moves_are_shares_of_the_side(tool: ModuleType, other: dn.Detection, share: float) -> None:
    assert tool.moved(box(0.5), other) == pytest.approx(share)


def test_parts_have_the_proportions_of_the_picture(tool: ModuleType) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((3, 60, 90), np.float32)
    for _ in range(20):
        _, h, w = tool.part_of(image, rng).shape
        assert 20 <= h <= 60
        assert abs(w - 1.5 * h) < 1.5


def test_what_takes_longer_is_longer(tool: ModuleType) -> None:
    long = np.ones(1_000_000)
    short, longer = tool.timed([lambda: None, lambda: np.sin(long).sum()], 3)
    assert 0 < short < longer
