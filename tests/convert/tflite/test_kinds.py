"""The tables of the guide: what each kind of layer and each activation is in TFLite."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

import darknet_bn as dn
from darknet_bn.convert.tflite.lower import lowered
from darknet_bn.convert.tflite.quantize import QUANTISED
from darknet_bn.dialect import DIALECTS
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS
from darknet_bn.layers import KINDS, LAYERS
from tests.support.examples import EXAMPLES, Example, LayerRun, windows
from tests.support.paths import PROJECT
from tests.support.tflite import kinds_of

GUIDE = (PROJECT / "docs/guides/tflite.md").read_text(encoding="utf-8")
REFUSED = [each for each in EXAMPLES if each.refused]
PLAIN = ("linear", "leaky")  # activations that are no operators of a kind of layer


def operators_of(example: Example, dialect: str) -> set[str]:
    """What an example is in TFLite's operators."""
    run = LayerRun(example, DIALECTS[dialect])
    graph = GraphBuilder(18, run.dialect, time_steps=example.time_steps)
    values = [Value(f"x{number}") for number in range(len(run.xs))]
    with graph.layer("layer_000", 0, run.p):
        y = run.layer.onnx(graph, values, run.sources, run.p)
    graph.outputs = [y]
    given = {value: x.shape for value, x in zip(values, run.xs, strict=True)}
    given.setdefault(graph.images, (example.batch, 1, 8, 8))
    return set(kinds_of(lowered(graph, given, {"y": y}).model))


def shown(kinds: set[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in sorted(kinds))


def rows_of_sections() -> list[str]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for example in [*EXAMPLES, *windows()]:
        section = LAYERS[example.text.split()[0]].names[0]
        chosen = re.search(r"activation=(\w+)", example.text)
        is_activated = chosen is not None and chosen[1] not in PLAIN
        if not example.refused and not (
            is_activated and section in ("convolutional", "activation")
        ):
            for name in example.dialects:
                kinds[section] |= operators_of(example, name)
    return [f"| `{kind.names[0]}` | {shown(kinds[kind.names[0]])} |" for kind in KINDS]


def rows_of_activations() -> list[str]:
    rows = []
    for name in ACTIVATIONS:
        text = f"convolutional filters=3 size=1 activation={name}"
        kinds = operators_of(Example(text, batch=1), "alexeyab") - {"CONV_2D"}
        how = "yes" if kinds <= QUANTISED else "no"
        rows.append(f"| `{name}` | {shown(kinds) or 'part of the convolution'} | {how} |")
    return rows


def rows_under(heading: str) -> list[str]:
    return GUIDE.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]


def test_the_guide_tells_the_operators_of_every_kind() -> None:
    assert rows_under("section") == sorted(rows_of_sections(), key=str.lower)
    assert len(rows_under("section")) == len(KINDS)


def test_the_guide_tells_the_operators_of_every_activation() -> None:
    assert rows_under("activation") == sorted(rows_of_activations())


def test_the_guide_tells_what_runs_in_8_bits() -> None:
    part = GUIDE.partition("These run in 8 bits:")[2].partition(".")[0]
    assert " ".join(part.split()) == shown(QUANTISED)


@pytest.mark.parametrize("example", REFUSED, ids=lambda each: each.text)
def test_what_is_refused_is_listed(example: Example) -> None:
    with pytest.raises(dn.ExportError, match=example.refused):
        operators_of(example, example.dialects[0])
    assert example.refused in GUIDE
