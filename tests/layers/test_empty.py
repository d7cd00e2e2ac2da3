"""``[empty]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape


@pytest.mark.parametrize("name", ["empty", "silence"])
def test_nothing_happens(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], name: str
) -> None:
    layer = read(f"[{name}]")
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5), dtype=np.float32)
    assert layer.extended
    assert layer.is_alias((Shape(3, 4, 5),))
    np.testing.assert_array_equal(run(layer, x), x)
