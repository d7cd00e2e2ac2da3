"""Nets of ncnn for tests that run them themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from darknet_bn.convert.ncnn.net import NcnnNet
from darknet_bn.engines.ncnn import open_files, run_files


def write_net(net: NcnnNet, folder: Path) -> tuple[Path, Path]:
    """Write both files of a net."""
    param, weights = folder / "net.param", folder / "net.bin"
    with param.open("wb") as stream:
        net.write_param(stream)
    with weights.open("wb") as stream:
        net.write_bin(stream)
    return param, weights


def run_net(
    net: NcnnNet, given: Mapping[str, np.ndarray], wanted: Iterable[str]
) -> dict[str, np.ndarray]:
    """Run a net on one image."""
    with tempfile.TemporaryDirectory() as folder:
        opened = open_files(*write_net(net, Path(folder)))
        return run_files(opened, given, wanted, forget=False)
