"""``.onnx``: what `export_onnx` wrote, to the bit, or a plain graph of any program.

A file that was exported with unchanged arrays has the cfg and the header in its metadata.  For any
other graph a cfg is made, if its nodes correspond to Darknet's sections.
"""

from __future__ import annotations

import json
import os

import numpy as np

from darknet_bn.convert.container import KIND_OF, ArrayEntry, Container
from darknet_bn.convert.onnx.file import ABOUT, ARRAYS, LAYERS
from darknet_bn.convert.onnx.operators import sections_of
from darknet_bn.convert.onnx.reader import read_model
from darknet_bn.dialect import ALEXEYAB
from darknet_bn.errors import DarknetError, WeightsError, Where
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.graph.graph import Constant, Graph
from darknet_bn.model.network import build_network
from darknet_bn.model.weights import Header


def read_onnx(path: str | os.PathLike[str]) -> Container:
    """Read the arrays of a model, and the cfg that goes with them.

    Raises
    ------
    WeightsError
        It is not an ONNX file, or its graph has no equivalent in Darknet's sections.
    ExportError
        The package onnx is not installed.
    """
    graph = read_model(path)
    if ARRAYS in graph.facts:
        return _exported(graph)
    if LAYERS in graph.facts:
        raise WeightsError(
            "the file was exported with arrays that Darknet's files do not hold",
            hint="export it with batch norm folded, and not in float16",
        )
    return _plain(graph)


def _plain(graph: Graph) -> Container:
    sections, _ = sections_of(graph)
    text = sections.text()
    try:
        network = build_network(parse_cfg(text.encode()), ALEXEYAB)
    except DarknetError as error:
        raise WeightsError(f"the graph is not a Darknet network: {error}") from error
    for node, section in zip(network.nodes, sections.sections, strict=True):
        if node.y.size != section.shape.size:
            raise WeightsError(
                f"[{section.name}] gives a different size",
                where=Where(key=None if section.value is None else section.value.name),
                expected=f"{section.shape}",
                found=f"{node.y}",
            )
    arrays = {
        f"layer_{layer:03d}.{name}": array
        for layer, section in enumerate(sections.sections)
        for name, array in section.arrays.items()
    }
    metadata = {
        "cfg": text,
        "header": Header(revision=5).to_bytes().hex(),
        "dialect": ALEXEYAB.name,
        "names": "darknet",
    }
    entries = {key: _entry(array) for key, array in arrays.items()}
    return Container(entries, metadata, reason="ONNX computes batch norm this way")


def _exported(graph: Graph) -> Container:
    try:
        found = json.loads(graph.facts[ARRAYS])
        arrays = {value.name: np.asarray(value.array) for value in graph.constants}
        entries = {str(key): _entry(arrays[name]) for key, name in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise WeightsError(
            "the metadata does not say where the arrays are", where=Where(key=ARRAYS)
        ) from error
    metadata = {
        key.removeprefix(ABOUT): value
        for key, value in graph.facts.items()
        if key.startswith(ABOUT)
    }
    return Container(entries, metadata)


def _entry(array: Constant) -> ArrayEntry:
    return ArrayEntry(KIND_OF.get(array.dtype, f"{array.dtype}"), array.shape, lambda: array)
