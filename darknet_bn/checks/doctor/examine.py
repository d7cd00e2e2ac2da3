"""Examine a model: its values, its cfg, and what its batch norms see in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.activations import wrong_functions
from darknet_bn.checks.doctor.diagnosis import Diagnosis, Examination, SeenLayer
from darknet_bn.checks.doctor.inputs import changed, right_range, unexplained, wrong_range
from darknet_bn.checks.doctor.options import options
from darknet_bn.checks.doctor.preparation import fits, preparation
from darknet_bn.checks.doctor.seen import Seen, look, norms_of
from darknet_bn.checks.doctor.statistics import statistics
from darknet_bn.checks.doctor.values import values
from darknet_bn.model.model import Model
from darknet_bn.run.run import as_input
from darknet_bn.transforms.calibrate import Inputs

_ORDER = ("wrong", "unknown", "note")


def examine(
    model: Model,
    batches: Inputs = (),
    *,
    names: Sequence[str] | None = None,
    others: Mapping[str, Inputs] | None = None,
) -> Examination:
    """Say what is wrong with a model that loads, and detects nothing.

    Without inputs, the values and the cfg are looked at.  With inputs, what every batch norm sees
    is compared with its rolling statistics, which say what it saw in training: no labels and no
    other program are needed.  Usual mistakes are tried, and the one that explains what is seen is
    named; what so few pictures cannot tell is said to be unknown.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
        Inputs as `forward` takes them, exactly as they are given to the network in use: a list, or
        `Batches`.  Two pictures tell most faults, four nearly all.
    names : sequence of str, optional
        The names of the classes.
    others : mapping from str to such sequences, optional
        The same pictures, fitted to the input in other ways, such as ``"stretch"``.

    Returns
    -------
    examination : Examination

    Raises
    ------
    ShapeError
        An input does not fit the net.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> model = dn.load("yolov3-tiny.cfg", "yolov3-tiny.weights")  # doctest: +SKIP
    >>> x = dn.prepare(dn.load_image("dog.jpg"), model)  # doctest: +SKIP
    >>> for each in dn.examine(model, [255 * x]).findings:  # doctest: +SKIP
    ...     print(each.verdict, each.what)
    """
    static = [*values(model), *options(model, names)]
    if not len(batches):
        return Examination(_in_order(static))
    inputs = _loaded(model, batches)
    images = sum(map(len, inputs))
    if not norms_of(model.network):
        none = Diagnosis(
            verdict="unknown",
            kind="statistics",
            what="there is no batch norm with statistics: pictures tell nothing about this model",
        )
        return Examination(_in_order([*static, none]), (), images)
    seen = look(model, inputs)
    layers = tuple(_row(model, layer, each) for layer, each in seen.items())
    if any(each.verdict == "wrong" and each.kind == "values" for each in static):
        return Examination(_in_order(static), layers, images)
    found = _of_pictures(model, inputs, seen)
    if not _any_wrong(found):
        fitted = {name: _loaded(model, each) for name, each in (others or {}).items()}
        found += fits(model, inputs, fitted)
    return Examination(_in_order([*static, *found]), layers, images)


def _loaded(model: Model, batches: Inputs) -> list[F32]:
    return [as_input(model.network, batches[number]) for number in range(len(batches))]


def _of_pictures(model: Model, inputs: list[F32], seen: Mapping[int, Seen]) -> list[Diagnosis]:
    """Return what the pictures say; a wrong range is mended before anything else is looked at."""
    found: list[Diagnosis] = []
    way = right_range(model, inputs, seen)
    if way is not None:
        inputs = [changed(way, x) for x in inputs]
        before, seen = seen, look(model, inputs)
        found.append(wrong_range(model, way, before, seen))
    functions, seen = wrong_functions(model, inputs, seen)
    found += [each.diagnosis(model) for each in functions]
    found += statistics(model, seen)
    if not _any_wrong(found):
        found += unexplained(model, seen)
    if not _any_wrong(found):
        found += preparation(model, inputs)
    return found


def _any_wrong(found: Sequence[Diagnosis]) -> bool:
    return any(each.verdict == "wrong" for each in found)


def _row(model: Model, layer: int, seen: Seen) -> SeenLayer:
    shifts = np.abs(seen.shifts)
    return SeenLayer(
        layer=layer,
        section=model.network.nodes[layer].layer.names[0],
        values=seen.moments.count,
        shift=float(np.median(shifts)),
        worst_shift=float(shifts.max(initial=0)),
        divergence=seen.divergence,
    )


def _in_order(found: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.verdict)))
