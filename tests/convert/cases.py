"""Models to convert: every pair of files in the fixtures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

import darknet_bn as dn
from tests.support.paths import FIXTURES

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")
NAMES = ("darknet", "ultralytics", "eriklindernoren", "tianxiaomo")
PAIRS = sorted(
    path
    for path in FIXTURES.rglob("*.weights")
    if path.with_suffix(".cfg").exists() and path.parent.name not in ("malformed", "no-header")
)

# Every array of a convolution, with batch norm and without; and a layer that no port has.
CFG = b"""[net]
width=6
height=6
channels=2
[convolutional]
batch_normalize=1
filters=4
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=3
size=1
activation=linear
[connected]
output=5
activation=linear
"""
FLOATS = 4 * 4 + 4 * 2 * 9 + 3 + 3 * 4 + 5 + 5 * 27


def load(pair: Path) -> dn.Model:
    """Read a pair of files, some of which are of one dialect only; warnings are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        try:
            return dn.load(pair.with_suffix(".cfg"), pair)
        except dn.DarknetError:
            return dn.load(pair.with_suffix(".cfg"), pair, dialect="pjreddie")


def load_arrays(path: Path, *args: object, **options: object) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return dn.load_arrays(path, *args, **options)  # type: ignore[arg-type]


def any_bits(seed: int = 0) -> bytes:
    """Weights of ``CFG`` of any bits at all: infinities, subnormals and NaN of every kind."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, FLOATS, np.uint32)
    bits[::3] |= 0x7F800000  # the exponent of what is not finite
    bits[1::3] &= 0x807FFFFF  # the exponent of subnormals and zeros
    return dn.Header(revision=5, seen=12345678901).to_bytes() + bits.astype("<u4").tobytes()


def small_model(seed: int = 0) -> dn.Model:
    """A model of ``CFG`` with values like a trained model's."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.1, 1, FLOATS).astype("<f4").tobytes()
    return dn.load(CFG, dn.Header(revision=5).to_bytes() + values)


def weights_of(model: dn.Model, folder: Path) -> bytes:
    """The bytes of the ``.weights`` file of a model."""
    dn.save(model, None, folder / "again.weights", force=True)
    return (folder / "again.weights").read_bytes()


def same_bits(one: dn.Model, other: dn.Model) -> bool:
    return all(
        before.keys() == after.keys()
        and all(before[name].tobytes() == after[name].tobytes() for name in before)
        for before, after in zip(one.params, other.params, strict=True)
    )
