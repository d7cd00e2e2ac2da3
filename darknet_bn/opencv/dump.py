"""A network as a graph in the language of Graphviz's ``dot``."""

from __future__ import annotations

from collections.abc import Sequence

from darknet_bn.convert.opencv_parts import CvPart
from darknet_bn.model.network import Network
from darknet_bn.opencv.costs import costs_of


def dot(network: Network, parts: Sequence[CvPart]) -> str:
    """Return a box for each part, with name, type and the shape of its output, and all links."""
    names = ["_input", *(part.name for part in parts)]
    lines = ["digraph G {"]
    for name, part, cost in zip(names, (None, *parts), costs_of(network, parts, 1), strict=True):
        shape = " x ".join(map(str, cost.outputs[0]))
        kind = "" if part is None else f"{part.type}\\n"
        lines.append(f'\t"{name}" [label="{name}\\n{kind}output: {shape}" shape=box]')
    lines += [
        f'\t"{names[1 + source]}" -> "{part.name}"' for part in parts for source in part.inputs
    ]
    return "\n".join([*lines, "}", ""])
