"""Weights whose floats are 1, 2, 3, …, so that every value says where in the file it was."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

import darknet_bn as dn
from darknet_bn.model.weights import Header
from tests.support.builders import network_of


def numbered(cfg: bytes, header: Header | None = None, dialect: str = "alexeyab") -> bytes:
    """A file whose floats are 1, 2, 3, …: every value says where it was."""
    count = network_of(cfg, dialect).stored_floats
    return (header or Header()).to_bytes() + np.arange(1, count + 1, dtype="<f4").tobytes()


def load(
    cfg: bytes, weights: bytes, *, dialect: str = "alexeyab", partial: bool = False
) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return dn.load(cfg, weights, dialect=dialect, partial=partial)


def saved(model: dn.Model, folder: Path) -> tuple[bytes, bytes]:
    dn.save(model, folder / "out.cfg", folder / "out.weights", force=True)
    return (folder / "out.cfg").read_bytes(), (folder / "out.weights").read_bytes()
