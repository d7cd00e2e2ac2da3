"""Outputs are the same, whoever computes them; a head that a program does not show, we compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.run.outputs import compute_outputs
from tests.support.builders import cfg_text, random_input, random_model

CONV = "[convolutional] filters=14 size=1 activation=linear"
YOLO = "[yolo] mask=0,1 anchors=10,20,30,40 num=2 classes=2"
NET = cfg_text("[convolutional] filters=6 size=3 pad=1 batch_normalize=1", CONV, YOLO)


class Other(dn.Session):
    """A program that shows some layers, and notes what it is asked for."""

    def __init__(self, model: dn.Model, layers: tuple[int, ...]) -> None:
        self.engine, self.layers, self._model = "other 1", layers, model
        self.asked: list[Any] = []

    def forward(self, x: Any, layers: Any = "outputs") -> dict[int, np.ndarray]:
        self.asked.append(layers if isinstance(layers, str) else list(layers))
        wanted: Iterable[int] = self.layers if layers == "all" else layers
        for layer in set(wanted) - set(self.layers):
            raise dn.DarknetError(f"shows no layer {layer}")
        return dn.forward(self._model, x, wanted, exact=False)


@pytest.mark.parametrize(
    ("shown", "asked"), [((0, 1, 2), [0, 2]), ((0, 1), [0, 1])], ids=["whole", "without the head"]
)
def test_a_session_computes_what_it_shows(shown: tuple[int, ...], asked: list[int]) -> None:
    model = random_model(NET)
    x = random_input(model, 2)
    session = Other(model, shown)
    found = compute_outputs(model, x, [2, 0], session=session)
    assert list(found) == [2, 0]
    assert sorted(session.asked[0]) == asked
    for layer, y in dn.forward(model, x, [2, 0], exact=False).items():
        np.testing.assert_array_equal(found[layer], y)


def test_all_are_those_that_a_session_shows() -> None:
    model = random_model(NET)
    x = random_input(model)
    assert list(compute_outputs(model, x, "all", session=Other(model, (0, 1)))) == [0, 1]
    assert list(compute_outputs(model, x, "all")) == [0, 1, 2]
    assert list(compute_outputs(model, x, "outputs", session=Other(model, (0, 1)))) == [2]


def test_what_neither_shows_is_refused() -> None:
    model = random_model(NET)
    x = random_input(model)
    with pytest.raises(dn.DarknetError, match="shows no layer 1"):
        compute_outputs(model, x, [1], session=Other(model, (0, 2)))
    with pytest.raises(dn.DarknetError, match="shows no layer 2"):
        compute_outputs(model, x, [2], session=Other(model, (0,)))


def test_levels_are_warned_of_in_every_engine() -> None:
    model = random_model(cfg_text("[convolutional] filters=2 size=1"))
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    with pytest.warns(dn.DarknetWarning, match="levels from 0 to 255"):
        compute_outputs(model, x, "outputs", session=Other(model, (0,)))
