"""``[crnn]``: with filters of one pixel an ``[rnn]`` at every pixel; and what each program has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.layers.crnn import Crnn
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.shape import Shape
from darknet_bn.model.network import build_network
from tests.support.builders import (
    cfg_text,
    network_of,
    random_input,
    random_model,
    weights_bytes,
    with_time_steps,
)

STEPS, SEQUENCES = 4, 2
MENDED = replace(PJREDDIE, crnn_swaps_sides=False)
PLAIN = "[crnn] output_filters=4 hidden_filters=5 activation=leaky batch_normalize=1"


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize("shortcut", [0, 1])
@pytest.mark.parametrize("dialect", ["alexeyab", "hank-ai"])
def test_with_filters_of_one_pixel_every_pixel_is_a_sequence(
    matrix: Callable[..., np.ndarray], dialect: str, shortcut: int, norm: str, exact: bool
) -> None:
    section = f"[crnn] output=4 hidden=5 size=1 activation=tanh shortcut={shortcut} {norm}"
    model = random_model(with_time_steps(cfg_text(section, width=3, height=2), STEPS), dialect)
    x = random_input(model, STEPS * SEQUENCES)
    (y,) = dn.forward(model, x, exact=exact).values()
    assert y.shape == (STEPS * SEQUENCES, 4, 2, 3)

    pixels = x.reshape(STEPS, SEQUENCES, 3, 6).transpose(0, 1, 3, 2).reshape(STEPS, -1, 3)
    state = np.zeros((SEQUENCES * 6, 5))
    expected = []
    for rows in pixels:
        new = np.tanh(matrix(model, 0, "input", rows)) + np.tanh(matrix(model, 0, "self", state))
        state = new + state * shortcut
        expected.append(np.tanh(matrix(model, 0, "output", state)))
    found = y.reshape(STEPS, SEQUENCES, 4, 6).transpose(0, 1, 3, 2).reshape(STEPS, -1, 4)
    # Some float32 sums of 5 products, each passed on through four steps; values up to 1.
    np.testing.assert_allclose(found, np.array(expected), rtol=0, atol=4e-6)


class TestSidesOfAnImage:
    """pjreddie's takes them for each other; the golden case of this name proves it."""

    def test_are_swapped_in_the_shape(self) -> None:
        for dialect in ("pjreddie", "pjreddie-gpu"):
            network = network_of(cfg_text(PLAIN, width=7, height=5), dialect)
            assert network.nodes[0].y == Shape(4, 7, 5)
        network = build_network(parse_cfg(cfg_text(PLAIN, width=7, height=5)), MENDED)
        assert network.nodes[0].y == Shape(4, 5, 7)

    @pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
    def test_the_same_values_are_read_as_rows_of_another_length(self, exact: bool) -> None:
        cfg = with_time_steps(cfg_text(PLAIN, width=7, height=5), STEPS)
        turned = with_time_steps(cfg_text(PLAIN, width=5, height=7), STEPS)
        weights = weights_bytes(cfg, "pjreddie")
        model = dn.load(cfg, weights, dialect=PJREDDIE)
        x = random_input(model, STEPS * SEQUENCES)
        (y,) = dn.forward(model, x, exact=exact).values()
        mended = dn.load(turned, weights, dialect=MENDED)
        (expected,) = dn.forward(mended, x.reshape(len(x), 3, 7, 5), exact=exact).values()
        np.testing.assert_array_equal(y, expected)
        (other,) = dn.forward(dn.load(cfg, weights, dialect=MENDED), x, exact=exact).values()
        assert np.abs(other.ravel() - y.ravel()).max() > 0.1

    def test_of_a_square_are_the_same(self) -> None:
        weights = weights_bytes(cfg_text(PLAIN), "pjreddie")
        model = dn.load(cfg_text(PLAIN), weights, dialect=PJREDDIE)
        x = random_input(model)
        (y,) = dn.forward(model, x).values()
        mended = dn.load(cfg_text(PLAIN), weights, dialect=MENDED)
        np.testing.assert_array_equal(y, dn.forward(mended, x)[0])


class TestKeys:
    def test_each_program_has_its_own_for_the_filters(self, read: Callable[..., Layer]) -> None:
        layer = read("[crnn]\noutput_filters=4\nhidden_filters=5\n", PJREDDIE)
        filters = [part.layer.filters for part in layer.parts()]
        assert filters == [5, 5, 4]
        layer = read("[crnn]\noutput=4\nhidden=5\n", ALEXEYAB)
        assert [part.layer.filters for part in layer.parts()] == [5, 5, 4]

    def test_pjreddie_s_filters_are_3x3_and_keep_the_size(self, read: Callable[..., Layer]) -> None:
        part = read("[crnn]\n", PJREDDIE).parts()[0].layer
        assert (part.size, part.geometry.pad, part.geometry.stride_x) == (3, 1, 1)
        part = read("[crnn]\nsize=5\npadding=2\n", ALEXEYAB).parts()[0].layer
        assert (part.size, part.geometry.pad) == (5, 2)

    def test_the_others_keys_are_not_used_and_a_warning_says_so(self) -> None:
        cfg = cfg_text("[crnn] output=4 hidden_filters=5 size=5")
        pjreddie = network_of(cfg, "pjreddie")
        assert [each.partition(": ")[2] for each in pjreddie.oddities] == [
            "[crnn] layer 0: output: unknown to pjreddie, not used (alexeyab knows it)",
            "[crnn] layer 0: size: unknown to pjreddie, not used (alexeyab knows it)",
        ]
        assert pjreddie.nodes[0].y == Shape(1, 8, 8)
        with pytest.raises(dn.ShapeError):  # no padding
            network_of(cfg, "alexeyab")

    def test_parameters_in_the_order_of_the_file(self) -> None:
        section = "[crnn] output=4 hidden=6 pad=1 groups=2 batch_normalize=1"
        params = network_of(cfg_text(section, channels=2)).nodes[0].params
        shapes = {"input": (6, 1, 3, 3), "self": (6, 3, 3, 3), "output": (4, 3, 3, 3)}
        expected = [
            (f"{part}.{name}", shape if name == "weights" else shape[:1])
            for part, shape in shapes.items()
            for name in ("biases", "scales", "rolling_mean", "rolling_variance", "weights")
        ]
        assert [(param.name, param.shape) for param in params] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", r"keep the image size \(expected 8 x 8 from size.*, found 6 x 6\)"),
        ("pad=1 stride=2", r"keep the image size \(expected 8 x 8.*found 4 x 4\)"),
        ("pad=1 groups=2", r"groups=2 does not divide the filters"),
        ("size=1 groups=2 hidden=2 output=2", r"groups=2 does not divide the input channels"),
    ],
)
def test_what_does_not_fit(options: str, message: str) -> None:
    with pytest.raises(dn.ShapeError, match=message) as caught:
        network_of(cfg_text(f"[crnn] {options}"))
    assert "[crnn] layer 0" in str(caught.value)


def test_it_needs_an_image() -> None:
    for dialect in ("pjreddie", "alexeyab"):
        with pytest.raises(dn.ShapeError, match="no image shape"):
            network_of(cfg_text("[softmax]", "[crnn]"), dialect)


def test_size_and_cost(read: Callable[..., Layer]) -> None:
    layer = read("[crnn]\noutput=4\nhidden=5\npad=1\n")
    assert layer.size_text() == "3 x 3 / 1"
    x = Shape(3, 6, 7)
    assert layer.cost((x,)) == Cost(2 * 6 * 7 * 9 * (5 * 3 + 5 * 5 + 4 * 5))
    assert isinstance(layer, Crnn)
