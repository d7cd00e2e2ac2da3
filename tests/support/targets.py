"""Which tests hold what can be exported where."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from darknet_bn.layers import LAYERS
from tests.support.examples import EXAMPLES, Example
from tests.support.nets import REFUSED_NETS


@dataclass(frozen=True)
class Target:
    """A program that models are exported to, and its tests, as ``module:function``.

    Attributes
    ----------
    layers : str
        Of every `Example`, against our own layer.
    refused : str
        Of every one of `REFUSED_NETS`.
    """

    layers: str
    refused: str


TARGETS = {
    "ONNX": Target(
        "tests.layers.test_onnx:test_every_layer_is_expressed",
        "tests.layers.test_onnx:test_what_operators_do_not_express_is_refused_by_layer",
    ),
    "ncnn": Target(
        "tests.convert.ncnn.test_layers:test_every_layer_is_expressed",
        "tests.convert.ncnn.test_layers:test_what_is_not_expressed_is_refused_by_layer",
    ),
    "TFLite": Target(
        "tests.convert.tflite.test_lower:test_every_layer_is_expressed",
        "tests.convert.tflite.test_nets:test_what_operators_do_not_express_is_refused_by_layer",
    ),
    "PyTorch": Target(
        "tests.convert.pytorch.test_layers:test_every_layer_is_expressed",
        "tests.convert.pytorch.test_module:test_what_has_no_form_is_refused_by_layer",
    ),
}


def parameters_of(test: str, name: str) -> list[Any]:
    """What a test runs on: the values of one of its parameters; skips as its module does."""
    module, _, function = test.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    for mark in found.pytestmark:  # type: ignore[attr-defined]
        names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
        if name in names:
            at = names.index(name)
            return [each.values[at] if hasattr(each, "values") else each for each in mark.args[1]]
    raise LookupError(f"{test} has no parameter {name}")


def kind_of(example: Example) -> str:
    """The kind of its layer, under its first name."""
    return LAYERS[example.text.split()[0]].names[0]


def refused_kinds() -> set[str]:
    """The kinds of layers that have a form which no target expresses."""
    words = [sections[-1].split()[0].strip("[]") for sections in REFUSED_NETS.values()]
    return {LAYERS[word].names[0] for word in words} | {
        kind_of(each) for each in EXAMPLES if each.refused
    }
