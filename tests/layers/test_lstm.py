"""``[lstm]`` against its formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from darknet_bn.layers.layer import Cost
from darknet_bn.layers.lstm import Lstm
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model, with_time_steps

STEPS, SEQUENCES = 4, 2


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_gates_cell_and_state(
    matrix: Callable[..., np.ndarray], dialect: str, norm: str, exact: bool
) -> None:
    cfg = with_time_steps(cfg_text(f"[lstm] output=5 {norm}", width=2, height=2), STEPS)
    model = random_model(cfg, dialect)
    x = random_input(model, STEPS * SEQUENCES)
    (y,) = dn.forward(model, x, exact=exact).values()

    h = c = np.zeros((SEQUENCES, 5))
    expected = []
    for row in x.reshape(STEPS, SEQUENCES, -1):
        f, i, o, g = (
            matrix(model, 0, f"w{gate}", h) + matrix(model, 0, f"u{gate}", row) for gate in "fiog"
        )
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        h = logistic(o) * np.tanh(c)
        expected.append(h)
    # Some float32 sums of 12 products, each passed on through four steps; values up to 1.
    np.testing.assert_allclose(y.reshape(len(y), -1), np.concatenate(expected), rtol=0, atol=4e-6)


def test_shapes() -> None:
    cfg = cfg_text("[lstm] output=5")
    for dialect in ("pjreddie", "pjreddie-gpu"):
        assert network_of(cfg, dialect).nodes[0].y == Shape(5, flat=True)
    for dialect in ("alexeyab", "hank-ai"):
        assert network_of(cfg, dialect).nodes[0].y == Shape(5)


@pytest.mark.parametrize(
    ("dialect", "order"),
    [("pjreddie", "ifog"), ("pjreddie-gpu", "ifog"), ("alexeyab", "figo"), ("hank-ai", "figo")],
)
def test_the_order_of_the_file(dialect: str, order: str) -> None:
    network = network_of(cfg_text("[lstm] output=5", width=2, height=2), dialect)
    params = network.nodes[0].params
    assert [(param.name, param.shape) for param in params[::2]] == [
        (f"{side}{gate}.biases", (5,)) for side in "wu" for gate in order
    ]
    assert [(param.name, param.shape) for param in params[1::2]] == [
        (f"{side}{gate}.weights", (5, columns))
        for side, columns in (("w", 5), ("u", 12))
        for gate in order
    ]


def test_cost() -> None:
    assert Lstm(output=5).cost((Shape(3, 2, 2),)) == Cost(2 * 4 * (5 * 12 + 5 * 5))
