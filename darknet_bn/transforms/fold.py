"""Fold batch norm into the weights before it: the new model computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.errors import FoldError
from darknet_bn.layers.norm import Norm
from darknet_bn.layers.parameters import Affine, Params
from darknet_bn.layers.shape import resolve
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import release
from darknet_bn.values import brief_fields, counted

_FACTORS = ("rolling_variance", "scales", "rolling_mean")


@dataclass(frozen=True)
class FoldedLayer:
    """What happens to the batch norm of one layer.

    Attributes
    ----------
    layer, section : int, str
        Number and section of the layer.
    into : int or None
        The layer whose weights absorb it; None if it is kept.
    reason : str or None
        Why it is kept.
    """

    layer: int
    section: str
    into: int | None
    reason: str | None = None

    __repr__ = brief_fields


def fold_report(model: Model) -> tuple[FoldedLayer, ...]:
    """Return what `fold_batchnorm` does with every batch norm of a model, and why some are kept."""
    network = model.network
    rows: list[FoldedLayer] = []
    into: dict[int, int] = {}  # layers that are only batch norm, and the layers that absorb them
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
    """Fold every batch norm that can be folded into the weights before it.

    Parameters
    ----------
    model : Model

    Returns
    -------
    folded : Model
        Computes the same with the same dialect.  Its cfg differs in the lines that turn batch norm
        off; a ``[batchnorm]`` section that another layer absorbs is removed, and references to
        later layers are renumbered.

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


def numbers_after(model: Model) -> dict[int, int]:
    """Return the number of each layer after folding, by its number before.

    If layers are merged, only the last of them is listed, because the merged layer computes its
    output; the outputs of the others no longer exist.
    """
    gone = _gone(model)
    return {
        index: _number_without(gone, index)
        for index in range(len(model.network.nodes))
        if index + 1 not in gone
    }


def _reason_inside(network: Network, owner: int) -> str | None:
    """Say why the batch norm of a layer, and of all layers that share its weights, is kept."""
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
        return "it is the first layer: there are no weights before it"
    node, norm = network.nodes[target], network.nodes[target].layer.norm
    own = network.nodes[index].layer.norm.why_not_foldable() or norm.why_not_foldable()
    if own:
        return own
    if not norm.is_linear:
        return f"layer {target} has no weights that it could be folded into"
    if sum(each.owner == node.owner for each in network.nodes) > 1:
        return f"layer {target} shares its weights"
    readers = [i for i, each in enumerate(network.nodes) if source in each.sources and i != index]
    if readers:
        return f"layer {readers[0]} also reads layer {source}"
    return None


def _finite_affines(model: Model, row: FoldedLayer) -> Mapping[str, Affine]:
    p = model.params[row.layer]
    affines = _norm(model, row).affines(p, model.dialect)
    for prefix, affine in affines.items():
        with np.errstate(over="ignore"):  # a value too large for float32 is not finite either
            factors = np.array([affine.scale, affine.shift], np.float32)
        bad = np.flatnonzero(~np.isfinite(factors).all(axis=0))
        if bad.size:
            values = [f"{prefix}{name} {p[prefix + name][bad[0]]:g}" for name in _FACTORS]
            channels = ", ".join(str(each) for each in bad[:8]) + (" …" if bad.size > 8 else "")
            raise FoldError(
                f"the statistics do not give finite factors for {counted(bad.size, 'channel')} "
                f"({channels})",
                where=model.cfg.where(row.layer + 1),
                expected=f"a variance that {model.dialect.name} can divide by",
                found=", ".join(values),
            )
    return affines


def _norm(model: Model, row: FoldedLayer) -> Norm:
    return model.network.nodes[row.layer].layer.norm


def _behind(first: Affine, second: Affine) -> Affine:
    """Return the one scale and shift that do what two do, applied one after the other."""
    return Affine(second.scale * first.scale, second.scale * first.shift + second.shift)


def _gone(model: Model) -> frozenset[int]:
    """Return the layers that are absorbed by another one."""
    return frozenset(
        row.layer
        for row in fold_report(model)
        if row.into is not None and _norm(model, row).batch_norm == "alone"
    )


def _number_without(gone: frozenset[int], index: int) -> int:
    """Return a layer's new number when some are removed; for a removed one, its absorber's."""
    return index - sum(each <= index for each in gone)


def _renumbered(model: Model, gone: frozenset[int]) -> dict[tuple[int, str], str | None]:
    """Return the references that have to change when some layers are removed."""
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
