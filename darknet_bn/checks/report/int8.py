"""What 8 bits would change: the error of each layer, computed as the files for ncnn compute it.

Nothing is written, and no other program runs: convolutions and full layers see their input and
their weights in 255 steps, and everything else is float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.report.bars import Axis, Bar, bars
from darknet_bn.checks.report.markup import escaped, link, number
from darknet_bn.convert.ncnn.int8 import LARGEST, Quantized, quantized
from darknet_bn.errors import DarknetError
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.model.network import Node
from darknet_bn.model.weights import release
from darknet_bn.run.order import Order
from darknet_bn.run.random_input import random_input, small
from darknet_bn.transforms.fold import numbers_after
from darknet_bn.transforms.ranges import Clip, range_of
from darknet_bn.values import counted

CLIP: Clip = "percentile"
_AXIS = Axis(-4, 0)
_TOLD = 3  # layers that are named


def int8_facts(
    model: Model, folded: Model | None, x: F32 | None, picture: str | None
) -> dict[str, Any]:
    """Return what 8 bits change in each layer; ``docs/json.md`` describes it.

    Parameters
    ----------
    model : Model
    folded : Model or None
        The same with its batch norms folded; None if that is not possible.
    x : float32 array (1, c, h, w), or None
        A picture; without one, a small random image is used.
    picture : str or None
        Its name.
    """
    facts: dict[str, Any] = {"picture": picture, "input": None, "clip": CLIP, "layers": []}
    if folded is None:
        return facts | {"problem": "the batch norms cannot be folded"}
    if folded.network.recurrent:
        return facts | {"problem": "sequences are not computed in 8 bits"}
    if not any(_is_rounded(node) for node in folded.network.nodes):
        return facts | {"problem": "no layer has weights that 8 bits are for"}
    if x is None:
        folded = small(folded)
        x = random_input(folded.network)
    facts["input"] = str(folded.network.input)
    try:
        rows = _layers(folded, x)
    except DarknetError as error:
        return facts | {"problem": str(error)}
    numbers = {new: old for old, new in numbers_after(model).items()}
    facts["layers"] = [row | {"layer": numbers[row["layer"]]} for row in rows]
    return facts | {"problem": None}


def _is_rounded(node: Node) -> bool:
    return node.layer.channels == "weighted" and not node.layer.value("xnor")


def _layers(model: Model, x: F32) -> list[dict[str, Any]]:
    """Run a model in float32 and in 8 bits, layer by layer, and compare."""
    network = model.network
    order = Order(network, network.outputs)
    exact, rough = {-1: x}, {-1: x}
    rows = []
    for index in order.layers:
        node, root = network.nodes[index], order.roots
        if root[index] == index:
            xs, rough_xs = ([each[root[s]] for s in node.sources] for each in (exact, rough))
            y = exact[index] = _run(model, index, xs)
            steps = _steps(model, index, xs[0], node.sources[0]) if _is_rounded(node) else None
            rough[index] = _run(model, index, rough_xs, steps)
            own = None if steps is None else _error(y, _run(model, index, xs, steps))
            row = {"layer": index, "section": node.layer.names[0]}
            row |= {"numbers": "float32" if steps is None else "int8"}
            rows.append(row | {"error": _error(y, rough[index]), "own": own})
            release(model.params)
        for spent in order.spent.get(index, ()):
            exact.pop(spent, None)
            rough.pop(spent, None)
    return rows


def _steps(model: Model, index: int, x: F32, source: int) -> Quantized | None:
    """Return a layer's weights in 8 bits, and the scale of its input; None if that is always 0."""
    where = model.cfg.where(index + 1)
    # The values of a picture are few: counts tell nothing about them.
    largest = range_of(x, where).threshold("minmax" if source < 0 else CLIP)
    if not largest > 0:
        return None
    layer, weights = model.network.nodes[index].layer, model.params[index]["weights"]
    groups = int(layer.value("groups", 1) or 1)
    if not np.isfinite(weights).all():
        raise DarknetError("weights are not finite: they have no range", where=where)
    return quantized(weights, groups, np.float32(LARGEST / largest))


def _run(model: Model, index: int, xs: Sequence[F32], steps: Quantized | None = None) -> F32:
    node, p = model.network.nodes[index], model.params[index]
    if steps is not None:
        xs = [steps.seen(xs[0]), *xs[1:]]
        p = {**p, "weights": steps.restored()}
    y = np.empty((len(xs[0]), *node.y.dims), np.float32)
    with np.errstate(all="ignore"):
        node.layer.infer(node.xs, p, InferenceContext(model.dialect, exact=True))(xs, y)
    return y


def _error(expected: F32, found: F32) -> float:
    """Return the root of the mean square of the differences, relative to that of the values."""
    a: F64 = expected.astype(np.float64).reshape(-1)
    apart = a - found.reshape(-1)
    with np.errstate(all="ignore"):
        return float(np.sqrt((apart @ apart) / ((a @ a) or 1.0)))


def int8_part(facts: Mapping[str, Any]) -> str:
    """Return the part of the page."""
    if facts["problem"] is not None:
        return f"<p>Nothing to show: {escaped(facts['problem'])}.</p>"
    rows = facts["layers"]
    on = "a random image, which says less than a picture would"
    if facts["picture"] is not None:
        on = escaped(facts["picture"])
    own = [row for row in rows if row["own"] is not None]
    own.sort(key=lambda row: -np.nan_to_num(row["own"], nan=np.inf))
    worst = ", ".join(f"{link(row['layer'])} ({number(row['own'])})" for row in own[:_TOLD])
    count = sum(row["numbers"] == "int8" for row in rows)
    outputs = (
        f"<p>With the weights and the inputs of {counted(count, 'layer')} in 8 bits, how far the "
        "output of each layer is from float32: root mean square of the differences, divided by "
        f"the root mean square of the values, on {on} ({escaped(facts['input'])}). The ranges are "
        "from the same image. The mark is what the layer adds by itself, if the layers before it "
        f"are in float32; it is largest in layer {worst}. Pale bars are layers in float32.</p>"
    )
    drawn = [
        Bar(row["layer"], row["section"], row["error"], row["own"], row["numbers"] != "int8")
        for row in rows
    ]
    what = "What 8 bits change, relative to the values of the layer"
    return (
        f'{outputs}\n<div class="scroll" tabindex="0" role="region" aria-label="8 bits">'
        f"{bars(drawn, _AXIS, what)}</div>\n"
        '<p class="hint">Computed here as the files of <code>export --int8</code> for ncnn '
        "compute, without writing one. <code>quantize</code> writes an ONNX file in 8 bits and "
        "measures what it finds less; <code>--keep</code> leaves layers in float32.</p>"
    )
