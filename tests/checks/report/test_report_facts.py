"""How much of the input a value depends on, held against what a change of a pixel changes."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.report.facts import card_facts, receptive_fields
from tests.support.builders import cfg_text, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=2 size={size} stride={stride} pad=1 activation=linear"
NETS = {
    "convolutions": (CONV.format(size=3, stride=1), CONV.format(size=3, stride=2)),
    "a stride, then more": (CONV.format(size=3, stride=2), CONV.format(size=3, stride=1)),
    "pools": ("[maxpool] size=2 stride=2", CONV.format(size=3, stride=1)),
    "a pool of stride 1": ("[maxpool] size=3 stride=1", "[maxpool] size=2 stride=2"),
    "a route": (
        *(CONV.format(size=3, stride=1), CONV.format(size=5, stride=1)),
        "[route] layers=-1,0",
    ),
    "a shortcut": (
        *(CONV.format(size=3, stride=1), CONV.format(size=3, stride=1)),
        "[shortcut] from=-2 activation=linear",
    ),
    "dilation": (CONV.format(size=3, stride=1) + " dilation=2 padding=2 pad=0",),
}


def reach(model: dn.Model) -> str:
    """What a value in the middle depends on: the pixels that change it."""
    side = model.network.input.w
    rng = np.random.default_rng(0)
    x = rng.random((1, 3, side, side), np.float32)
    last = len(model.network.nodes) - 1
    before = dn.forward(model, x, [last])[last]
    _, _, h, w = before.shape
    at = np.zeros((side, side), bool)
    for row in range(side):
        for column in range(side):
            changed = x.copy()
            changed[:, :, row, column] += 10  # more than any other: a maximum moves too
            y = dn.forward(model, changed, [last])[last]
            at[row, column] = bool((y != before)[0, :, h // 2, w // 2].any())
    rows, columns = np.flatnonzero(at.any(1)), np.flatnonzero(at.any(0))
    return f"{columns[-1] - columns[0] + 1} x {rows[-1] - rows[0] + 1}"


@pytest.mark.parametrize("name", NETS)
def test_a_value_depends_on_as_many_pixels_as_are_said(name: str) -> None:
    model = random_model(cfg_text(*NETS[name], width=24, height=24))
    assert receptive_fields(model.network)[len(model.network.nodes) - 1] == reach(model)


def test_global_layers_depend_on_the_whole_input() -> None:
    model = random_model(cfg_text(CONV.format(size=3, stride=1), "[avgpool]", "[softmax]"))
    assert receptive_fields(model.network) == {0: "3 x 3", 1: "all", 2: "all"}


def test_memory_and_outputs_of_the_card() -> None:
    model = dn.load(FIXTURES / "tiny" / "tiny")
    facts = card_facts(model, dn.summarise(model.network))
    assert facts["memory"]["weights"] == 4 * model.network.stored_floats
    assert [each["layer"] for each in facts["outputs"]] == list(model.network.outputs)
    largest = max(node.y.size for node in model.network.nodes)
    every = sum(node.y.size for node in model.network.nodes)
    assert 4 * largest <= facts["memory"]["outputs"] <= 4 * every
