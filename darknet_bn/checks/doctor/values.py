"""What the stored values alone say: dead, untrained and half-loaded layers, both formulas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.summary import inspect
from darknet_bn.model.weights import release

FORMULAS = 0.01  # of a layer's largest scale: a smaller difference of the formulas does not matter
_CHANCE = 4  # standard errors that the spread of initial weights may be off
_VERSIONS = ((0, 1), (0, 2))
_MANY = 32  # weights; the spread of fewer is chance


def values(model: Model) -> Iterator[Diagnosis]:
    """Yield what is unusual in the arrays of a model."""
    yield from _version(model)
    for each in inspect(model):
        yield Diagnosis(
            verdict="wrong" if each.fatal else "note",
            kind="values",
            what=each.what,
            do="get the weights again, or train again from a checkpoint before" * each.fatal,
            layer=each.layer,
            section=each.section,
        )
    untrained: list[int] = []
    owners = [
        index
        for index, node in enumerate(model.network.nodes)
        if node.owner == index and node.params
    ]
    for index in owners:
        p, section = model.params[index], model.network.nodes[index].layer.names[0]
        if _is_initial(p):
            untrained.append(index)
        else:
            yield from _of_layer(model, index, section, p)
        release(model.params)
    yield from _untrained(model, owners, untrained)


def _version(model: Model) -> Iterator[Diagnosis]:
    """Yield whether the header has a version that no Darknet writes."""
    header = model.header
    if not header.legacy and (header.major, header.minor) not in _VERSIONS:
        yield Diagnosis(
            verdict="note",
            kind="header",
            what=f"the header has version {header.major}.{header.minor}, which no Darknet writes: "
            "another program wrote the file, or it is damaged",
            do="darknet-bn edit header sets it; the version says how wide the counter after it is",
        )


def _of_layer(model: Model, index: int, section: str, p: Params) -> Iterator[Diagnosis]:
    weights, scales = p.get("weights"), p.get("scales")
    if weights is not None and not weights.any():
        yield Diagnosis(
            verdict="wrong",
            kind="weights",
            what="all weights are 0",
            do="get the weights again: this layer was never written",
            layer=index,
            section=section,
        )
    if scales is None or "rolling_variance" not in p:
        return
    dead = int(np.count_nonzero(np.abs(scales) <= 1e-6 * np.abs(scales).max(initial=0)))
    if dead:
        yield Diagnosis(
            verdict="note",
            kind="scales",
            what=f"{dead} of {scales.size} scales are 0: these channels have the same value "
            "everywhere",
            do="nothing; the layer could have fewer filters",
            layer=index,
            section=section,
            figure=dead / scales.size,
        )
    mean, variance = p["rolling_mean"], p["rolling_variance"]
    started = "what other programs start with: mean 0, variance 1"
    if not variance.any():
        started = "0: every channel is divided by next to nothing"
    if not mean.any() and ((variance == 1).all() or not variance.any()):
        yield Diagnosis(
            verdict="wrong",
            kind="statistics",
            what=f"the rolling statistics are still {started}",
            do="darknet-bn calibrate makes statistics from pictures",
            layer=index,
            section=section,
        )
    yield from _formulas(model, index, section, scales, variance)


def _formulas(
    model: Model, index: int, section: str, scales: F32, variance: F32
) -> Iterator[Diagnosis]:
    """Yield in how many channels the two formulas of batch norm differ, and by how much."""
    v = np.maximum(variance.astype(np.float64), 0)
    with np.errstate(all="ignore"):
        apart = np.abs(1 / PJREDDIE.sigma(v) - 1 / ALEXEYAB.sigma(v)) * np.sqrt(v) * np.abs(scales)
        part = np.nan_to_num(apart / np.abs(scales).max(initial=0))
    differ = int(np.count_nonzero(part > FORMULAS))
    if differ:
        yield Diagnosis(
            verdict="note",
            kind="formulas",
            what=f"the batch norms of pjreddie's and AlexeyAB's programs differ in {differ} of "
            f"{scales.size} channels, by up to {part.max():.2g} of the largest scale",
            do=f"{model.dialect.name} is used, since {model.reason}; if results are odd, "
            "try --dialect",
            layer=index,
            section=section,
            figure=float(part.max()),
        )


def _untrained(model: Model, owners: list[int], untrained: list[int]) -> Iterator[Diagnosis]:
    if not untrained:
        if not model.header.seen:
            yield Diagnosis(
                verdict="note",
                kind="header",
                what="the header says that no picture was seen, but the weights are trained: "
                "another program wrote the file, or training begins with it",
            )
        return
    if len(untrained) == len(owners):
        yield Diagnosis(
            verdict="wrong",
            kind="weights",
            what="no layer was trained: all weights look like the ones that training starts with",
            do="give the weights that training wrote",
        )
        return
    first = untrained[0]
    yield Diagnosis(
        verdict="wrong",
        kind="weights",
        what=f"{len(untrained)} of {len(owners)} layers with weights were never trained: they have "
        f"the values that training starts with (layers {_numbers(untrained)})",
        do="the file is a backbone, or was written half: get the whole one, or train",
        layer=first,
        section=model.network.nodes[first].layer.names[0],
        figure=len(untrained) / len(owners),
    )


def _numbers(layers: list[int]) -> str:
    shown = ", ".join(str(layer) for layer in layers[:5])
    return shown if len(layers) <= 5 else f"{shown} ..."


def _is_initial(p: Params) -> bool:
    """Whether a layer has Darknet's initial values: biases 0, scales 1, weights of one spread."""
    weights, biases = p.get("weights"), p.get("biases")
    if weights is None or biases is None or weights.size < _MANY or biases.any():
        return False
    if "scales" in p and (p["scales"] != 1).any():
        return False
    if "rolling_mean" in p and p["rolling_mean"].any():
        return False
    spread = float(weights.std(dtype=np.float64)) / np.sqrt(2 / weights[0].size)
    error = _CHANCE / np.sqrt(2 * weights.size)
    drawn = (1.0, 1 / np.sqrt(3))  # from a normal distribution, and a uniform one
    return any(abs(spread / each - 1) < error for each in drawn)
