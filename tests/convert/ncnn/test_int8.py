"""Layers of ncnn in int8: weights, scales, and what ncnn makes of them."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.ncnn.export import ncnn_model
from darknet_bn.convert.ncnn.int8 import Int8, quantized, rounded
from tests.support.builders import cfg_text, random_model, with_time_steps

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
NET = cfg_text(CONV, "[maxpool] size=2 stride=2", CONV, "[connected] output=5")


def int8_of(model: dn.Model, *keep: int) -> Int8:
    x = np.random.default_rng(0).random((4, *model.network.input.dims), np.float32)
    return Int8(dn.activation_ranges(model, [x]), "minmax", keep)


def test_halves_are_rounded_away_from_zero_and_all_is_held() -> None:
    values = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 126.6, 127.5, -300])
    assert rounded(values).tolist() == [1, 2, -1, -3, 0, 127, 127, -127]


def test_each_filter_has_its_own_scale() -> None:
    weights = np.array([[[[0.5]], [[-1.0]]], [[[10.0]], [[0.04]]], [[[0.0]], [[0.0]]]], np.float32)
    found = quantized(weights, 1, np.float32(2))
    assert found.weights.ravel().tolist() == [64, -127, 127, 1, 0, 0]
    np.testing.assert_allclose(found.scales, [127, 12.7, 1])
    restored = found.restored()
    assert np.abs(restored - weights).max() <= 10 / 127 / 2
    assert found.seen(np.float32([0.2, 100])).tolist() == [0, 63.5]


def test_groups_have_one_scale_each() -> None:
    weights = np.arange(1, 9, dtype=np.float32).reshape(4, 2, 1, 1)
    assert quantized(weights, 2, np.float32(1)).scales.tolist() == [127 / 4, 127 / 8]


def test_what_is_kept_and_what_is_not() -> None:
    model = random_model(NET)
    assert list(ncnn_model(model, int8=int8_of(model)).quantized) == [0, 2, 3]
    made = ncnn_model(model, int8=int8_of(model, 0))
    assert list(made.quantized) == [2, 3]
    lines = made.net.param().decode().splitlines()
    kinds = {line.split()[1]: " 8=2 " in f"{line} " for line in lines[2:]}
    assert [kinds[f"layer_{layer:03d}"] for layer in (0, 2, 3)] == [False, True, True]


def test_the_file_is_a_quarter() -> None:
    model = random_model(cfg_text(CONV.replace("=4", "=64"), CONV.replace("=4", "=64")))
    sizes = [
        sum(each.size for each in made.net.weights())
        for made in (ncnn_model(model), ncnn_model(model, int8=int8_of(model, 0)))
    ]
    weights = 64 * 64 * 9
    assert sizes[0] - sizes[1] == 3 * weights - 4 * (64 + 1)


def test_an_input_that_is_always_zero_stays_float32() -> None:
    model = random_model(NET)
    scales = model.params[0]["scales"] * 0
    model.params[0].update(scales=scales, biases=scales)  # type: ignore[attr-defined]
    assert list(ncnn_model(model, int8=int8_of(model)).quantized) == [0, 3]


def test_sequences_are_refused() -> None:
    model = random_model(with_time_steps(cfg_text("[rnn] output=4", width=3, height=1), 2))
    x = np.random.default_rng(0).random((2, *model.network.input.dims), np.float32)
    with pytest.raises(dn.ExportError, match="sequences"):
        ncnn_model(model, int8=Int8(dn.activation_ranges(model, [x]), "minmax", ()))
