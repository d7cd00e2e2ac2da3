"""Anchors fitted to a data set: better than the old ones, in a cfg that fits together."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.anchors import box_sizes
from darknet_bn.data.array_sets import array_dataset
from tests.support.builders import cfg_text
from tests.support.labelled import box_set

CLUSTERS = ((6, 8), (10, 5), (16, 18), (24, 30), (40, 20), (55, 60))
OLD = "anchors=3,3,7,7,15,15,20,20,30,30,60,60"


def yolo(*masks: str, num: int = 6, classes: int = 2) -> bytes:
    """Heads on grids of 4, 8 and 16 cells, the coarsest first."""
    sections = ["[convolutional] filters=4 size=3 stride=16 pad=1"]
    for number, mask in enumerate(masks):
        filters = len(mask.split(",")) * (5 + classes)
        sections += ["[route] layers=0"] if number else []
        sections += [f"[upsample] stride={2**number}"] if number else []
        sections += [
            f"[convolutional] filters={filters} size=1 activation=linear",
            f"[yolo] mask={mask} {OLD} classes={classes} num={num} jitter=.3",
        ]
    return cfg_text(*sections, width=64, height=64)


def region(num: int = 3, classes: int = 2) -> bytes:
    return cfg_text(
        "[convolutional] filters=4 size=3 stride=16 pad=1",
        f"[convolutional] filters={num * (5 + classes)} size=1 activation=linear",
        f"[region] anchors=1,1,2,2,3,3 coords=4 classes={classes} num={num}",
        width=64,
        height=64,
    )


def planted(model: dn.Model, clusters: Sequence[Sequence[float]] = CLUSTERS) -> dn.Dataset:
    rng = np.random.default_rng(0)
    shape = model.network.input
    y = np.zeros((120, 2, 5))
    chosen = np.array(clusters, np.float64)[rng.integers(len(clusters), size=(120, 2))]
    y[..., :2] = 0.5
    y[..., 2:4] = chosen * rng.normal(1, 0.02, chosen.shape) / (shape.w, shape.h)
    return array_dataset(np.zeros((120, *shape.dims), np.uint8), y, model)


def model_of(cfg: bytes, dialect: str = "alexeyab") -> dn.Model:
    return dn.load(cfg, None, dialect=dialect)


def test_planted_clusters_become_the_anchors_sorted_by_area() -> None:
    model = model_of(yolo("3,4,5", "0,1,2"))
    found = dn.fit_anchors(model, planted(model))
    expected = sorted(CLUSTERS, key=lambda each: each[0] * each[1])
    # Each is the median of some 40 boxes with a spread of 2 %.
    np.testing.assert_allclose(found.anchors, expected, rtol=0.02)
    assert found.unit == "pixels"
    assert (found.boxes, found.kept) == (240, False)
    assert found.iou > 0.95 > found.old_iou
    assert [head.mask for head in found.heads] == [(3, 4, 5), (0, 1, 2)]
    assert [head.filters for head in found.heads] == [21, 21]
    assert sum(head.boxes for head in found.heads) == 240
    edited = dn.load(found.cfg.to_bytes(), None, dialect="alexeyab")
    sizes = [edited.network.heads[head.layer].anchor_sizes for head in found.heads]
    assert sizes == [found.anchors[3:], found.anchors[:3]]


def test_cells_for_region() -> None:
    model = model_of(region())
    found = dn.fit_anchors(model, planted(model, ((8, 16), (32, 16), (48, 60))))
    np.testing.assert_allclose(found.anchors, [(0.5, 1), (2, 1), (3, 3.75)], rtol=0.02)
    assert found.unit == "cells"
    assert found.old_anchors == ((1, 1), (2, 2), (3, 3))
    assert b"mask" not in found.cfg.to_bytes()


@pytest.mark.parametrize(
    ("cfg", "count", "masks", "filters"),
    [
        (yolo("3,4,5", "0,1,2"), 7, [(3, 4, 5, 6), (0, 1, 2)], [28, 21]),
        (yolo("3,4,5", "0,1,2"), 2, [(1,), (0,)], [7, 7]),
        (yolo("2,3,4,5", "0,1"), 6, [(2, 3, 4, 5), (0, 1)], [28, 14]),
        (yolo("4,5", "2,3", "0,1"), 8, [(5, 6, 7), (2, 3, 4), (0, 1)], [21, 21, 14]),
        (region(), 5, [(0, 1, 2, 3, 4)], [35]),
        (region(), 1, [(0,)], [7]),
    ],
)
def test_another_number_changes_masks_num_and_filters_together(
    cfg: bytes, count: int, masks: list[tuple[int, ...]], filters: list[int]
) -> None:
    model = model_of(cfg)
    found = dn.fit_anchors(model, planted(model), count=count)
    assert [head.mask for head in found.heads] == masks
    assert [head.filters for head in found.heads] == filters
    assert len(found.anchors) == count
    network = dn.build_network(found.cfg, "alexeyab")
    assert {head.value("num") for head in network.heads.values()} == {count}
    changed = {
        line.partition(b"=")[0].strip()
        for line in set(found.cfg.lines) ^ set(model.cfg.lines)
        if b"=" in line
    }
    assert changed <= {b"anchors", b"num", b"mask", b"filters"}
    assert len(found.cfg.sections) == len(model.cfg.sections)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cfg", [yolo("3,4,5", "0,1,2"), region()], ids=["yolo", "region"])
def test_the_new_anchors_are_never_worse(cfg: bytes, seed: int) -> None:
    model = model_of(cfg)
    data = planted(model, np.random.default_rng(seed).uniform(3, 60, (40, 2)).tolist())
    found = dn.fit_anchors(model, data, seed=seed)
    assert found.iou >= found.old_iou
    again = dn.fit_anchors(model_of(found.cfg.to_bytes()), data, seed=seed)
    assert again.old_iou == pytest.approx(found.iou, rel=1e-12)  # cells are converted twice
    assert again.iou >= found.iou - 1e-12


def test_anchors_that_cannot_be_better_are_kept() -> None:
    model = model_of(yolo("3,4,5", "0,1,2"))
    old = ((3, 3), (7, 7), (15, 15), (20, 20), (30, 30), (60, 60))
    y = np.zeros((6, 1, 5))
    y[:, 0, :2], y[:, 0, 2:4] = 0.5, np.array(old) / 64
    data = array_dataset(np.zeros((6, 3, 64, 64), np.uint8), y, model)
    found = dn.fit_anchors(model, data)
    assert (found.kept, found.iou) == (True, found.old_iou)
    assert found.iou == pytest.approx(1, abs=1e-6)  # labels are float32
    assert found.anchors == found.old_anchors == old
    assert found.cfg.to_bytes() == model.cfg.to_bytes()


@pytest.mark.parametrize(
    ("dialect", "net", "letterboxed"),
    [("pjreddie", b"", True), ("alexeyab", b"", False), ("alexeyab", b"letter_box=1\n", True)],
)
def test_boxes_are_measured_as_training_shows_them(
    tmp_path: Path, dialect: str, net: bytes, letterboxed: bool
) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    name = "gradient_31x17"
    path = box_set(tmp_path, {name: [[0, 0.5, 0.5, 0.5, 0.5], [1, 0.1, 0.5, 0.4, 0.2]]})
    cfg = yolo("3,4,5", "0,1,2").replace(b"[net]\n", b"[net]\n" + net)
    model = model_of(cfg, dialect)
    sizes = box_sizes(model, dn.load_dataset(path, model, train=True))
    # 17 of 31 rows become 35 of 64; the second box begins outside the picture.
    height = 17 * 64 // 31 if letterboxed else 64
    expected = [[32, height / 2], [0.3 * 64, height / 5]]
    np.testing.assert_allclose(sizes, expected, rtol=1e-6)


def test_what_has_no_anchors_or_no_boxes(tmp_path: Path) -> None:
    model = model_of(yolo("3,4,5", "0,1,2"))
    empty = array_dataset(np.zeros((2, 3, 64, 64), np.uint8), np.zeros((2, 1, 5)), model)
    with pytest.raises(dn.DarknetError, match="the data set has no boxes"):
        dn.fit_anchors(model, empty)
    data = planted(model)
    with pytest.raises(dn.DarknetError, match="the number of anchors does not fit the heads"):
        dn.fit_anchors(model, data, count=1)
    with pytest.raises(dn.DarknetError, match="fewer different boxes than anchors"):
        dn.fit_anchors(model, data, count=999)
    other = model_of(cfg_text("[convolutional] filters=2 size=1", "[softmax]"))
    with pytest.raises(dn.DarknetError, match="the cfg has no anchors"):
        dn.fit_anchors(other, data)


@pytest.mark.skipif(shutil.which("darknet") is None, reason="Debian's darknet is not installed")
@pytest.mark.parametrize("count", [2, 6, 7])
@pytest.mark.parametrize("cfg", [yolo("3,4,5", "0,1,2"), region()], ids=["yolo", "region"])
def test_darknet_s_own_program_reads_the_edited_cfg(tmp_path: Path, cfg: bytes, count: int) -> None:
    model = model_of(cfg, "pjreddie")
    found = dn.fit_anchors(model, planted(model), count=count)
    path = tmp_path / "new.cfg"
    path.write_bytes(found.cfg.to_bytes())
    done = subprocess.run(["darknet", "ops", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Floating Point Operations" in done.stdout
    path.write_bytes(found.cfg.to_bytes().replace(b"num=%d" % count, b"num=%d" % (count + 1)))
    # It would have seen a number that does not fit; heads with a mask do not use this one.
    done = subprocess.run(["darknet", "ops", str(path)], capture_output=True, text=True)
    assert (done.returncode == 0) == (b"mask" in cfg)
