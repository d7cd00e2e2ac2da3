"""``[sam]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.sam import Sam
from darknet_bn.layers.shape import Shape


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 2, 5, 1), (2, 9, 130, 140)])
def test_product_of_two_layers(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(1)
    x, other = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    np.testing.assert_array_equal(run(read("[sam]\nfrom=-2"), x, other), x * other)
    y = run(read("[sam]\nfrom=-2\nactivation=relu"), x, other)
    np.testing.assert_array_equal(y, np.maximum(x * other, 0))


def test_sources_and_refusal(read: Callable[..., Layer]) -> None:
    assert read("[sam]\nfrom=-2").sources(7) == (6, 5)
    with pytest.raises(ShapeError, match=r"from: .*expected 5 x 4 x 3, found 5 x 4 x 2"):
        Sam(from_=0).out_shape((Shape(3, 4, 5), Shape(2, 4, 5)))
