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

SIDE, NAMES = 64, ("disc", "square", "triangle")
COLOURS = ((220, 40, 40), (40, 200, 60), (60, 90, 230))
_CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
)
CFG = f"""[net]
batch=8
width={SIDE}
height={SIDE}
channels=3
learning_rate=0.01
momentum=0.9
decay=0.0005
burn_in=30
policy=steps
steps=250,320
scales=.1,.1
max_batches=350

{_CONV.format(12, 2)}
{_CONV.format(24, 2)}
{_CONV.format(32, 2)}
{_CONV.format(32, 1)}
[convolutional]
filters=8
size=1
stride=1
activation=linear

[yolo]
mask=0
anchors=20,20
classes=3
num=1
jitter=0
"""


def shape_of(kind: int, x: int, y: int, w: int, h: int) -> np.ndarray:
    """Which pixels a shape covers."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    across, down = (columns - x) / w, (rows - y) / h
    if kind == 0:
        return (across - 0.5) ** 2 + (down - 0.5) ** 2 <= 0.25
    within = (down >= 0) & (down < 1)
    if kind == 1:
        return within & (across >= 0) & (across < 1)
    return within & (np.abs(across - 0.5) <= down / 2)


def draw_pictures(folder: Path) -> list[list[tuple[int, ...]]]:
    """Write eight pictures with one to three shapes, and their labels; return the shapes."""
    rng = np.random.default_rng(5)
    pictures = []
    (folder / "pictures").mkdir()
    for number in range(8):
        im = np.full((SIDE, SIDE, 3), 60, np.uint8)
        shapes: list[tuple[int, ...]] = []
        while len(shapes) < 1 + number % 3:
            w, h = rng.integers(14, 26, 2)
            x, y = rng.integers(1, SIDE - 1 - w), rng.integers(1, SIDE - 1 - h)
            if all(
                x + w < x0 or x0 + w0 < x or y + h < y0 or y0 + h0 < y
                for _, x0, y0, w0, h0 in shapes
            ):
                shapes.append((int(rng.integers(3)), int(x), int(y), int(w), int(h)))
        for kind, *box in shapes:
            im[shape_of(kind, *box)] = COLOURS[kind]
        planes = im.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        dn.save_image(folder / f"pictures/{number}.png", planes)
        lines = [
            f"{k} {(x + w / 2) / SIDE:.6f} {(y + h / 2) / SIDE:.6f} {w / SIDE:.6f} {h / SIDE:.6f}"
            for k, x, y, w, h in shapes
        ]
        (folder / f"pictures/{number}.txt").write_text("\n".join(lines) + "\n")
        pictures.append(shapes)
    names = "\n".join(f"pictures/{number}.png" for number in range(8))
    (folder / "list.txt").write_text(names + "\n")
    (folder / "shapes.names").write_text("\n".join(NAMES) + "\n")
    (folder / "shapes.data").write_text(
        "classes=3\ntrain=list.txt\nvalid=list.txt\nnames=shapes.names\nbackup=.\n"
    )
    (folder / "shapes.cfg").write_text(CFG)
    return pictures


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
        timeout=60,
        env={"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    return [line for line in done.stdout.splitlines() if line.partition(":")[0] in NAMES]
