"""A tiny detector learns eight pictures by heart, and Darknet sees what it sees."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.program import TOOLS, compile_driver
from tests.support.shapes import NAMES, draw_pictures


@pytest.mark.exhaustive
def test_eight_pictures_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    monkeypatch.chdir(tmp_path)
    pictures = draw_pictures(tmp_path)
    model = dn.load("shapes.cfg", None, dialect="pjreddie")
    examples = dn.load_dataset("shapes.data", model, train=True)
    for progress in dn.train(dn.train_state(model), examples):
        state = progress.state
    dn.save_checkpoint(state, "shapes.weights")
    trained = dn.load("shapes.cfg", "shapes.weights")
    report = dn.evaluate(trained, dn.load_dataset("shapes.data", trained, train=False))
    assert report.mean == 1.0
    seen = []
    for number, shapes in enumerate(pictures):
        im = dn.load_image(f"pictures/{number}.png")
        x = dn.prepare(im, trained)
        (found,) = dn.detections(trained, x, image_sizes=im.shape[1:], names=NAMES)
        seen.append(x)
        assert sorted(each.label for each in found) == sorted(NAMES[kind] for kind, *_ in shapes)
        if shutil.which("darknet"):
            assert sorted(darknet_lines(number)) == sorted(
                f"{each.label}: {each.probability:.0%}" for each in found
            )
    same_boxes(trained, np.concatenate(seen), tmp_path)


def same_boxes(trained: dn.Model, x: np.ndarray, folder: Path) -> None:
    """The real program's head gives the same values, so the same boxes, for all pictures."""
    driver = compile_driver(folder)  # skips if Darknet or a compiler is absent
    sys.path.insert(0, str(TOOLS))
    try:
        tool = importlib.import_module("make_fixtures")
    finally:
        sys.path.remove(str(TOOLS))
    weights = folder / "shapes.weights"
    theirs = tool.run_network(driver, folder / "shapes.cfg", weights, x, folder)[-1]
    (ours,) = dn.forward(trained, x).values()
    # Five convolutions, each with sums in another order; the largest value is about 10.
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


def darknet_lines(number: int) -> list[str]:
    """What Debian's program prints of a picture."""
    command = ["darknet", "detector", "test", "shapes.data", "shapes.cfg", "shapes.weights"]
    picture = f"pictures/{number}.png"
    done = subprocess.run(
        [*command, picture, "-thresh", "0.5", "-out", "seen"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    return [line for line in done.stdout.splitlines() if line.partition(":")[0] in NAMES]
