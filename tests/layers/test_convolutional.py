"""``[convolutional]`` against plain sums in float64, in every geometry and both ways to run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, DIALECTS, PJREDDIE
from darknet_bn.layers.convolutional import Convolutional, binarised, signs
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.parameters import Affine
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.normalised import rolling_affine
from tests.support.builders import cfg_text, network_of, random_input, random_model

BN = "batch_normalize=1"

# size, stride x and y, padding, dilation, groups
GEOMETRIES = [
    pytest.param(*each, id="k{} s{}x{} p{} d{} g{}".format(*each))
    for each in (
        (1, 1, 1, 0, 1, 1),
        (1, 2, 2, 0, 1, 1),
        (1, 1, 1, 0, 1, 3),
        (1, 3, 3, 2, 1, 1),
        (2, 1, 1, 0, 1, 1),
        (2, 2, 2, 1, 1, 1),
        (3, 1, 1, 1, 1, 1),
        (3, 1, 1, 1, 1, 2),
        (3, 1, 1, 1, 1, 6),
        (3, 2, 2, 1, 1, 1),
        (3, 2, 2, 1, 1, 6),
        (3, 2, 1, 1, 1, 1),
        (3, 1, 3, 0, 1, 2),
        (3, 1, 1, 1, 2, 1),
        (3, 1, 1, 2, 2, 1),
        (3, 2, 2, 3, 3, 2),
        (3, 1, 2, 0, 2, 1),
        (3, 2, 2, 1, 3, 2),
        (5, 1, 1, 2, 2, 6),
        (4, 3, 3, 1, 1, 1),
        (5, 1, 1, 2, 1, 1),
        (5, 2, 2, 2, 1, 6),
        (5, 1, 1, 4, 1, 3),
        (7, 4, 4, 3, 1, 1),
    )
]


def convolved(
    x: np.ndarray,
    weights: np.ndarray,
    stride_x: int,
    stride_y: int,
    padding: int,
    dilation: int,
    groups: int,
) -> np.ndarray:
    """The sum over channels and window of every output pixel, in float64."""
    n, c, h, w = x.shape
    f, part, k, _ = weights.shape
    oh = math.trunc((h + 2 * padding - k) / stride_y) + 1  # the dilation is left out, as in C
    ow = math.trunc((w + 2 * padding - k) / stride_x) + 1
    padding *= dilation  # and comes in here
    margin = padding + dilation * k
    wide = np.zeros((n, c, h + 2 * margin, w + 2 * margin))
    wide[:, :, margin : margin + h, margin : margin + w] = x
    y = np.zeros((n, f, oh, ow))
    for filter_ in range(f):
        first = filter_ // (f // groups) * part
        for channel in range(part):
            for i in range(k):
                for j in range(k):
                    top = margin - padding + i * dilation
                    left = margin - padding + j * dilation
                    y[:, filter_] += (
                        weights[filter_, channel, i, j]
                        * (
                            wide[
                                :,
                                first + channel,
                                top : top + stride_y * oh : stride_y,
                                left : left + stride_x * ow : stride_x,
                            ]
                        )
                    )
    return y


def normalised(z: np.ndarray, p: dict[str, np.ndarray], dialect: dn.Dialect) -> np.ndarray:
    wide = {name: array.astype(np.float64)[:, None, None] for name, array in p.items()}
    sigma = dialect.sigma(p["rolling_variance"].astype(np.float64))[:, None, None]
    return (z - wide["rolling_mean"]) / sigma * wide["scales"] + wide["biases"]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    # Some 300 products in float32, in any order: each rounding is 6e-8 of a partial sum.
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
class TestForward:
    @pytest.mark.parametrize(
        ("size", "stride_x", "stride_y", "padding", "dilation", "groups"), GEOMETRIES
    )
    def test_every_geometry(
        self,
        exact: bool,
        size: int,
        stride_x: int,
        stride_y: int,
        padding: int,
        dilation: int,
        groups: int,
    ) -> None:
        section = (
            f"[convolutional] filters=12 size={size} stride_x={stride_x} stride_y={stride_y} "
            f"padding={padding} dilation={dilation} groups={groups} activation=linear"
        )
        for norm in ("", BN):
            model = random_model(cfg_text(f"{section} {norm}", channels=6, width=13, height=10))
            x = random_input(model)
            p = model.params[0]
            z = convolved(x, p["weights"], stride_x, stride_y, padding, dilation, groups)
            if norm:
                expected = normalised(z, p, model.dialect)
            else:
                expected = z + p["biases"].astype(np.float64)[:, None, None]
            close(dn.forward(model, x, exact=exact)[0], expected)

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_each_program_s_batch_norm(self, exact: bool, dialect: str) -> None:
        model = random_model(
            cfg_text(f"[convolutional] filters=8 size=3 pad=1 activation=linear {BN}"), dialect
        )
        x = random_input(model)
        z = convolved(x, model.params[0]["weights"], 1, 1, 1, 1, 1)
        close(dn.forward(model, x, exact=exact)[0], normalised(z, model.params[0], model.dialect))

    @pytest.mark.parametrize("norm", ["", BN])
    @pytest.mark.parametrize(
        ("activation", "function"),
        [
            ("leaky", lambda z: np.where(z > 0, z, 0.1 * z)),
            ("relu", lambda z: np.maximum(z, 0)),
            ("logistic", lambda z: 1 / (1 + np.exp(-z))),
            ("mish", lambda z: z * np.tanh(np.log1p(np.exp(z)))),
            ("swish", lambda z: z / (1 + np.exp(-z))),
            (
                "normalize_channels",
                lambda z: np.maximum(z, 0) / (1e-4 + np.maximum(z, 0).sum(axis=1, keepdims=True)),
            ),
        ],
    )
    def test_the_activation_comes_last(
        self, exact: bool, norm: str, activation: str, function: Callable[..., Any]
    ) -> None:
        model = random_model(
            cfg_text(f"[convolutional] filters=8 size=3 pad=1 activation={activation} {norm}")
        )
        x = random_input(model)
        p = model.params[0]
        z = convolved(x, p["weights"], 1, 1, 1, 1, 1)
        if norm:
            z = normalised(z, p, model.dialect)
        else:
            z = z + p["biases"].astype(np.float64)[:, None, None]
        expected = function(z)
        found = dn.forward(model, x, exact=exact)[0]
        # Sums as in `close`; the function itself may err by some 1e-6 of values around 1.
        assert np.abs(found - expected).max() <= 5e-6 * np.abs(expected).max()

    def test_large_images_and_many_filters(self, exact: bool) -> None:
        model = random_model(
            cfg_text(
                f"[convolutional] filters=40 size=3 pad=1 activation=linear {BN}",
                channels=33,
                width=70,
                height=67,
            )
        )
        x = random_input(model, batch=1)
        z = convolved(x, model.params[0]["weights"], 1, 1, 1, 1, 1)
        close(dn.forward(model, x, exact=exact)[0], normalised(z, model.params[0], model.dialect))

    def test_binary_weights_and_inputs(self, exact: bool) -> None:
        model = random_model(
            cfg_text(f"[convolutional] filters=5 size=3 pad=1 activation=linear xnor=1 {BN}")
        )
        x = random_input(model)
        x[0, 0, 0, 0] = 0
        p = model.params[0]
        weights = p["weights"].astype(np.float64)
        mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
        z = convolved(np.where(x > 0, 1.0, -1.0), np.where(weights > 0, mean, -mean), *[1] * 5)
        close(dn.forward(model, x, exact=exact)[0], normalised(z, p, model.dialect))

    def test_binary_weights_alone_have_no_effect_on_the_cpu(self, exact: bool) -> None:
        section = f"[convolutional] filters=5 size=3 {BN}"
        plain = random_model(cfg_text(section))
        binary = random_model(cfg_text(f"{section} binary=1"))
        x = random_input(plain)
        np.testing.assert_array_equal(
            dn.forward(binary, x, exact=exact)[0], dn.forward(plain, x, exact=exact)[0]
        )

    def test_the_blur_of_antialiasing_strides(self, exact: bool) -> None:
        section = "[convolutional] filters=4 size=3 pad=1 stride=2 activation=linear"
        model = random_model(cfg_text(f"{section} {BN} antialiasing=1", width=9, height=7))
        x = random_input(model)
        p = model.params[0]
        sharp = normalised(convolved(x, p["weights"], 1, 1, 1, 1, 1), p, model.dialect)
        kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
        each = np.zeros((4, 1, 3, 3))
        each[:, 0] = kernel
        close(dn.forward(model, x, exact=exact)[0], convolved(sharp, each, 2, 2, 1, 1, 4))


class TestShapes:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ("size=3 pad=1", Shape(4, 13, 20)),
            ("size=3 pad=1 padding=7", Shape(4, 13, 20)),
            ("size=3 padding=7", Shape(4, 25, 32)),
            ("size=3", Shape(4, 11, 18)),
            ("size=4 stride=3 pad=2", Shape(4, 5, 7)),
            ("size=2 stride=2", Shape(4, 6, 10)),
            ("size=3 stride=2 stride_x=1 pad=1", Shape(4, 7, 20)),
            ("size=3 stride_y=5 pad=1", Shape(4, 3, 20)),
            ("size=3 pad=1 dilation=4", Shape(4, 13, 20)),
            ("size=13 stride=9", Shape(4, 1, 1)),
            ("size=3 pad=1 stride=2 antialiasing=1", Shape(4, 7, 10)),
            ("size=3 pad=1 stride=2 antialiasing=2", Shape(4, 6, 10)),
        ],
    )
    def test_of_the_output(self, options: str, expected: Shape) -> None:
        cfg = cfg_text(f"[convolutional] filters=4 {options}", width=20, height=13)
        assert network_of(cfg).nodes[0].y == expected

    def test_of_the_parameters(self) -> None:
        cfg = cfg_text(f"[convolutional] filters=6 size=5 groups=3 {BN}", channels=9)
        params = network_of(cfg).nodes[0].params
        assert [(param.name, param.shape) for param in params] == [
            ("biases", (6,)),
            ("scales", (6,)),
            ("rolling_mean", (6,)),
            ("rolling_variance", (6,)),
            ("weights", (6, 3, 5, 5)),
        ]

    def test_groups_below_one_and_of_xnor_are_one(self) -> None:
        for options in ("groups=0", "groups=-2", "groups=3 xnor=1"):
            cfg = cfg_text(f"[convolutional] filters=3 {options}")
            assert network_of(cfg).nodes[0].params[1].shape == (3, 3, 1, 1)

    def test_dilation_of_one_pixel_is_none(self) -> None:
        assert Convolutional(size=1, dilation=5).geometry.dilation == 1
        assert Convolutional(size=3, dilation=5).geometry.dilation == 5

    def test_the_columns_of_the_table(self, read: Callable[..., Layer]) -> None:
        assert read("[conv]\nsize=3\nstride=2\n").size_text() == "3 x 3 / 2"
        assert read("[conv]\nsize=3\nstride_x=2\nstride_y=1\n").size_text() == "3 x 3 / 2x1"
        assert read("[conv]\nsize=3\ndilation=2\n").size_text() == "3 x 3(2) / 1"
        layer = Convolutional(filters=4, size=3, pad=True, groups=2)
        assert layer.cost((Shape(6, 5, 7),)) == Cost(2 * 5 * 7 * 4 * 9 * 3)


class TestBatchNormInside:
    def layer(self, **options: object) -> Layer:
        return Convolutional(filters=3, **options)

    def test_is_told_by_either_key(self) -> None:
        assert self.layer().batch_norm is None
        assert self.layer(batch_normalize=1).batch_norm == "inside"
        assert self.layer(batch_normalize=2).batch_norm == "inside"
        assert self.layer(cbn=1).batch_norm == "inside"

    def test_linear_is_what_nothing_bends(self) -> None:
        assert self.layer(activation="linear").is_linear
        assert not self.layer(activation="leaky").is_linear
        assert not self.layer(activation="linear", antialiasing=1).is_linear
        assert not self.layer().is_linear  # logistic, by default

    def test_absorbing_of_what_comes_out_of_the_weights_or_of_the_whole(self) -> None:
        p = {
            "biases": np.array([1, 2, 3], np.float32),
            "weights": np.ones((3, 2, 1, 1), np.float32),
        }
        affine = Affine(np.array([2.0, -1.0, 0.0]), np.array([10.0, 20.0, 30.0]))
        inside = self.layer(batch_normalize=1).absorb(p, {"": affine})
        np.testing.assert_array_equal(inside["biases"], [10, 20, 30])
        behind = self.layer().absorb(p, {"": affine})
        np.testing.assert_array_equal(behind["biases"], [12, 18, 30])
        for absorbed in (inside, behind):
            assert set(absorbed) == {"biases", "weights"}
            np.testing.assert_array_equal(absorbed["weights"][:, 0, 0, 0], [2, -1, 0])
            assert all(array.dtype == np.float32 for array in absorbed.values())

    def test_scale_and_shift_of_each_dialect(self) -> None:
        p = {
            "biases": np.array([1.0], np.float32),
            "scales": np.array([3.0], np.float32),
            "rolling_mean": np.array([2.0], np.float32),
            "rolling_variance": np.array([0.25], np.float32),
        }
        for dialect, sigma in (
            (PJREDDIE, 0.5 + float(np.float32(1e-6))),
            (ALEXEYAB, math.sqrt(0.25 + float(np.float32(1e-5)))),
        ):
            affine = rolling_affine(p, dialect)
            assert affine.scale.dtype == affine.shift.dtype == np.float64
            assert affine.scale[0] == 3 / sigma
            assert affine.shift[0] == 1 - 2 * (3 / sigma)


def test_signs_of_zero_are_negative() -> None:
    x = np.array([1.0, 0.0, -0.0, -2.0, np.inf], np.float32)
    np.testing.assert_array_equal(signs(x), [1, -1, -1, -1, 1])
    weights = np.array([[[[1.0, 0.0], [-3.0, 0.0]]]], np.float32)
    np.testing.assert_array_equal(binarised(weights), [[[[1, -1], [-1, -1]]]])
