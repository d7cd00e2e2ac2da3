"""Debian's Darknet in training, for tests that compare with the real program."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.weights import write_weights
from tests.support.paths import TOOLS


def compile_driver(folder: Path) -> Path:
    """The program that trains; skips if Darknet or a compiler is absent."""
    sys.path.insert(0, str(TOOLS))
    try:
        tool = importlib.import_module("make_fixtures")
    finally:
        sys.path.remove(str(TOOLS))
    try:
        program: Path = tool.compile_driver(folder, tool.DEBIAN, "cc")
    except tool.Refusal as refusal:
        pytest.skip(f"Debian's darknet or a C compiler is absent: {refusal}")
    return program


def program_step(
    driver: Path, folder: Path, model: dn.Model, x: np.ndarray, truth: np.ndarray, seen: int = 0
) -> tuple[float, list[np.ndarray]]:
    """Cost, and for each layer the output, and its delta before and after the backward pass."""
    cfg, weights, out = folder / "net.cfg", folder / "net.weights", folder / "out"
    cfg.write_bytes(model.cfg.to_bytes())
    with weights.open("wb") as stream:
        write_weights(stream, model.header, model.network, model.params)
    x.tofile(folder / "x")
    truth.tofile(folder / "truth")
    command = [driver, "train", cfg, weights, folder / "x", folder / "truth", str(seen), out]
    subprocess.run(command, capture_output=True, check=True)
    data, at, layers = out.read_bytes(), 4, []
    while at < len(data):
        count = int(np.frombuffer(data, np.int32, 1, at)[0])
        layers.append(np.frombuffer(data, np.float32, 3 * count, at + 4).reshape(3, count))
        at += 4 + 12 * count
    return float(np.frombuffer(data, np.float32, 1)[0]), layers
