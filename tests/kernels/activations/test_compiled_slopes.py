"""Compiled functions and slopes give the same bits as those in numpy, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels import choice
from darknet_bn.kernels.activations import activate_training

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-38, -1e-38, 1e-40, -1e-40, 3e38, -3e38]


@pytest.mark.parametrize("name", ["leaky", "relie", "relu"])
def test_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 5, 77), np.float32)
    x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    delta = rng.standard_normal(x.shape, np.float32)
    delta[2].reshape(-1)[: len(SPECIAL)] = SPECIAL
    found = set()
    for kernels in ("numpy", "compiled"):
        monkeypatch.setenv(choice.VARIABLE, kernels)
        choice.compiled_wanted.cache_clear()
        y, back = activate_training(x.copy(), name, dn.ALEXEYAB)
        found.add((y.tobytes(), back(delta.copy()).tobytes()))
    choice.compiled_wanted.cache_clear()
    assert len(found) == 1
