"""Folded pairs in the hands of other programs: Debian's Darknet, and OpenCV's reader."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn

OPENCV = replace(dn.PJREDDIE, name="opencv", eps=1e-6, eps_inside_sqrt=True)  # its own sigma
MODELS = {
    "yolov3-tiny/yolov3-tiny": ("coco.names", "dog"),
    "yolo-fastest/yolo-fastest": ("coco.names", "dog"),
    "yolo-fastest/yolo-fastest-1.1": ("coco.names", "dog"),
    "yoloface-50k/yoloface-50k": ("label.names", "person"),
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc": ("voc.names", "dog"),
}

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


def folded_pair(
    shared: Path, name: str, dialect: str | dn.Dialect, folder: Path
) -> tuple[Path, Path]:
    """Fold one of the shared models with a dialect's sigma."""
    stem = shared / "models" / name
    model = dn.load(f"{stem}.cfg", f"{stem}.weights", dialect=dialect)
    cfg, weights = folder / "folded.cfg", folder / "folded.weights"
    folded = dn.fold_batchnorm(model)
    assert all(row.into == row.layer for row in dn.fold_report(model))
    dn.save(folded, cfg, weights)
    return cfg, weights


def detector_test(names: Path, cfg: Path, weights: Path, picture: Path, folder: Path) -> list[str]:
    """Return the lines with class and per cent that `darknet detector test` prints."""
    classes = len(names.read_text().split("\n")) - 1
    data = folder / "test.data"
    data.write_text(f"classes={classes}\nnames={names}\n")
    command = ["darknet", "detector", "test", str(data), str(cfg), str(weights), str(picture)]
    result = subprocess.run(
        [*command, "-thresh", "0.25", "-out", str(folder / "boxes")],
        cwd=folder,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [line for line in result.stdout.splitlines() if re.fullmatch(r".*: \d+%", line)]


@pytest.mark.skipif(shutil.which("darknet") is None, reason="Debian's darknet is not installed")
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MODELS)
def test_darknet_detects_the_same_with_the_folded_pair(
    shared: Path, tmp_path: Path, name: str
) -> None:
    # Its CPU code runs batch norm with the sigma of the dialect pjreddie.
    cfg, weights = folded_pair(shared, name, "pjreddie", tmp_path)
    names, picture = MODELS[name]
    stem = shared / "models" / name
    others = (stem.with_name(names), shared / "images" / f"{picture}.jpg")

    before = detector_test(
        others[0], Path(f"{stem}.cfg"), Path(f"{stem}.weights"), others[1], tmp_path
    )
    after = detector_test(others[0], cfg, weights, others[1], tmp_path)

    assert before
    assert after == before


@pytest.mark.parametrize("name", MODELS)
def test_opencv_computes_the_same_with_the_folded_pair(
    shared: Path, tmp_path: Path, name: str
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    cfg, weights = folded_pair(shared, name, OPENCV, tmp_path)
    stem = shared / "models" / name
    x = np.random.default_rng(0).random((1, *dn.load(cfg, None).network.input.dims), np.float32)

    def outputs(cfg: str, weights: str) -> list[np.ndarray]:
        net = cv2.dnn.readNetFromDarknet(cfg, weights)
        net.setInput(x)
        return list(net.forward(net.getUnconnectedOutLayersNames()))

    before, after = outputs(f"{stem}.cfg", f"{stem}.weights"), outputs(str(cfg), str(weights))

    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        # Boxes and scores from 0 to 1; the sums of float32 that OpenCV orders otherwise in its
        # own fold differ by up to 1e-5 if a variance is near 0.
        np.testing.assert_allclose(new, old, atol=1e-4)
