"""Data sets of a few pictures, with labels in files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.pictures import PREPROCESS

NAMES = ("gradient_31x17", "rgba_10x15", "gray_21x12")


def box_set(folder: Path, boxes: Mapping[str, Sequence[Sequence[float]]]) -> Path:
    """Write pictures and their labels, rows of class, x, y, w, h; return the .data file."""
    for name in NAMES:
        shutil.copy(PREPROCESS / f"{name}.png", folder)
        rows = (" ".join(f"{value:.9g}" for value in row) for row in boxes.get(name, ()))
        (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    (folder / "valid.txt").write_text("".join(f"{name}.png\n" for name in NAMES))
    (folder / "set.names").write_text("cat\ndog\n")
    path = folder / "set.data"
    path.write_text("classes=2\ntrain=valid.txt\nvalid=valid.txt\nnames=set.names\n")
    return path


def class_set(folder: Path, classes: Sequence[str], kinds: Sequence[str]) -> Path:
    """Write pictures whose path says their class; return the .data file."""
    lines = []
    for name, kind in zip(NAMES, kinds, strict=True):
        (folder / kind).mkdir(exist_ok=True)
        shutil.copy(PREPROCESS / f"{name}.png", folder / kind)
        lines.append(f"{kind}/{name}.png\n")
    (folder / "valid.txt").write_text("".join(lines))
    (folder / "set.names").write_text("".join(f"{each}\n" for each in classes))
    path = folder / "set.data"
    path.write_text(f"classes={len(classes)}\nvalid=valid.txt\nlabels=set.names\ntop=2\n")
    return path
