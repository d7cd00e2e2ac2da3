"""``[deconvolutional]`` against plain sums in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.errors import FoldError, ShapeError
from darknet_bn.layers.deconvolutional import Deconvolutional
from darknet_bn.layers.layer import Cost
from darknet_bn.layers.parameters import Affine
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.per_class import per_class
from tests.support.builders import cfg_text, network_of, random_input, random_model


def sums_of(model: dn.Model, x: np.ndarray) -> np.ndarray:
    """Every pixel spread over its window, the padding then cut off."""
    layer, y = model.network.nodes[0].layer, model.network.nodes[0].y
    weights = model.params[0]["weights"].astype(np.float64)
    k, s = layer.size, layer.stride
    pad = k // 2 if layer.pad else layer.padding
    h, w = x.shape[2:]
    whole = np.zeros((len(x), y.c, (h - 1) * s + k, (w - 1) * s + k))
    for i in range(h):
        for j in range(w):
            spread = np.einsum("nc,cfkl->nfkl", x[:, :, i, j].astype(np.float64), weights)
            whole[:, :, i * s : i * s + k, j * s : j * s + k] += spread
    return whole[:, :, pad : pad + y.h, pad : pad + y.w]


def expected_of(model: dn.Model, x: np.ndarray) -> np.ndarray:
    p = {name: array.astype(np.float64)[:, None, None] for name, array in model.params[0].items()}
    z = sums_of(model, x)
    if "scales" not in p:
        return z + p["biases"]
    sigma = model.dialect.sigma(p["rolling_variance"])
    return (z - p["rolling_mean"]) / sigma * p["scales"] + p["biases"]


SECTIONS = [
    "filters=3 size=4 stride=2 padding=1",
    "filters=2 size=3 stride=2 pad=1",
    "filters=1 size=3 stride=1 pad=1",
    "filters=5 size=2 stride=2",
    "filters=2 size=1 stride=1",
    "filters=2 size=2 stride=5 padding=3",
    "filters=9 size=5 stride=3 padding=2",
    "filters=2 size=7 stride=2 padding=6",
]
both_ways = pytest.mark.parametrize("exact", [True, False])


@both_ways
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_pixel_is_spread_over_a_window(
    section: str, batch: int, norm: str, exact: bool
) -> None:
    cfg = cfg_text(f"[deconv] {section} {norm} activation=linear", width=6, height=5)
    for dialect in ("pjreddie", "pjreddie-gpu"):
        model = random_model(cfg, dialect)
        x = random_input(model, batch)
        (y,) = dn.forward(model, x, exact=exact).values()
        expected = expected_of(model, x)
        assert y.shape == expected.shape
        # sums of some 30 products in float32, and the roundings of batch norm
        assert np.abs(y - expected).max() <= 2e-6 * np.abs(expected).max()


@both_ways
@pytest.mark.parametrize("batch", [1, 3])
def test_an_image_that_is_cut_into_tiles(batch: int, exact: bool) -> None:
    # 8 filters at once of 25 taps and 60 columns: 21 of the 50 rows are what a tile holds.
    section = "filters=11 size=5 stride=2 padding=1 batch_normalize=1 activation=leaky"
    model = random_model(cfg_text(f"[deconv] {section}", width=60, height=50), "pjreddie")
    x = random_input(model, batch)
    (y,) = dn.forward(model, x, exact=exact).values()
    expected = expected_of(model, x)
    expected = np.maximum(expected, 0.1 * expected)
    assert np.abs(y - expected).max() <= 2e-6 * np.abs(expected).max()  # as above


def test_it_writes_nothing_but_its_output(run: Callable[..., np.ndarray]) -> None:
    x = np.random.default_rng(3).standard_normal((3, 1, 2, 3), dtype=np.float32)
    layer = Deconvolutional(filters=1, size=1, stride=2, activation="linear")
    params = {"biases": np.ones(1, np.float32), "weights": np.full((1, 1, 1, 1), 2, np.float32)}
    y = run(layer, x, params=params)
    assert y.shape == (3, 1, 3, 5)
    np.testing.assert_array_equal(y[:, :, ::2, ::2], 2 * x + 1)
    assert (y[:, :, 1::2] == 1).all()  # no tap reaches them
    assert (y[:, :, :, 1::2] == 1).all()


class TestFold:
    CFG = cfg_text(
        "[deconvolutional] filters=4 size=4 stride=2 padding=1 batch_normalize=1 activation=leaky",
        "[convolutional] filters=2 size=3 pad=1 batch_normalize=1 activation=linear",
    )

    @pytest.mark.parametrize("dialect", ["pjreddie", "pjreddie-gpu"])
    def test_it_computes_the_same_without_batch_norm(self, dialect: str) -> None:
        model = random_model(self.CFG, dialect)
        folded = dn.fold_batchnorm(model)
        assert b"batch_normalize=1" not in folded.cfg.to_bytes()
        assert set(folded.params[0]) == {"biases", "weights"}
        assert folded.params[0]["weights"].shape == (3, 4, 4, 4)
        x = random_input(model)
        before, after = (dn.forward(each, x, "all", exact=True) for each in (model, folded))
        for layer, y in before.items():
            # one more rounding of every weight
            assert np.abs(y - after[layer]).max() <= 2e-6 * np.abs(y).max()

    def test_the_factor_belongs_to_the_second_axis(self) -> None:
        model = random_model(self.CFG, "pjreddie")
        p = {name: array.astype(np.float64) for name, array in model.params[0].items()}
        factor = p["scales"] / model.dialect.sigma(p["rolling_variance"])
        folded = dn.fold_batchnorm(model).params[0]
        np.testing.assert_array_equal(
            folded["weights"], (p["weights"] * factor[:, None, None]).astype(np.float32)
        )
        np.testing.assert_array_equal(
            folded["biases"], (p["biases"] - p["rolling_mean"] * factor).astype(np.float32)
        )

    def test_batch_norm_behind_it_goes_into_it_too(self) -> None:
        cfg = cfg_text(
            "[deconvolutional] filters=4 size=2 stride=2 activation=linear", "[batchnorm]"
        )
        model = random_model(cfg, "pjreddie")
        folded = dn.fold_batchnorm(model)
        assert len(folded.network.nodes) == 1
        x = random_input(model)
        (before,), (after,) = (dn.forward(each, x).values() for each in (model, folded))
        assert np.abs(before - after).max() <= 2e-6 * np.abs(before).max()  # as above

    def test_absorbing_of_what_comes_out_of_the_weights_or_of_the_whole(self) -> None:
        p = {"biases": np.float32([1, 2]), "weights": np.ones((3, 2, 1, 1), np.float32)}
        affines = {"": Affine(np.array([2.0, -1.0]), np.array([10.0, 20.0]))}
        inside = Deconvolutional(batch_normalize=True).absorb(p, affines)
        np.testing.assert_array_equal(inside["biases"], [10, 20])
        behind = Deconvolutional().absorb(p, affines)
        np.testing.assert_array_equal(behind["biases"], [12, 18])
        np.testing.assert_array_equal(behind["weights"][:, :, 0, 0], [[2, -1]] * 3)

    def test_statistics_that_are_not_there_stay(self) -> None:
        for option in ("dontload", "dontloadscales"):
            cfg = self.CFG.replace(b"filters=4", f"filters=4\n{option}=1".encode())
            row = dn.fold_report(random_model(cfg, "pjreddie"))[0]
            assert row.reason is not None
            assert row.reason.startswith(f"{option}: ")

    def test_a_variance_below_zero_is_refused(self) -> None:
        model = random_model(self.CFG, "pjreddie")
        bad = {**model.params[0], "rolling_variance": np.float32([1, -1, 1, 1])}
        model = replace(model, params=(bad, model.params[1]))
        with pytest.raises(FoldError, match=r"\[deconvolutional\] layer 0: .*1 channel \(1\)"):
            dn.fold_batchnorm(model)


def test_what_the_file_holds_and_first_values() -> None:
    cfg = cfg_text("[deconvolutional] filters=4 size=2 stride=2 batch_normalize=1")
    network = network_of(cfg, "pjreddie")
    assert [(param.name, param.shape) for param in network.nodes[0].params] == [
        ("biases", (4,)),
        ("scales", (4,)),
        ("rolling_mean", (4,)),
        ("rolling_variance", (4,)),
        ("weights", (3, 4, 2, 2)),
    ]
    wide = cfg_text("[deconvolutional] filters=64 size=8 stride=2 padding=3")
    weights = dn.load(wide, None, dialect="pjreddie").params[0]["weights"]
    # 0.02 for each of the 4 output pixels an input pixel makes; 12288 values are within 3 percent
    assert abs(weights.std() / 0.08 - 1) < 0.03


def test_cost_and_text() -> None:
    layer = Deconvolutional(filters=4, size=3, stride=2, padding=1)
    assert layer.out_shape((Shape(3, 7, 9),)) == Shape(4, 13, 17)
    assert layer.cost((Shape(3, 7, 9),)) == Cost(2 * 63 * 3 * 4 * 9)
    assert layer.size_text() == "3 x 3 / 2"
    assert per_class(layer) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"the padding removes the whole image .*padding 1\)"):
        Deconvolutional(size=2, stride=1, padding=1).out_shape((Shape(3, 1, 1),))
    with pytest.raises(ShapeError, match="no image shape"):
        Deconvolutional().out_shape((Shape(64, flat=True),))
    with pytest.raises(ShapeError, match="numload: the file stores these weights by input channel"):
        Deconvolutional(numload=2, filters=4).out_shape((Shape(3, 4, 4),))


def test_sizes_are_checked_before_memory_is_taken() -> None:
    vast = cfg_text("[deconvolutional] size=1 stride=40000 filters=3", width=9, height=9)
    model = dn.load(vast, None, dialect="pjreddie")
    with pytest.raises(ShapeError, match="there is not enough memory for the outputs"):
        dn.forward(model, random_input(model, 1))
    far = cfg_text("[deconvolutional] size=1 stride=2000000000", width=1, height=1)
    model = dn.load(far, None, dialect="pjreddie")
    assert dn.forward(model, random_input(model, 1))[0].shape == (1, 1, 1, 1)
