"""Pictures of shapes, drawn by chance, and a small detector that learns to find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import darknet_bn as dn

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


def draw_pictures(
    folder: Path, count: int = 8, seed: int = 5, noise: float = 0
) -> list[list[tuple[int, ...]]]:
    """Write pictures with one to three shapes, and their labels; return the shapes.

    What `load_dataset` reads is there too: a list, names, a ``.data`` file and the cfg.  With
    noise, of that deviation in levels from 0 to 255, the colours tell nothing of the shapes.
    """
    rng = np.random.default_rng(seed)
    pictures = []
    (folder / "pictures").mkdir()
    for number in range(count):
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
            colour = rng.integers(90, 200, 3) if noise else COLOURS[kind]
            im[shape_of(kind, *box)] = colour
        if noise:
            im = np.clip(im + rng.normal(0, noise, im.shape), 0, 255).astype(np.uint8)
        planes = im.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        dn.save_image(folder / f"pictures/{number}.png", planes)
        lines = [
            f"{k} {(x + w / 2) / SIDE:.6f} {(y + h / 2) / SIDE:.6f} {w / SIDE:.6f} {h / SIDE:.6f}"
            for k, x, y, w, h in shapes
        ]
        (folder / f"pictures/{number}.txt").write_text("\n".join(lines) + "\n")
        pictures.append(shapes)
    names = "\n".join(str(folder / f"pictures/{number}.png") for number in range(count))
    (folder / "list.txt").write_text(names + "\n")
    (folder / "shapes.names").write_text("\n".join(NAMES) + "\n")
    (folder / "shapes.data").write_text(
        f"classes=3\ntrain={folder}/list.txt\nvalid={folder}/list.txt\n"
        f"names={folder}/shapes.names\nbackup=.\n"
    )
    (folder / "shapes.cfg").write_text(CFG)
    return pictures
