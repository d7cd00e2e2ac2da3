"""What rounding makes: float64 is the truth, and every kind of layer keeps its precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.run.rounding import FLOAT16, FLOAT32, double_forward, rounding, two_other_ways
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model, with_time_steps
from tests.support.paths import FIXTURES

CASES = sorted(FIXTURES.glob("layers/*/*.npz"))
NOISE = FIXTURES / "reports" / "export-float-noise"
# They compute nothing: what comes out is what goes in, or a constant of the file.
IDLE = {"cost", "crop", "implicit", "dropout", "route", "reorg", "reorg3d", "empty", "maxpool"}


def with_weights(weights: list[float]) -> dn.Model:
    """One filter of 1 x 1 over some channels."""
    cfg = cfg_text(
        "[convolutional] filters=1 size=1 activation=linear", channels=len(weights), width=1
    )
    values = np.array([0, *weights], "<f4").tobytes()
    return dn.load(cfg, dn.Header().to_bytes() + values)


def test_sums_are_made_in_float64() -> None:
    # 2**30 + 1 - 2**30: float32 loses the 1 whatever the order, unless the large ones meet first.
    model = with_weights([2.0**30, 1, -(2.0**30)])
    x = np.ones((1, 3, 8, 1), np.float32)
    assert double_forward(model, x)[0].ravel().tolist() == [1] * 8
    model = with_weights([1, 2.0**-30])
    assert double_forward(model, x[:, :2])[0].dtype == np.float32


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_kind_of_layer_takes_float64(path: Path) -> None:
    (cfg,) = path.parent.glob("*.cfg")
    model = dn.load(cfg, cfg.with_suffix(".weights"), dialect=path.stem)
    x = dn.load_fixture(path).input(model.network.input.dims)
    exact, double = dn.forward(model, x, "all", exact=True), double_forward(model, x, "all")
    for layer, y in exact.items():
        finite = np.isfinite(y)
        assert (finite == np.isfinite(double[layer])).all()
        largest = np.abs(y[finite]).max(initial=0) or 1
        # What golden data asks of float32; and float64 must not be float32 under another name.
        np.testing.assert_allclose(
            double[layer][finite], y[finite], rtol=0, atol=1e-5 * largest, err_msg=f"layer {layer}"
        )
    kinds = {node.layer.names[0] for node in model.network.nodes} - IDLE
    if kinds:
        assert any((double[layer] != y).any() for layer, y in exact.items())


def test_layers_between_are_forgotten_only_when_nobody_reads_them() -> None:
    model = random_model(LONG_RANGE)
    x, calls = random_input(model), []
    some = double_forward(model, x, after_layer=lambda: calls.append(1))
    every = double_forward(model, x, "all")
    assert sorted(some) == list(model.network.outputs)
    assert len(calls) == len(model.network.ancestors(model.network.outputs))
    for layer, y in some.items():
        np.testing.assert_array_equal(y, every[layer])


def test_both_orders_of_float32_count() -> None:
    double = np.array([1, -2, 0, np.nan], np.float32)
    near, far = double + np.float32(1e-3), double + np.float32(5e-3)
    assert rounding(near, (far, double), 2) == pytest.approx(2.5e-3, rel=1e-4)
    assert rounding(far, (near, double), 2) == pytest.approx(2.5e-3, rel=1e-4)
    assert rounding(double, (double, double), 2) == 0
    over = np.array([np.inf, -2, 0, 0], np.float32)  # values that float32 cannot hold say nothing
    assert rounding(over, (double, double), 1) == 0


def test_the_noise_of_a_net_is_found() -> None:
    model = dn.load(NOISE / "net.cfg", NOISE / "net.weights", dialect="alexeyab")
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    exact = dn.forward(model, x, exact=True)[2]
    fast, double = two_other_ways(model, x)
    # Sums near 300 have steps of 3e-5; what is left of them after batch norm is near 1.
    assert 2e-5 < rounding(exact, (fast[2], double[2]), 1) < 2e-4


def test_what_is_allowed() -> None:
    assert FLOAT32.allowance(0) == FLOAT32.allowance(2e-6) == 1e-5
    assert FLOAT32.allowance(6e-5) == pytest.approx(2.4e-4)
    assert FLOAT32.allowance(0.3) == 1e-3
    assert FLOAT16.allowance(0) == 2e-2
    assert FLOAT16.allowance(1) == 1e-1


def test_sequences_begin_anew() -> None:
    model = random_model(with_time_steps(cfg_text("[gru] output=4", width=2, height=1), 3))
    x = random_input(model, 6)
    first = double_forward(model, x)[0]
    np.testing.assert_array_equal(double_forward(model, x)[0], first)
    np.testing.assert_allclose(dn.forward(model, x, exact=True)[0], first, atol=1e-6)
