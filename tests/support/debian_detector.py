"""What Debian's darknet prints for a detector and a picture."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DARKNET = shutil.which("darknet")


def lines_of_darknet(
    folder: Path, stem: Path, picture: Path, classes: int = 2, thresh: float = 0.5
) -> list[str]:
    """Return its lines, one for each object; skips if the program is not installed."""
    if DARKNET is None:
        pytest.skip("Debian's darknet is not installed")
    names = folder / "their.names"
    names.write_text("".join(f"class {number}\n" for number in range(classes)))
    (folder / "their.data").write_text(f"classes={classes}\nnames={names}\n")
    command = [DARKNET, "detector", "test", "their.data", f"{stem}.cfg", f"{stem}.weights"]
    command += [str(picture), "-thresh", f"{thresh}", "-out", "drawn"]  # else it waits for a key
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    heading, *lines = result.stdout.splitlines()
    assert "Predicted in" in heading
    return lines
