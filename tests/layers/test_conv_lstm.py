"""``[conv_lstm]``: with filters of one pixel an ``[lstm]`` at every pixel; peephole, limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import PJREDDIE
from darknet_bn.layers.conv_lstm import ConvLstm
from darknet_bn.layers.layer import Cost
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model, with_time_steps

STEPS, SEQUENCES = 4, 2


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def of_pixels(x: np.ndarray) -> np.ndarray:
    """(time and sequences, channels, h, w) as (time, sequences and pixels, channels)."""
    c = x.shape[1]
    return x.reshape(STEPS, SEQUENCES, c, -1).transpose(0, 1, 3, 2).reshape(STEPS, -1, c)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("activation", ["linear", "leaky"])
def test_with_filters_of_one_pixel_every_pixel_is_a_sequence(
    matrix: Callable[..., np.ndarray],
    activation: str,
    limit: int,
    peephole: bool,
    norm: str,
    exact: bool,
) -> None:
    section = (
        f"[conv_lstm] output=4 size=1 peephole={int(peephole)} state_constrain={limit} "
        f"activation={activation} {norm}"
    )
    cfg = with_time_steps(cfg_text(section, width=3, height=2), STEPS)
    model = random_model(cfg)
    x = 3 * random_input(model, STEPS * SEQUENCES)
    (y,) = dn.forward(model, x, exact=exact).values()
    assert y.shape == (STEPS * SEQUENCES, 4, 2, 3)

    def part(name: str, rows: np.ndarray) -> np.ndarray:
        z = matrix(model, 0, name, rows)
        return np.where(z > 0, z, 0.1 * z) if activation == "leaky" else z

    h = c = np.zeros((SEQUENCES * 6, 4))
    expected = []
    reached = False
    for rows in of_pixels(x):
        f, i, o, g = (part(f"w{gate}", h) + part(f"u{gate}", rows) for gate in "fiog")
        if peephole:
            f, i = f + part("vf", c), i + part("vi", c)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        if peephole:
            o = o + part("vo", c)
        h = logistic(o) * np.tanh(c)
        expected.append(h)
        if limit:
            reached |= bool((np.abs(c) > limit).any())
            c = np.clip(c, -limit, limit)
    assert reached == (limit > 0)
    # Some float32 sums of 4 products, each passed on through four steps; values up to 1.
    np.testing.assert_allclose(of_pixels(y), np.array(expected), rtol=0, atol=4e-6)


def test_cells_are_held_to_32_for_each_time_step_by_default() -> None:
    setting = InferenceContext(dn.ALEXEYAB, time_steps=3)
    assert ConvLstm().largest_cell(setting) == 96
    assert ConvLstm(state_constrain=5).largest_cell(setting) == 5
    assert ConvLstm(state_constrain=0).largest_cell(setting) is None


def test_parameters_in_the_order_of_the_file() -> None:
    def weights(options: str) -> list[tuple[str, tuple[int, ...]]]:
        network = network_of(cfg_text(f"[conv_lstm] output=4 pad=1 {options}"))
        params = [param for param in network.nodes[0].params if param.name.endswith("weights")]
        return [(param.name, param.shape) for param in params]

    of_state = [(f"w{gate}.weights", (4, 4, 3, 3)) for gate in "figo"]
    of_input = [(f"u{gate}.weights", (4, 3, 3, 3)) for gate in "figo"]
    through = [(f"v{gate}.weights", (4, 4, 3, 3)) for gate in "fio"]
    assert weights("") == of_state + of_input
    assert weights("peephole=1") == through + of_state + of_input


def test_what_is_for_the_gpu_alone_has_no_effect() -> None:
    section = "[conv_lstm] output=4 size=1"
    plain = random_model(with_time_steps(cfg_text(section), STEPS))
    other = random_model(
        with_time_steps(
            cfg_text(f"{section} shortcut=1 lstm_activation=leaky time_normalizer=0.5"), STEPS
        )
    )
    x = random_input(plain, STEPS)
    np.testing.assert_array_equal(dn.forward(plain, x)[0], dn.forward(other, x)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", r"layer 0: the convolutions.*keep the image size.*found 6 x 6"),
        ("pad=1 stride=2", r"keep the image size.*found 4 x 4"),
        ("pad=1 bottleneck=1", r"layer 0: bottleneck: .*not supported yet"),
    ],
)
def test_what_does_not_fit(options: str, message: str) -> None:
    with pytest.raises(dn.ShapeError, match=message):
        network_of(cfg_text(f"[conv_lstm] output=4 {options}"))


def test_it_needs_an_image_and_alexeyab_s_fork() -> None:
    with pytest.raises(dn.ShapeError, match="no image shape"):
        network_of(cfg_text("[softmax]", "[conv_lstm]"))
    with pytest.raises(dn.CfgError, match="pjreddie has no such section"):
        network_of(cfg_text("[conv_lstm]"), PJREDDIE.name)


def test_size_and_cost() -> None:
    layer = ConvLstm(output=4, pad=True, order="figo")
    assert layer.size_text() == "3 x 3 / 1"
    x = Shape(3, 6, 7)
    assert layer.cost((x,)) == Cost(2 * 6 * 7 * 9 * 4 * (4 * 3 + 4 * 4))
