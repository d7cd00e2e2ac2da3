"""Prove that the layers of a pruned model compute what those of the original do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.edit import Claim, require_proof, same_outputs
from darknet_bn.checks.fixture import member_name
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.model.network import Node
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.random_input import random_input, small
from darknet_bn.run.rounding import FLOAT32, rounding
from darknet_bn.run.run import forward
from darknet_bn.transforms.prune import Pruning
from darknet_bn.transforms.tied import Groups, padded_border, readers_of

_ON = "random"


def of_pruned_layers(pruning: Pruning) -> Claim:
    """Return in words what `prove_layers` shows; no outputs are compared by it."""
    words = "each layer, for what the layers before it compute without the scales"
    if pruning.at_the_border:
        words += ", away from the border where that differs"
    return Claim(words=words, layers={})


def of_pruned_outputs(pruning: Pruning) -> Claim:
    """Return what a pruned model promises if nothing differs at borders: the same outputs."""
    return same_outputs(pruning.silenced, "all outputs, as with scales of 0")


def prove_layers(pruning: Pruning, *, tolerance: float | None = None) -> Report:
    """Run each layer of the smaller model on what the original computes before it.

    The outputs of both are compared channel by channel, for a random image, which is small if the
    layers allow any size.  Layers that pad an input of which a constant channel was removed are
    compared where no padding reaches.

    Parameters
    ----------
    pruning : Pruning
    tolerance : float, optional
        The difference to allow, relative to each output's largest absolute value.  By default 1e-5,
        or four times what rounding alone makes in this layer if that is more, as in `prove_edit`.

    Returns
    -------
    report : Report

    Raises
    ------
    ProofError
        A layer computes something else.
    """
    silenced = small(pruning.silenced)
    x = random_input(silenced.network)
    outputs = {-1: x, **forward(silenced, x, "all", exact=True)}
    report = Report(
        tolerance=FLOAT32.least if tolerance is None else tolerance,
        differences=tuple(_differences(pruning, silenced, outputs, tolerance)),
        provenance={"program": "darknet-bn, layer by layer"},
        inputs={_ON: hashlib.sha256(x.data).hexdigest()},
    )
    require_proof(pruning.silenced, report, of_pruned_layers(pruning))
    return report


def _differences(
    pruning: Pruning, silenced: Model, outputs: Mapping[int, F32], tolerance: float | None
) -> Iterator[Difference]:
    model, kept = small(pruning.model), pruning.kept
    small_only = {  # windows leave the small image, but not one of the model's own size
        index
        for index, _ in readers_of(model.network)
        if any(padded_border(model.network.nodes[index]))
        and not any(padded_border(pruning.model.network.nodes[index]))
    }
    for index, node in enumerate(model.network.nodes):
        if index not in outputs:
            continue  # it only computes a loss
        xs = [np.ascontiguousarray(outputs[each][:, kept[each]]) for each in node.sources]
        y = _run(model, index, xs)
        border = index in pruning.at_the_border or index in small_only

        def compared(
            allowed: float,
            part: float | None = None,
            *,
            layer: int = index,
            pair: tuple[F32, F32] = (
                _compared(outputs[index], y.shape[1], kept[index], node if border else None),
                _compared(y, y.shape[1], kept[index], node if border else None),
            ),
            section: str = node.layer.names[0],
        ) -> Difference:
            return compare_arrays(
                member_name(layer),
                *pair,
                allowed=allowed,
                layer=layer,
                section=section,
                on=_ON,
                rounding=part,
            )

        first = compared(FLOAT32.least if tolerance is None else tolerance)
        if not first.ok and tolerance is None:
            sources = [outputs[each] for each in silenced.network.nodes[index].sources]
            ways = (
                _run(silenced, index, sources, exact=False),
                _run(silenced, index, sources, double=True),
            )
            part = rounding(outputs[index], ways, first.largest or 1.0)
            first = compared(FLOAT32.allowance(part), part)
        yield first


def _run(
    model: Model, index: int, xs: Sequence[F32], *, exact: bool = True, double: bool = False
) -> F32:
    """Run one layer, in float64 if that is wanted, and return its output in float32."""
    node = model.network.nodes[index]
    kind = np.float64 if double else np.float32
    params = {name: array.astype(kind, copy=False) for name, array in model.params[index].items()}
    context = InferenceContext(model.dialect, exact, model.network.time_steps)
    y = np.empty((len(xs[0]), *node.y.dims), kind)
    with np.errstate(all="ignore"):
        # A step also accepts float64, if all its arrays are float64.
        step = node.layer.infer(node.xs, params, context)  # type: ignore[arg-type]
        step([x.astype(kind) for x in xs], y)
    return y.astype(np.float32, copy=False)


def _compared(y: F32, channels: int, kept: Groups, border: Node | None) -> F32:
    """Return the channels of an output that are left, away from its border if there is a node."""
    left = y if y.shape[1] == channels else y[:, kept]
    return left if border is None else _inside(left, padded_border(border))


def _inside(y: F32, border: tuple[int, int]) -> F32:
    """Return the pixels that padding does not reach, which may be none."""
    down, across = border
    inner = y[:, :, down : max(down, y.shape[2] - down), across : max(across, y.shape[3] - across)]
    return np.ascontiguousarray(inner)
