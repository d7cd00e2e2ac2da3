"""Layers in nets give in LiteRT what they give here."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.tflite.lower import TABLE
from darknet_bn.kernels.activations import ACTIVATIONS
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.nets import AB, NETS, REFUSED_NETS, case_model, conv

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6


def assert_agrees(model: dn.Model) -> None:
    session = dn.open_session(model, "litert")
    x = random_input(model, 2 * model.network.time_steps)
    for layers in ("outputs", "all"):
        expected = dn.forward(model, x, layers)
        found = session.forward(x, layers)
        assert found
        if layers == "outputs":
            assert found.keys() == expected.keys()
        for layer, y in found.items():
            largest = np.abs(expected[layer]).max()
            difference = np.abs(y - expected[layer]).max()
            assert difference <= TOLERANCE * largest, (layer, difference, largest)


@pytest.mark.parametrize("name", NETS)
def test_litert_computes_what_the_layers_do(name: str) -> None:
    assert_agrees(case_model(name))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    assert_agrees(
        random_model(cfg_text(conv(f"activation={activation} size=3 pad=1 batch_normalize=1")))
    )


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"stair"}))  # it jumps
def test_every_activation_for_large_values(activation: str) -> None:
    cfg = cfg_text(f"[convolutional] filters=2 size=1 activation={activation}", channels=1)
    model = dn.load(cfg, None, dialect=AB)
    params = {"weights": np.full((2, 1, 1, 1), 100, np.float32), "biases": np.zeros(2, np.float32)}
    model.params[0].update(params)  # type: ignore[attr-defined]
    assert_agrees(model)


@pytest.mark.parametrize("reason", REFUSED_NETS)
def test_what_operators_do_not_express_is_refused_by_layer(reason: str) -> None:
    with pytest.raises(dn.ExportError, match=reason) as caught:
        dn.open_session(random_model(cfg_text(*REFUSED_NETS[reason])), "litert")
    assert caught.value.where.layer == len(REFUSED_NETS[reason]) - 1


def test_an_operator_without_a_form_is_refused_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLE, "MaxPool")
    with pytest.raises(dn.ExportError, match="operator MaxPool cannot be exported") as caught:
        dn.open_session(random_model(cfg_text(conv("size=1"), "[maxpool] size=2")), "litert")
    assert (caught.value.where.layer, caught.value.where.section) == (1, "maxpool")
