"""``[local]`` against plain sums in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.local import Local
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model


def expected_of(model: dn.Model, x: np.ndarray) -> np.ndarray:
    layer, y = model.network.nodes[0].layer, model.network.nodes[0].y
    weights, biases = (model.params[0][name].astype(np.float64) for name in ("weights", "biases"))
    k, stride, pad = layer.size, layer.stride, int(layer.pad)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    sums = np.empty((len(x), *y.dims))
    for i in range(y.h):
        for j in range(y.w):
            window = padded[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            sums[:, :, i, j] = np.einsum("fckl,nckl->nf", weights[i * y.w + j], window)
    return sums + biases


SECTIONS = [
    "filters=4 size=3 pad=1",
    "filters=2 size=3 pad=1 stride=2",
    "filters=3 size=3 stride=3 pad=0",
    "filters=5 size=1",
    "filters=1 size=4 stride=2",
    "filters=2 size=2 stride=5",
]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_pixel_has_filters_of_its_own(section: str, batch: int, exact: bool) -> None:
    cfg = cfg_text(f"[local] {section} activation=linear", width=9, height=7)
    model = random_model(cfg, "pjreddie")
    x = random_input(model, batch)
    (y,) = dn.forward(model, x, exact=exact).values()
    expected = expected_of(model, x)
    assert y.shape == expected.shape
    # sums of up to 27 products in float32
    assert np.abs(y - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("batch", [1, 40])
def test_an_image_whose_rows_and_batch_are_cut_into_tiles(batch: int) -> None:
    # 40 images of 20 windows with 576 weights are more than a tile holds.
    cfg = cfg_text(
        "[local] filters=3 size=3 pad=1 activation=relu", width=20, height=9, channels=64
    )
    model = random_model(cfg)
    x = random_input(model, batch)
    (y,) = dn.forward(model, x).values()
    expected = np.maximum(expected_of(model, x), 0)
    # sums of 576 products in float32
    assert np.abs(y - expected).max() <= 3e-6 * np.abs(expected).max()


def test_it_writes_nothing_but_its_output(run: Callable[..., np.ndarray]) -> None:
    x = np.random.default_rng(3).standard_normal((3, 2, 5, 4), dtype=np.float32)
    layer = Local(filters=2, size=2, activation="linear")
    params = {
        "biases": np.zeros((2, 4, 3), np.float32),
        "weights": np.ones((12, 2, 2, 2, 2), np.float32),
    }
    sums = x[:, :, :-1] + x[:, :, 1:]
    expected = (sums[..., :-1] + sums[..., 1:]).sum(1, keepdims=True)
    y = run(layer, x, params=params)
    np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=1e-5, atol=1e-5)


def test_what_the_file_holds_and_first_values() -> None:
    network = network_of(cfg_text("[local] filters=4 size=3 pad=1 stride=2", width=9, height=7))
    assert [(param.name, param.shape) for param in network.nodes[0].params] == [
        ("biases", (4, 4, 5)),
        ("weights", (20, 4, 3, 3, 3)),
    ]
    weights = dn.load(cfg_text("[local] filters=4 size=3"), None).params[0]["weights"]
    bound = math.sqrt(2 / 27)
    assert 0.9 * bound < np.abs(weights).max() <= bound
    assert all(each.any() for each in weights)  # those of every pixel


def test_cost_and_text() -> None:
    layer = Local(filters=4, size=3, pad=True, stride=2)
    assert layer.cost((Shape(3, 7, 9),)) == Cost(2 * 4 * 20 * 27)
    assert layer.size_text() == "3 x 3 / 2"
    assert layer.norm.batch_norm is None


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(
        ShapeError, match=r"pad: Darknet has a bug here.*expected size=3, or pad=0, fo"
    ):
        read("[local]\nsize=5\npad=1").out_shape((Shape(3, 8, 8),))
    with pytest.raises(ShapeError, match=r"filters of size 9 do not fit .*at least 9 x 9"):
        Local(size=9).out_shape((Shape(3, 8, 8),))
    with pytest.raises(ShapeError, match="no image shape"):
        Local().out_shape((Shape(64, flat=True),))


def test_sizes_are_checked_before_memory_is_taken() -> None:
    with pytest.raises(ShapeError, match="there is not enough memory for the parameters"):
        dn.load(cfg_text("[local] filters=100000 size=3 pad=1", width=2000, height=2000), None)
