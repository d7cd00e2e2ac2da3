"""Headers that some Darknet may have written, and those that none has."""

from __future__ import annotations

import struct

import pytest

from darknet_bn.model.weights import Header


@pytest.mark.parametrize(
    ("rates", "plausible"),
    [
        ((0.001, 0.9, 0.0005), True),
        ((1.0, 1.0, 1.0), True),
        ((0.001, 0.9, 0.0), True),
        ((0.001, 0.0, 0.0), True),
        ((0.0, 0.9, 0.0005), False),  # nothing is learned at this rate
        ((-0.001, 0.9, 0.0005), False),
        ((0.001, -0.5, 0.0005), False),
        ((0.001, 0.9, -0.5), False),
        ((1.5, 0.9, 0.0005), False),
        ((0.001, 1.5, 0.0005), False),
        ((0.001, 0.9, float("nan")), False),
    ],
)
def test_rates_of_training(rates: tuple[float, float, float], plausible: bool) -> None:
    header = Header(*struct.unpack("<3i", struct.pack("<3f", *rates)), seen=1, seen_bytes=4)
    assert header.legacy
    assert header.plausible == plausible


@pytest.mark.parametrize(
    ("version", "plausible"),
    [((0, 0, 0), True), ((0, 2, 5), True), ((1000, 1000, 0), True), ((0, 2, -1), False),
     ((-1, 2, 0), False), ((0, -1, 0), False)],
)  # fmt: skip
def test_versions(version: tuple[int, int, int], plausible: bool) -> None:
    header = Header(*version)
    assert not header.legacy
    assert header.plausible == plausible
