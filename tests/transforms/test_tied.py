"""Where windows leave an image: only there does another value outside it change an output."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.transforms.tied import padded_border
from tests.support.builders import cfg_text, random_model

OPTIONS = [
    *(
        f"size={size} padding={padding} stride={stride} dilation={dilation}"
        for size, padding, stride, dilation in itertools.product(
            (1, 2, 3, 5), (0, 1, 3), (1, 2, 3), (1, 2, 3)
        )
        if size > 1 or (padding, stride, dilation) == (0, 1, 1)
    ),
    "size=3 pad=1 stride=2",
    "size=3 pad=1 stride_x=2 stride_y=1 stride=1",
    "size=3 pad=1 stride=2 antialiasing=1",
    "size=3 pad=1 stride=2 antialiasing=2",
]


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_border_is_what_a_shift_makes_differ(options: str, size: int) -> None:
    cfg = cfg_text(f"[convolutional] filters=2 {options} activation=linear", width=size, height=7)
    model = random_model(cfg)
    x = np.zeros((1, 3, 7, size), np.float32)
    # Ones in place of zeros, but not outside: a pixel that reads only ones gets the sum of all.
    (y,) = dn.forward(model, x + 1, exact=True).values()
    weights = model.params[0]["weights"].astype(np.float64)
    whole = weights.sum(axis=(1, 2, 3)) + model.params[0]["biases"]
    differs = (np.abs(y[0] - whole[:, None, None]) > 1e-4).any(axis=0)
    down, across = padded_border(model.network.nodes[0])
    h, w = differs.shape
    assert not differs[down : max(down, h - down), across : max(across, w - across)].any()
    if "antialiasing" in options:
        return  # Darknet's blur leaves the edges of some sizes alone
    for edge, lines in ((min(down, h), differs), (min(across, w), differs.T)):
        assert edge == 0 or lines[edge - 1].all() or lines[-edge].all()
