"""The shape of what flows between layers."""

from __future__ import annotations

import numpy as np

from darknet_bn.layers.shape import Shape


def test_the_shape_of_an_array_is_that_of_an_image_in_it() -> None:
    assert Shape.of(np.empty((5, 3, 2, 4), np.float32)) == Shape(3, 2, 4)
    assert Shape.of(np.empty((5, 7))) == Shape(7, flat=True)
    for shape in (Shape(3, 2, 4), Shape(7), Shape(7, flat=True)):
        assert Shape.of(np.empty((2, *shape.dims))) == shape
