"""``[connected]`` against plain sums in float64."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.layer import Cost
from darknet_bn.layers.parameters import Affine
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model


def expected_of(model: dn.Model, x: np.ndarray) -> np.ndarray:
    p = {name: array.astype(np.float64) for name, array in model.params[0].items()}
    z = x.reshape(len(x), -1) @ p["weights"].T
    if "scales" not in p:
        return z + p["biases"]
    sigma = model.dialect.sigma(p["rolling_variance"])
    return (z - p["rolling_mean"]) / sigma * p["scales"] + p["biases"]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
class TestForward:
    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
    @pytest.mark.parametrize("batch", [1, 3])
    def test_every_output_is_a_sum_of_all_inputs(
        self, exact: bool, dialect: str, norm: str, batch: int
    ) -> None:
        model = random_model(
            cfg_text(f"[connected] output=11 activation=linear {norm}", height=5), dialect
        )
        x = random_input(model, batch)
        (y,) = dn.forward(model, x, exact=exact).values()
        assert y.shape == (batch, 11, 1, 1)
        expected = expected_of(model, x)
        # Sums of 120 products in float32.
        assert np.abs(y[:, :, 0, 0] - expected).max() <= 2e-6 * np.abs(expected).max()

    def test_a_matrix_so_large_that_several_threads_share_its_rows(self, exact: bool) -> None:
        # 700 rows of 1536 weights: more than one thread takes at a time.
        model = random_model(
            cfg_text(
                "[connected] output=700 batch_normalize=1 activation=linear",
                width=16,
                height=32,
            )
        )
        x = random_input(model, 2)
        (y,) = dn.forward(model, x, exact=exact).values()
        expected = expected_of(model, x)
        # Sums of 1536 products in float32, in any order.
        assert np.abs(y[:, :, 0, 0] - expected).max() <= 5e-6 * np.abs(expected).max()

    def test_the_activation_comes_last(self, exact: bool) -> None:
        model = random_model(cfg_text("[connected] output=11 activation=leaky batch_normalize=1"))
        x = random_input(model)
        (y,) = dn.forward(model, x, exact=exact).values()
        z = expected_of(model, x)
        expected = np.where(z > 0, z, 0.1 * z)
        assert np.abs(y[:, :, 0, 0] - expected).max() <= 2e-6 * np.abs(expected).max()

    def test_behind_an_image_it_reads_channel_by_channel_row_by_row(self, exact: bool) -> None:
        model = random_model(
            cfg_text("[convolutional] filters=2 size=1 activation=linear", "[connected] output=3")
        )
        x = random_input(model)
        outputs = dn.forward(model, x, "all", exact=exact)
        p = model.params[1]
        z = outputs[0].reshape(2, -1).astype(np.float64) @ p["weights"].T + p["biases"]
        # logistic is the default; sums of 128 products
        np.testing.assert_allclose(outputs[1][:, :, 0, 0], 1 / (1 + np.exp(-z)), atol=2e-6)


class TestShapes:
    def test_one_pixel_of_many_channels(self) -> None:
        network = network_of(cfg_text("[connected] output=7", "[convolutional] filters=2"))
        assert network.nodes[0].y == Shape(7, 1, 1)
        assert network.nodes[1].y == Shape(2, 1, 1)

    def test_parameters_come_in_another_order_than_a_convolution_s(self) -> None:
        network = network_of(cfg_text("[connected] output=7 batch_normalize=1"))
        assert [(param.name, param.shape) for param in network.nodes[0].params] == [
            ("biases", (7,)),
            ("weights", (7, 192)),
            ("scales", (7,)),
            ("rolling_mean", (7,)),
            ("rolling_variance", (7,)),
        ]

    def test_cost(self) -> None:
        assert Connected(output=7).cost((Shape(3, 8, 8),)) == Cost(2 * 7 * 192)


class TestBatchNormInside:
    def test_what_the_layer_says_of_itself(self) -> None:
        assert Connected().batch_norm is None
        assert Connected(batch_normalize=1).batch_norm == "inside"
        assert Connected(activation="linear").is_linear
        assert not Connected().is_linear
        assert Connected().edits_without_batch_norm() == {"batch_normalize": "0"}

    def test_absorbing_of_what_comes_out_of_the_weights_or_of_the_whole(self) -> None:
        p = {
            "biases": np.array([1, 2], np.float32),
            "weights": np.ones((2, 3), np.float32),
        }
        affine = Affine(np.array([2.0, -1.0]), np.array([10.0, 20.0]))
        np.testing.assert_array_equal(
            Connected(batch_normalize=1).absorb(p, {"": affine})["biases"], [10, 20]
        )
        behind = Connected().absorb(p, {"": affine})
        np.testing.assert_array_equal(behind["biases"], [12, 18])
        np.testing.assert_array_equal(behind["weights"], [[2, 2, 2], [-1, -1, -1]])
