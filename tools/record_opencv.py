"""Make the files in ``tests/fixtures/opencv``, and record what OpenCV 4 makes of them.

The programs in ``tests/opencv/programs`` run with OpenCV 4; their output is recorded, and must be
the same with OpenCV 5 and this package's patch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import click
import cv2
import numpy as np
from golden_selection import sha256
from make_fixtures import FIXTURES

import darknet_bn as dn

FOLDER = FIXTURES / "opencv"
PROGRAMS = FIXTURES.parent / "opencv" / "programs"
SEED = 9
_REPORT = "small inputs made after reports of real users; random weights"
_OURS = "written for this project"
_MADE = {"command": "tools/record_opencv.py", "seed": SEED}
_ROWS = {"yolo_96.npz": ("yolo_4", "yolo.cfg"), "region_64.npz": ("detection_out", "region.cfg")}


@click.command()
def main() -> None:
    """Make weights and pictures, and record what OpenCV 4 and its programs make of them."""
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise click.ClickException("OpenCV 4 is needed, which reads Darknet's files")
    _save_weights()
    cv2.imwrite(str(FOLDER / "scene.png"), _scene())
    cv2.imwrite(str(FOLDER / "digits.png"), _digits())
    _write_provenance()
    for name, arguments in json.loads(
        (PROGRAMS / "arguments.json").read_text(encoding="utf-8")
    ).items():
        printed = subprocess.run(
            [sys.executable, PROGRAMS / f"{name}.py", *arguments],
            cwd=FIXTURES,
            env={**os.environ, "OPENCV_LOG_LEVEL": "OFF"},
            capture_output=True,
            text=True,
            check=True,
        )
        (PROGRAMS / f"{name}.txt").write_text(printed.stdout, encoding="utf-8")
        click.echo(f"{name}: {printed.stdout.count(chr(10))} lines")


def _save_weights() -> None:
    """Draw weights that make boxes of sensible size, few of them probable."""
    cfg = FOLDER / "shapes.cfg"
    model = dn.load(cfg, None, dialect="opencv", seed=SEED)
    rng = np.random.default_rng(SEED)
    params = []
    for each in model.params:
        drawn = {name: np.array(array) for name, array in each.items()}
        if "rolling_mean" in drawn:
            drawn["rolling_mean"] = rng.normal(0, 0.3, len(drawn["rolling_mean"]))
            drawn["rolling_variance"] = rng.uniform(0.3, 1.5, len(drawn["rolling_variance"]))
            drawn["biases"] = rng.normal(0, 0.5, len(drawn["biases"]))
        elif "weights" in drawn:
            weights = drawn["weights"].reshape(3, 7, -1) * 6
            weights[:, :4] *= 0.1  # place and size
            drawn["weights"] = weights.reshape(drawn["weights"].shape)
            drawn["biases"] = rng.normal(0, 1, 21) + np.tile([0, 0, 0, 0, -2, 0, 0], 3)
        params.append({name: array.astype(np.float32) for name, array in drawn.items()})
    dn.save(replace(model, params=tuple(params)), None, FOLDER / "shapes.weights", force=True)


def _scene() -> np.ndarray:
    """Paint balls and rings on waves of colour, (90, 120, 3)."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0:90, 0:120]
    waves = [128 + 80 * np.sin(x / 17 + k) + 40 * np.cos(y / (9 + 3 * k)) for k in range(3)]
    picture = np.stack(waves, axis=-1)
    for number in range(12):
        centre, radius = (rng.integers(0, 90), rng.integers(0, 120)), rng.integers(4, 18)
        distance = np.hypot(y - centre[0], x - centre[1])
        painted = distance < radius if number % 2 else abs(distance - radius) < 3
        picture[painted] = rng.integers(0, 256, 3)
    return picture.clip(0, 255).astype(np.uint8)


def _digits() -> np.ndarray:
    """Set one digit of each kind side by side, (8, 80)."""
    with np.load(FIXTURES / "digits" / "test.npz") as data:
        x, y = data["x"], data["y"]
    first = [int(np.flatnonzero(y == kind)[0]) for kind in range(10)]
    return np.hstack([np.round(x[each, 0] * 255).astype(np.uint8) for each in first])


def _write_provenance() -> None:
    files = {}
    for path in sorted(FOLDER.iterdir()):
        if path.name == "provenance.json":
            continue
        made: dict[str, object] = {"source": _OURS}
        if path.name in _ROWS:
            made = {"source": _REPORT, **_row_facts(*_ROWS[path.name])}
        elif path.stem in ("yolo", "region", "region_plain"):
            made = {"source": _REPORT}
        elif path.suffix in (".weights", ".png"):
            made = dict(_MADE)
        files[path.name] = {**made, "sha256": sha256(path)}
    about = (
        "nets for programs that were written for OpenCV, pictures for them, and what OpenCV 4.14 "
        "computes: of x = np.random.default_rng(5).random((1, 3, side, side), np.float32), with "
        "the side in the name of the file"
    )
    text = json.dumps({"about": about, "files": files}, indent=1)
    (FOLDER / "provenance.json").write_text(text + "\n", encoding="utf-8")


def _row_facts(array: str, cfg: str) -> dict[str, object]:
    return {
        "program": "OpenCV 4.14",
        "dialect": "opencv",
        "cfg_sha256": sha256(FOLDER / cfg),
        "tolerance": {
            "of": "the largest absolute value of the array",
            "arrays": {array: 1e-5},
            "reason": {array: "float32 sums in another order; 2e-6 was seen"},
        },
    }


if __name__ == "__main__":
    main()
