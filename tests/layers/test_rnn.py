"""``[rnn]`` against its formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, PJREDDIE, PJREDDIE_GPU
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.layers.layer import Cost, Layer
from darknet_bn.layers.rnn import Rnn
from darknet_bn.layers.shape import Shape
from darknet_bn.model.network import detect_dialect
from tests.support.builders import cfg_text, network_of, random_input, random_model, with_time_steps

STEPS, SEQUENCES = 4, 2
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "loggy": lambda z: 2 / (1 + np.exp(-z)) - 1,
    "leaky": lambda z: np.where(z > 0, z, 0.1 * z),
}


def expected_of(
    model: dn.Model, x: np.ndarray, matrix, activation: str, own: str, shortcut: bool
) -> np.ndarray:
    activate, activate_own = FUNCTIONS[activation], FUNCTIONS[own]
    rows = x.reshape(STEPS, SEQUENCES, -1)
    state = np.zeros((SEQUENCES, len(model.params[0]["self.biases"])))
    outputs = []
    for row in rows:
        before = state
        state = activate(matrix(model, 0, "input", row))
        state = state + activate_own(matrix(model, 0, "self", before))
        state = state + before if shortcut else state
        outputs.append(activate(matrix(model, 0, "output", state)))
    return np.concatenate(outputs)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
@pytest.mark.parametrize("norm", ["", "batch_normalize=1"])
@pytest.mark.parametrize(
    ("dialect", "options", "own", "shortcut"),
    [
        ("pjreddie", "activation=tanh", "tanh", False),
        ("pjreddie-gpu", "activation=leaky shortcut=1", "leaky", True),
        ("alexeyab", "activation=tanh hidden=7", "tanh", False),
        ("alexeyab", "activation=leaky hidden=7 logistic=1 shortcut=1", "logistic", True),
        ("alexeyab", "activation=tanh hidden=7 logistic=2", "loggy", False),
        ("hank-ai", "activation=tanh hidden=7", "tanh", False),
    ],
)
def test_the_state_is_what_comes_in_and_what_was_there(
    matrix: Callable[..., np.ndarray],
    dialect: str,
    options: str,
    own: str,
    shortcut: bool,
    norm: str,
    exact: bool,
) -> None:
    cfg = with_time_steps(cfg_text(f"[rnn] output=5 {options} {norm}", width=2, height=2), STEPS)
    model = random_model(cfg, dialect)
    x = random_input(model, STEPS * SEQUENCES)
    (y,) = dn.forward(model, x, exact=exact).values()
    activation = "leaky" if "leaky" in options else "tanh"
    expected = expected_of(model, x, matrix, activation, own, shortcut)
    # Some float32 sums of 12 products, each passed on through four steps.
    assert np.abs(y.reshape(expected.shape) - expected).max() <= 4e-6 * np.abs(expected).max()


def test_shapes() -> None:
    cfg = cfg_text("[rnn] output=5 hidden=7")
    assert network_of(cfg, "alexeyab").nodes[0].y == Shape(5)
    assert network_of(cfg, "hank-ai").nodes[0].y == Shape(5)
    for dialect in ("pjreddie", "pjreddie-gpu"):
        assert network_of(cfg, dialect).nodes[0].y == Shape(5, flat=True)


def test_parameters_in_the_order_of_the_file() -> None:
    cfg = cfg_text("[rnn] output=5 hidden=7 batch_normalize=1", width=2, height=2)

    def shapes(dialect: str) -> list[tuple[str, tuple[int, ...]]]:
        return [(param.name, param.shape) for param in network_of(cfg, dialect).nodes[0].params]

    def part(name: str, rows: int, columns: int) -> list[tuple[str, tuple[int, ...]]]:
        norm = [(f"{name}.{each}", (rows,)) for each in ("scales", "rolling_mean")]
        return [
            (f"{name}.biases", (rows,)),
            (f"{name}.weights", (rows, columns)),
            *norm,
            (f"{name}.rolling_variance", (rows,)),
        ]

    assert shapes("alexeyab") == [
        *part("input", 7, 12),
        *part("self", 7, 7),
        *part("output", 5, 7),
    ]
    # pjreddie's knows no `hidden`: the state is as long as the output.
    assert shapes("pjreddie") == [*part("input", 5, 12), *part("self", 5, 5), *part("output", 5, 5)]


def test_legacy_files_hold_every_matrix_transposed() -> None:
    params = network_of(cfg_text("[rnn] output=5"), "pjreddie").nodes[0].params
    transposed = [param.name for param in params if param.transposed_in_legacy]
    assert transposed == ["input.weights", "self.weights", "output.weights"]


def test_options_of_each_program(read: Callable[..., Layer]) -> None:
    assert read("[rnn]\nhidden=7\n", ALEXEYAB) == Rnn(hidden=7, flat=False)
    assert read("[rnn]\n", ALEXEYAB).hidden == 1
    for dialect in (PJREDDIE, PJREDDIE_GPU):
        assert read("[rnn]\nshortcut=1\n", dialect) == Rnn(shortcut=True)


def test_a_hidden_that_pjreddie_s_own_cfgs_have_tells_nothing() -> None:
    cfg = parse_cfg(cfg_text("[rnn] output=5 hidden=5"))
    assert detect_dialect(cfg)[0] is PJREDDIE
    logistic = parse_cfg(cfg_text("[rnn] output=5 logistic=1"))
    assert detect_dialect(logistic)[0] is ALEXEYAB


def test_cost() -> None:
    assert Rnn(output=5, hidden=7).cost((Shape(3, 2, 2),)) == Cost(2 * (7 * 12 + 7 * 7 + 5 * 7))
