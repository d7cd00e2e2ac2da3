"""``[contrastive]``: a loss of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model

CFG = cfg_text(
    "[convolutional] filters=6 size=1",
    "[yolo] classes=1",
    "[route] layers=0",
    "[contrastive] classes=1 temperature=1.0 yolo_layer=-2 cls_normalizer=1.0 max_delta=10",
)


def test_it_passes_its_input_on(run: Callable[..., np.ndarray], read: Callable[..., Layer]) -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 2, 5), dtype=np.float32)
    y = run(read("[contrastive]\nyolo_layer=-1"), x)
    np.testing.assert_array_equal(y, x.reshape(3, 40))


def test_the_embedding_in_front_of_it_is_an_output() -> None:
    model = random_model(CFG)
    assert model.network.outputs == (1, 2)
    assert model.network.nodes[3].y == Shape(6 * 64, flat=True)
    outputs = dn.forward(model, random_input(model), "all")
    np.testing.assert_array_equal(outputs[3], outputs[2].reshape(2, -1))


def test_the_head_it_names_stands_in_front_of_it() -> None:
    with pytest.raises(dn.CfgError, match="yolo_layer: the layer refers to a layer that does not"):
        network_of(CFG.replace(b"yolo_layer=-2", b"yolo_layer=4"))
