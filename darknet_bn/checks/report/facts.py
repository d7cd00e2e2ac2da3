"""What the card says about a model: files, size, memory, and what each head sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from darknet_bn.formats.reading import open_file
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.reach import reach_of
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network, Node
from darknet_bn.model.summary import LayerSummary
from darknet_bn.run.order import Order
from darknet_bn.run.plan import make_schedule

_PIECE = 1 << 20

Field = tuple[float, float]  # height and width, in pixels of the input


def card_facts(model: Model, rows: tuple[LayerSummary, ...]) -> dict[str, Any]:
    """Return the facts of the card; ``docs/json.md`` describes them."""
    network, header = model.network, model.header
    schedule = make_schedule(Order(network, network.outputs), 1)
    outputs = sum(network.nodes[index].y.size for index in network.outputs)
    fields = receptive_fields(network)
    return {
        "files": {
            "cfg": _file(model.cfg.file, model.cfg.to_bytes()),
            "weights": _file(model.file, None),
        },
        "header": {"version": header.version, "bytes": header.size, "seen": header.seen},
        "dialect": model.dialect.name,
        "reason": model.reason,
        "layers_loaded": model.loaded,
        "oddities": list(model.oddities),
        "input": str(network.input),
        "parameters": network.stored_floats,
        "bflops": sum(row.bflops for row in rows),
        "memory": {
            "weights": 4 * network.stored_floats,
            "outputs": 4 * (sum(schedule.sizes) + outputs),
        },
        "outputs": [
            {
                "layer": index,
                "section": network.nodes[index].layer.names[0],
                "shape": str(network.nodes[index].y),
                "sees": fields[index],
            }
            for index in network.outputs
        ],
    }


def _file(name: str | None, content: bytes | None) -> dict[str, Any] | None:
    """Return the name, the size and the SHA-256 of a file; None if there is none."""
    if name is None:
        return None
    if content is not None:
        digest, length = hashlib.sha256(content), len(content)
    else:
        digest, length = hashlib.sha256(), 0
        with open_file(name) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                length += len(piece)
    return {"file": os.path.basename(name), "bytes": length, "sha256": digest.hexdigest()}


def receptive_fields(network: Network) -> dict[int, str]:
    """Return for each layer how much of the input one of its values depends on.

    A ``[reorg]`` is taken as what it is meant to be: blocks of pixels that become channels.

    Returns
    -------
    fields : dict from layer number to str
        ``w x h`` in pixels of the input, borders ignored; or ``all`` if it is the whole input.
    """
    known: dict[int, tuple[Field, Field] | None] = {-1: ((1.0, 1.0), (1.0, 1.0))}
    said = {}
    for index, node in enumerate(network.nodes):
        known[index] = _field(node, known)
        said[index] = _in_words(known[index], network.input)
    return said


def _in_words(field: tuple[Field, Field] | None, whole: Shape) -> str:
    if field is None:
        return "all"
    (high, wide), _ = field
    return f"{round(wide)} x {round(high)}"


def _field(
    node: Node, known: Mapping[int, tuple[Field, Field] | None]
) -> tuple[Field, Field] | None:
    """Return the extent and the step of a layer's values; None if they depend on everything."""
    inputs = [known[source] for source in node.sources]
    given = [each for each in inputs if each is not None]
    if len(given) < len(inputs) or not given:
        return None
    high = max(each[0][0] for each in given)
    wide = max(each[0][1] for each in given)
    step = given[0][1]
    if node.layer.is_alias(node.xs):
        return (high, wide), step
    reach = reach_of(node.layer, node.xs)
    if reach is None:
        return None
    high, wide = high + reach.more[0] * step[0], wide + reach.more[1] * step[1]
    return (high, wide), (step[0] * reach.step[0], step[1] * reach.step[1])
