"""Prove that the layers of a pruned model compute what those of the original do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.edit import Claim, require_proof, same_outputs
from darknet_bn.checks.fixture import member_name
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.random_input import random_input, small
from darknet_bn.run.rounding import FLOAT32
from darknet_bn.run.run import forward
from darknet_bn.transforms.prune import Pruning
from darknet_bn.transforms.tied import padded_border, readers_of

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
    layers allow any size.  Layers that pad an
    input of which a constant channel was removed are compared where no padding reaches.

    Parameters
    ----------
    pruning : Pruning
    tolerance : float, optional
        The difference to allow, relative to each output's largest absolute value; by default 1e-5.

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
    allowed = FLOAT32.least if tolerance is None else tolerance
    report = Report(
        tolerance=allowed,
        differences=tuple(_differences(pruning, outputs, allowed)),
        provenance={"program": "darknet-bn, layer by layer"},
        inputs={_ON: hashlib.sha256(x.data).hexdigest()},
    )
    require_proof(pruning.silenced, report, of_pruned_layers(pruning))
    return report


def _differences(pruning: Pruning, outputs: dict[int, F32], allowed: float) -> Iterator[Difference]:
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
        context = InferenceContext(model.dialect, True, model.network.time_steps)
        xs = [np.ascontiguousarray(outputs[each][:, kept[each]]) for each in node.sources]
        y = np.empty((len(xs[0]), *node.y.dims), np.float32)
        node.layer.infer(node.xs, model.params[index], context)(xs, y)
        wanted = outputs[index]
        if wanted.shape[1] != y.shape[1]:
            wanted = wanted[:, kept[index]]
        if index in pruning.at_the_border or index in small_only:
            wanted, y = (_inside(each, padded_border(node)) for each in (wanted, y))
        yield compare_arrays(
            member_name(index),
            wanted,
            y,
            allowed=allowed,
            layer=index,
            section=node.layer.names[0],
            on=_ON,
        )


def _inside(y: F32, border: tuple[int, int]) -> F32:
    """Return the pixels that padding does not reach, which may be none."""
    down, across = border
    inner = y[:, :, down : max(down, y.shape[2] - down), across : max(across, y.shape[3] - across)]
    return np.ascontiguousarray(inner)
