"""Inference compiled gives the bits of inference in numpy: `exact=True` stays what it is."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import Dialect
from darknet_bn.kernels import choice, forward_batchnorm_layer

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38]


@pytest.mark.parametrize("dialect", [dn.PJREDDIE, dn.ALEXEYAB], ids=lambda each: each.name)
@pytest.mark.parametrize("shape", [(1, 5, 300), (3, 64, 52, 52), (2, 3, 4, 3), (2, 6)])
def test_the_same_bits(
    shape: tuple[int, ...], dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    names = ("scales", "biases", "rolling_mean", "rolling_variance")
    p = {name: np.abs(rng.standard_normal(shape[1], np.float32)) for name in names}
    p["rolling_variance"][:2] = 0, 1e-42
    found = set()
    for kernels in ("numpy", "compiled"):
        monkeypatch.setenv(choice.VARIABLE, kernels)
        choice.compiled_wanted.cache_clear()
        done = forward_batchnorm_layer(x, p, train=False, dialect=dialect)
        in_place = x.copy()
        forward_batchnorm_layer(in_place, p, train=False, dialect=dialect, out=in_place)
        found |= {done.y.tobytes(), in_place.tobytes()}
    choice.compiled_wanted.cache_clear()
    assert len(found) == 1
