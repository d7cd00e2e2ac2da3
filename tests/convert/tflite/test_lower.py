"""The contract of every layer in TFLite: LiteRT computes what the layer does."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.build import ExportOptions, build_graph
from darknet_bn.convert.tflite.flat_model import FlatModel
from darknet_bn.convert.tflite.lower import TABLE, lowered
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.graph import dims
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from tests.support.builders import cfg_text, random_model
from tests.support.examples import Example, LayerRun, cases
from tests.support.nets import NETS, case_model
from tests.support.tflite import kinds_of, run_graph

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6
OPSET = 18


@pytest.mark.parametrize("delegates", [True, False], ids=["xnnpack", "own"])
@pytest.mark.parametrize(("example", "dialect"), cases(DIALECTS))
def test_every_layer_is_expressed(example: Example, dialect: Dialect, delegates: bool) -> None:
    run = LayerRun(example, dialect)
    graph = GraphBuilder(OPSET, dialect, time_steps=example.time_steps)
    values = [Value(f"x{number}") for number in range(len(run.xs))]
    with graph.layer("layer_000", 0, run.p):
        if example.refused:
            with pytest.raises(dn.ExportError, match=example.refused):
                run.layer.onnx(graph, values, run.sources, run.p)
            return
        y = run.layer.onnx(graph, values, run.sources, run.p)
    images = np.zeros((example.batch, 1, 8, 8), np.float32)
    given = dict(zip(values, run.xs, strict=True)) or {graph.images: images}
    graph.outputs = [y]
    found = run_graph(graph, given, y, delegates=delegates)
    expected = run()
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    assert difference <= TOLERANCE * np.abs(expected).max()


def test_there_is_a_form_for_every_operator_that_layers_use() -> None:
    """Of what has dimensions, and is not computed at once, all but what suppression needs."""
    assert set(dims._RULES) - set(TABLE) == {"GatherND"}


# -- what comes out is as small as it can be -----------------------------------------------------


def lowered_model(model: dn.Model) -> FlatModel:
    made = build_graph(model, ExportOptions(OPSET, batch=model.network.time_steps))
    inputs = {made.graph.images: (model.network.time_steps, *model.network.input.dims)}
    outputs = {made.graph.name(each): each for each in made.graph.outputs}
    return lowered(made.graph, inputs, outputs).model


BN = "[convolutional] filters=8 size=3 pad=1 batch_normalize=1"


@pytest.mark.parametrize(
    ("sections", "kinds"),
    [
        ((f"{BN} activation=relu",), ["CONV_2D"]),
        ((f"{BN} activation=relu6", f"{BN} groups=8"), ["CONV_2D", "DEPTHWISE_CONV_2D"]),
        ((f"{BN} activation=leaky",), ["CONV_2D", "LEAKY_RELU"]),
        ((f"{BN} activation=linear stride=2",), ["PAD", "CONV_2D"]),
        (
            (f"{BN} activation=linear", "[maxpool] size=2 stride=2", "[upsample] stride=2"),
            ["CONV_2D", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"],
        ),
        (("[maxpool] size=2 stride=1", "[maxpool] size=5 stride=1"), ["MAX_POOL_2D"] * 2),
        (("[maxpool] size=3 stride=2",), ["MIRROR_PAD", "MAX_POOL_2D"]),
        (
            (f"{BN} activation=linear", f"{BN} activation=linear", "[shortcut] from=-2"),
            ["CONV_2D", "CONV_2D", "ADD"],
        ),
        ((f"{BN} activation=linear", "[avgpool]", "[softmax]"), ["CONV_2D", "MEAN", "RESHAPE"]),
        ((f"{BN} activation=linear", "[connected] output=3"), ["CONV_2D", "TRANSPOSE"]),
    ],
)
def test_images_stay_as_they_are(sections: tuple[str, ...], kinds: list[str]) -> None:
    model = lowered_model(random_model(cfg_text(*sections)))
    found = [each.kind for each in model.operators]
    assert found[: len(kinds)] == kinds
    assert "TRANSPOSE" not in found[len(kinds) :]


def test_an_activation_is_no_part_of_what_is_read_elsewhere() -> None:
    linear = "[convolutional] filters=3 size=1 activation=linear"
    cfg = cfg_text(linear, "[activation] activation=relu", "[shortcut] from=0")
    model = lowered_model(random_model(cfg))
    assert kinds_of(model) == ["CONV_2D", "RELU", "ADD"]


@pytest.mark.parametrize("name", NETS)
def test_no_tensor_has_the_name_of_another(name: str) -> None:
    names = [each.name for each in lowered_model(case_model(name)).tensors()]
    assert len(set(names)) == len(names)
