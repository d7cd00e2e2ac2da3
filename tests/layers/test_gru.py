"""``[gru]`` against its formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.layers.gru import Gru
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model, with_time_steps

STEPS, SEQUENCES = 4, 2


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize(
    ("dialect", "options", "activate"),
    [
        ("pjreddie", "", logistic),
        ("pjreddie", "tanh=1", np.tanh),
        ("pjreddie-gpu", "", logistic),
        ("alexeyab", "", logistic),
        ("alexeyab", "tanh=1", logistic),  # which it does not know
    ],
)
def test_gates_and_state(
    matrix: Callable[..., np.ndarray], dialect: str, options: str, activate, norm: str, exact: bool
) -> None:
    cfg = with_time_steps(cfg_text(f"[gru] output=5 {options} {norm}", width=2, height=2), STEPS)
    model = random_model(cfg, dialect)
    x = random_input(model, STEPS * SEQUENCES)
    (y,) = dn.forward(model, x, exact=exact).values()

    h = np.zeros((SEQUENCES, 5))
    expected = []
    for row in x.reshape(STEPS, SEQUENCES, -1):
        z = logistic(matrix(model, 0, "wz", h) + matrix(model, 0, "uz", row))
        r = logistic(matrix(model, 0, "wr", h) + matrix(model, 0, "ur", row))
        n = activate(matrix(model, 0, "wh", r * h) + matrix(model, 0, "uh", row))
        h = z * h + (1 - z) * n
        expected.append(h)
    # Some float32 sums of 12 products, each passed on through four steps; values up to 1.
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=0, atol=4e-6)


def test_the_output_has_no_image_shape_in_any_program() -> None:
    for dialect in ("pjreddie", "pjreddie-gpu", "alexeyab"):
        assert network_of(cfg_text("[gru] output=5"), dialect).nodes[0].y == Shape(5, flat=True)


def test_the_state_comes_first_in_pjreddie_s_files_and_last_in_alexeyab_s() -> None:
    cfg = cfg_text("[gru] output=5", width=2, height=2)

    def shapes(dialect: str) -> list[tuple[str, tuple[int, ...]]]:
        params = network_of(cfg, dialect).nodes[0].params
        assert [param.name for param in params[::2]] == [
            param.name.replace("weights", "biases") for param in params[1::2]
        ]
        return [(param.name, param.shape) for param in params[1::2]]

    of_state = [(f"w{gate}.weights", (5, 5)) for gate in "zrh"]
    of_input = [(f"u{gate}.weights", (5, 12)) for gate in "zrh"]
    assert shapes("pjreddie") == shapes("pjreddie-gpu") == of_state + of_input
    assert shapes("alexeyab") == of_input + of_state


def test_options_of_each_program(read: Callable[..., Layer]) -> None:
    assert read("[gru]\noutput=3\ntanh=1\n", PJREDDIE) == Gru(output=3, tanh=True)
    assert read("[gru]\noutput=3\n", ALEXEYAB) == Gru(output=3, state_first=False)
    assert "tanh" not in Gru.extended_keys()


def test_cost() -> None:
    assert Gru(output=5).cost((Shape(3, 2, 2),)) == Cost(2 * 3 * (5 * 12 + 5 * 5))
