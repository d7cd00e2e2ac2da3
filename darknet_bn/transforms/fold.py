"""Fold batch norm into the weights in front of it: a model to a model that computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, FoldError
from darknet_bn.layers.norm import Norm
from darknet_bn.layers.parameters import Affine, Params
from darknet_bn.layers.shape import resolve
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import release
from darknet_bn.run.plan import Plan
from darknet_bn.run.rounding import FLOAT32, rounding, two_other_ways
from darknet_bn.values import brief_fields

_FACTORS = ("rolling_variance", "scales", "rolling_mean")
_CHECK_STEPS = 2  # the second reads what the first has left
_CHECK_SIZE = 64  # pixels: enough for every weight to count, small enough to take no time
_PRECISION = replace(FLOAT32, least=1e-4)


@dataclass(frozen=True)
class FoldedLayer:
    """What becomes of the batch norm of one layer.

    Attributes
    ----------
    layer, section : int, str
        Where it stands.
    into : int or None
        The layer whose weights take it up; None where it stays.
    reason : str or None
        Why it stays.
    """

    layer: int
    section: str
    into: int | None
    reason: str | None = None

    __repr__ = brief_fields


def fold_report(model: Model) -> tuple[FoldedLayer, ...]:
    """Tell what `fold_batchnorm` does with every batch norm of a model, and why some stay."""
    network = model.network
    rows: list[FoldedLayer] = []
    into: dict[int, int] = {}  # layers of nothing but batch norm, and what takes them up
    for index, node in enumerate(network.nodes):
        kind = node.layer.norm.batch_norm
        if kind is None:
            continue
        if kind == "inside":
            target, reason = node.owner, _reason_inside(network, node.owner)
        else:
            source = node.sources[0]
            target = into.get(source, source)
            reason = _reason_alone(network, index, source, target)
            if reason is None:
                into[index] = target
        name = node.layer.names[0]
        rows.append(FoldedLayer(index, name, None if reason else target, reason))
    return tuple(rows)


def fold_batchnorm(model: Model) -> Model:
    """Fold every batch norm that can be into the weights in front of it.

    Parameters
    ----------
    model : Model

    Returns
    -------
    folded : Model
        Computes the same with the same dialect.  Its cfg differs in the lines that turn batch
        norm off; a section of ``[batchnorm]`` that a layer takes up is gone, and references behind
        it are renumbered.

    Raises
    ------
    FoldError
        A variance makes the divisor zero or NaN.

    Notes
    -----
    C: ``denormalize_net`` in ``examples/darknet.c`` of pjreddie's Darknet, ``fuse_conv_batchnorm``
    in ``src/network.c`` of AlexeyAB's.  Here the factors are computed in float64 with the sigma
    of the model's dialect, and every weight is rounded once.
    """
    rows = [row for row in fold_report(model) if row.into is not None]
    affines: dict[int, dict[str, Affine]] = {}
    for row in rows:
        if row.into is not None and model.network.nodes[row.layer].owner == row.layer:
            chained = affines.setdefault(row.into, {})
            for prefix, affine in _finite_affines(model, row).items():
                before = chained.get(prefix)
                chained[prefix] = _behind(before, affine) if before else affine
    params: list[Params] = list(model.params)
    for target, chained in affines.items():
        params[target] = model.network.nodes[target].layer.norm.absorb(params[target], chained)
        for array in params[target].values():
            array.flags.writeable = False
        release(model.params)
    gone = _gone(model)
    edits = {
        (row.layer + 1, key): value
        for row in rows
        if row.layer not in gone
        for key, value in _norm(model, row).edits_without_batch_norm().items()
        if model.cfg.sections[row.layer + 1].find(key) is not None
    }
    edits |= _renumbered(model, gone)
    cfg = model.cfg.edited(edits).without_sections({index + 1 for index in gone})
    network = build_network(cfg, model.dialect, model.network.files)
    kept = [params[node.owner] for i, node in enumerate(model.network.nodes) if i not in gone]
    return replace(
        model,
        cfg=cfg,
        network=network,
        params=tuple(kept),
        header=model.header.modern(),
        loaded=model.loaded - sum(index < model.loaded for index in gone),
    )


@dataclass(frozen=True)
class Agreement:
    """How far a layer of the folded model is from the original's.

    Attributes
    ----------
    layer, folded_layer : int
        Its number before and after.
    error, largest : float
        The largest absolute difference, and the largest absolute value.
    rounding : float or None
        What rounding alone makes in the original, as a part of the largest value; None if the error
        is so small that nobody has to know.
    """

    layer: int
    folded_layer: int
    error: float
    largest: float
    rounding: float | None = None

    __repr__ = brief_fields

    @property
    def relative(self) -> float:
        """The error as a part of the largest value."""
        return self.error / (self.largest or 1.0)

    @property
    def allowed(self) -> float:
        """What ``relative`` may be at most, unless somebody asks for another tolerance."""
        return _PRECISION.allowance(self.rounding or 0.0)


def check_fold(
    model: Model,
    folded: Model,
    seed: int = 0,
    *,
    after_layer: Callable[[], None] | None = None,
) -> tuple[Agreement, ...]:
    """Run a model and its folded form on the same seeded random image, and compare every layer.

    Where layers are recurrent it is a sequence of two images.

    The original runs batch norm as Darknet does, behind the weights.  Where the layers allow any
    image size, a small one is taken: every weight counts all the same.

    Parameters
    ----------
    model, folded : Model
    seed : int
    after_layer : function, optional
        Called behind every layer of both models; to show progress.

    Returns
    -------
    agreements : tuple of Agreement
        One for each layer that both have.
    """
    model, folded = _small(model), _small(folded)
    network = model.network
    x = np.random.default_rng(seed).random((network.time_steps, *network.input.dims), np.float32)
    gone = _gone(model)
    numbers = {
        index: _number_without(gone, index)
        for index in range(len(model.network.nodes))
        if index + 1 not in gone
    }

    def step() -> None:
        release(model.params)
        if after_layer is not None:
            after_layer()

    before = Plan(model, exact=True, keeps=False).run(x, tuple(numbers), step)
    after = Plan(folded, exact=True, keeps=False).run(x, tuple(numbers.values()), step)
    found = [_agreement(old, new, before[old], after[new]) for old, new in numbers.items()]
    unlike = [each.layer for each in found if not each.relative <= each.allowed]
    ways = two_other_ways(model, x, unlike) if unlike else ()
    for at, each in enumerate(found):
        if each.layer in unlike:
            others = [way[each.layer] for way in ways]
            part = rounding(before[each.layer], others, each.largest or 1.0)
            found[at] = replace(each, rounding=part)
    return tuple(found)


def _agreement(layer: int, folded_layer: int, before: F32, after: F32) -> Agreement:
    with np.errstate(invalid="ignore"):
        error = np.abs(before - after)
    # The same infinity, or NaN in both, is agreement; NaN against anything else is not.
    error[(before == after) | (np.isnan(before) & np.isnan(after))] = 0
    error[np.isnan(error)] = np.inf
    largest = np.abs(before[np.isfinite(before)]).max(initial=0)
    return Agreement(layer, folded_layer, float(error.max(initial=0)), float(largest))


def _reason_inside(network: Network, owner: int) -> str | None:
    """Say why the batch norm of a layer, and of all that share its weights, stays."""
    for index, node in enumerate(network.nodes):
        if node.owner != owner:
            continue
        if node.layer.norm.batch_norm is None:
            return f"layer {index} shares the weights without batch norm"
        reason = node.layer.norm.why_not_foldable()
        if reason:
            return reason if index == owner else f"layer {index} shares the weights: {reason}"
    return None


def _reason_alone(network: Network, index: int, source: int, target: int) -> str | None:
    if source < 0:
        return "it stands first: there are no weights in front of it"
    node, norm = network.nodes[target], network.nodes[target].layer.norm
    own = network.nodes[index].layer.norm.why_not_foldable() or norm.why_not_foldable()
    if own:
        return own
    if not norm.is_linear:
        return f"layer {target} has no weights that could take it up as they are"
    if sum(each.owner == node.owner for each in network.nodes) > 1:
        return f"layer {target} shares its weights"
    readers = [i for i, each in enumerate(network.nodes) if source in each.sources and i != index]
    if readers:
        return f"layer {readers[0]} too reads layer {source}"
    return None


def _finite_affines(model: Model, row: FoldedLayer) -> Mapping[str, Affine]:
    p = model.params[row.layer]
    affines = _norm(model, row).affines(p, model.dialect)
    for prefix, affine in affines.items():
        with np.errstate(over="ignore"):  # what float32 cannot hold is not finite either
            factors = np.array([affine.scale, affine.shift], np.float32)
        bad = np.flatnonzero(~np.isfinite(factors).all(axis=0))
        if bad.size:
            values = [f"{prefix}{name} {p[prefix + name][bad[0]]:g}" for name in _FACTORS]
            channels = ", ".join(str(each) for each in bad[:8]) + (" …" if bad.size > 8 else "")
            raise FoldError(
                f"the statistics give no finite factor for {bad.size} channels ({channels})",
                where=model.cfg.where(row.layer + 1),
                expected=f"a variance that {model.dialect.name} can divide by",
                found=", ".join(values),
            )
    return affines


def _norm(model: Model, row: FoldedLayer) -> Norm:
    return model.network.nodes[row.layer].layer.norm


def _behind(first: Affine, second: Affine) -> Affine:
    """Return the one scale and shift that do what two do, one behind the other."""
    return Affine(second.scale * first.scale, second.scale * first.shift + second.shift)


def _gone(model: Model) -> frozenset[int]:
    """Return the layers that another takes up whole."""
    return frozenset(
        row.layer
        for row in fold_report(model)
        if row.into is not None and _norm(model, row).batch_norm == "alone"
    )


def _number_without(gone: frozenset[int], index: int) -> int:
    """Return the new number of a layer when some go; of one that goes, its taker's."""
    return index - sum(each <= index for each in gone)


def _renumbered(model: Model, gone: frozenset[int]) -> dict[tuple[int, str], str | None]:
    """Return the references that have to change when some layers go."""
    edits: dict[tuple[int, str], str | None] = {}
    for index, node in enumerate(model.network.nodes):
        if index in gone:
            continue
        for key in node.layer.reference_keys():
            old = node.layer.references(key)
            new = []
            for each in old:
                target = _number_without(gone, resolve(each, index))
                new.append(target - _number_without(gone, index) if each < 0 else target)
            if tuple(new) != old:
                edits[index + 1, key] = ",".join(str(each) for each in new)
    return edits


def _small(model: Model) -> Model:
    """Return the model for a small image where its layers allow that, and for few time steps."""
    if model.network.recurrent:
        model = model.with_time_steps(_CHECK_STEPS)
    shape = model.network.input
    if shape.flat or min(shape.h, shape.w) <= _CHECK_SIZE or shape.h % 32 or shape.w % 32:
        return model
    try:
        return model.resized(_CHECK_SIZE, _CHECK_SIZE)
    except DarknetError:
        return model
