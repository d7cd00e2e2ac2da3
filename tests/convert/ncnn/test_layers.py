"""The contract of every layer in ncnn: it computes what the layer does."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.ncnn.build import lower
from darknet_bn.convert.ncnn.operators import OPERATORS
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.dims import _RULES
from darknet_bn.graph.graph import Value
from darknet_bn.graph.steps import apart
from darknet_bn.kernels.activations import ACTIVATIONS
from darknet_bn.layers import LAYERS
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.examples import EXAMPLES, Example, LayerRun, cases
from tests.support.ncnn import run_net
from tests.support.nets import AB, NETS, REFUSED_NETS, case_model, conv
from tests.support.paths import PROJECT

pytest.importorskip("ncnn", reason="ncnn is not installed")

# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.  ncnn's
# functions for several values at once are polynomials: its sigmoid is 4e-6 off.
TOLERANCE = 1e-5


class InNcnn:
    """The layer of an example in ncnn, with nothing around it."""

    def __init__(self, run: LayerRun) -> None:
        self.run = run
        steps = run.example.time_steps
        graph = GraphBuilder(18, run.dialect, time_steps=steps)
        self.values = [Value(f"x{number}") for number in range(len(run.xs))]
        with graph.layer("layer_000", 0, run.p):
            y = run.layer.onnx(graph, self.values, run.sources, run.p)
            if y in self.values:
                y = graph.add("Identity", y)
        graph.names[y] = "layer_000"
        graph.inputs.extend(self.values)
        graph.outputs = [y]
        single, self.parts = apart(graph, steps)
        dims = {
            each: (1, *source.dims)
            for value, source in zip(self.values, run.sources, strict=True)
            for each in self.parts[value]
        }
        self.images = self.parts[graph.images]
        dims |= dict.fromkeys(self.images, (1, 1, 8, 8))
        self.net = lower(single, dims).net
        self.names = [single.name(each) for each in self.parts[y]]

    def __call__(self) -> np.ndarray:
        """The outputs for each image of the batch."""
        example = self.run.example
        sequences = example.batch // example.time_steps
        rows = []
        for number in range(example.batch):
            time, sequence = divmod(number, sequences)
            given = {
                each.name: x[at * sequences + sequence]
                for value, x in zip(self.values, self.run.xs, strict=True)
                for at, each in enumerate(self.parts[value])
            }
            given |= {each.name: np.zeros((1, 8, 8), np.float32) for each in self.images}
            name = self.names[time if len(self.names) > 1 else 0]
            rows.append(run_net(self.net, given, [name])[name].ravel())
        return np.stack(rows)


@pytest.mark.parametrize(("example", "dialect"), cases(DIALECTS))
def test_every_layer_is_expressed(example: Example, dialect: Dialect) -> None:
    run = LayerRun(example, dialect)
    if example.refused:
        with pytest.raises(dn.ExportError, match=example.refused):
            InNcnn(run)
        return
    found, expected = InNcnn(run)(), run()
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    assert difference <= TOLERANCE * np.abs(expected).max()


def test_all_operators_have_a_form() -> None:
    refused = {"GatherND"}  # of what non-maximum suppression chose
    assert set(_RULES) - set(OPERATORS) == refused | {"Expand"}  # of constants alone


def test_all_kinds_are_among_the_examples() -> None:
    kinds = {type(example.layer(DIALECTS[example.dialects[0]])) for example in EXAMPLES}
    assert kinds == set(LAYERS.values())


def test_the_guide_says_what_each_kind_becomes() -> None:
    made: dict[str, set[str]] = {}
    for example in EXAMPLES:
        kind = example.text.split()[0]
        for dialect in example.dialects:
            if example.refused:
                continue
            net = InNcnn(LayerRun(example, DIALECTS[dialect])).net
            kinds = {layer.kind for layer in net.layers} - {"Input", "Split"}
            made.setdefault(kind, set()).update(kinds)
    rows = [f"| `{kind}` | {_listed(made[kind])} |" for kind in sorted(made, key=str.lower)]
    text = (PROJECT / "docs/guides/ncnn.md").read_text(encoding="utf-8")
    table = text.partition("| section | layers of ncnn |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows


def _listed(kinds: set[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in sorted(kinds)) or "none"


def agrees(model: dn.Model) -> None:
    """Every layer of a model agrees, for two sequences."""
    session = dn.open_session(model, "ncnn")
    assert set(session.layers) >= set(model.network.outputs)
    x = random_input(model, 2 * model.network.time_steps)
    found, expected = session.forward(x, "all"), dn.forward(model, x, "all")
    for layer, y in found.items():
        largest = np.abs(expected[layer]).max()
        assert np.abs(y - expected[layer]).max() <= TOLERANCE * largest, layer


@pytest.mark.parametrize("name", NETS)
def test_layers_agree_where_they_share_and_pass_on(name: str) -> None:
    agrees(case_model(name))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    agrees(random_model(cfg_text(conv(f"activation={activation} size=3 pad=1 batch_normalize=1"))))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_for_large_values(activation: str) -> None:
    cfg = cfg_text(f"[convolutional] filters=2 size=1 activation={activation}", channels=1)
    model = dn.load(cfg, None, dialect=AB)
    params = {"weights": np.full((2, 1, 1, 1), 100, np.float32), "biases": np.zeros(2, np.float32)}
    model.params[0].update(params)  # type: ignore[attr-defined]
    agrees(model)


@pytest.mark.parametrize("stride", [2, 7, 41, 47])
def test_pixels_are_repeated_even_if_ncnn_would_take_others(stride: int) -> None:
    agrees(random_model(cfg_text(f"[upsample] stride={stride}", width=3, height=2)))


@pytest.mark.parametrize("reason", REFUSED_NETS)
def test_what_is_not_expressed_is_refused_by_layer(reason: str) -> None:
    with pytest.raises(dn.ExportError, match=reason) as caught:
        dn.open_session(random_model(cfg_text(*REFUSED_NETS[reason])), "ncnn")
    assert caught.value.where.layer == len(REFUSED_NETS[reason]) - 1
