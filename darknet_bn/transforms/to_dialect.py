"""Rewrite a model so that another Darknet computes the same with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.errors import CfgError, DarknetError, DarknetWarning, ShapeError
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import build_network
from darknet_bn.values import brief_fields

_VARIANCE = "rolling_variance"


@dataclass(frozen=True)
class RewrittenNorm:
    """What happens to one batch norm.

    Attributes
    ----------
    layer, section : int, str
    channels : int
        How many it has.
    scaled : int
        In how many of them no variance gives the old divisor, so that the scale changes too.
    largest_change : float
        How far the old file would be off in the other program: the largest relative difference of
        the two divisors.
    """

    layer: int
    section: str
    channels: int
    scaled: int
    largest_change: float

    __repr__ = brief_fields


def to_dialect(model: Model, dialect: str | Dialect) -> tuple[Model, tuple[RewrittenNorm, ...]]:
    """Return a model with which another program computes what the model does in its own.

    Parameters
    ----------
    model : Model
    dialect : str or Dialect
        The other program.

    Returns
    -------
    rewritten : Model
        With this dialect, its revision in the header, and other variances: ``sigma`` of the new
        variance in the new dialect is ``sigma`` of the old one in the old dialect.  If that would
        need a variance below 0, it becomes 0, and the scale changes too.
    rows : tuple of RewrittenNorm
        One for each batch norm.

    Raises
    ------
    DarknetError
        The other program does not know a section or an option, arranges parameters in another way,
        or a value cannot be written.

    Warns
    -----
    DarknetWarning
        The other program leaves out an option, or reads it in another way.

    Notes
    -----
    pjreddie's CPU program divides by ``sqrt(v) + 1e-6``, AlexeyAB's by ``sqrt(v + 1e-5)``.  No
    other difference between programs is evened out: if an option means something else in the other
    one, outputs differ, as comparing them shows.
    """
    target = dialect_named(dialect)
    try:
        network = build_network(model.cfg, target, model.network.files)
    except (CfgError, ShapeError) as error:
        error.hint = f"{target.name} reads the cfg in another way"
        raise
    for oddity in network.oddities:
        if oddity not in model.network.oddities:
            warnings.warn(oddity, DarknetWarning, stacklevel=2)
    params: list[Params] = list(model.params)
    rows: list[RewrittenNorm] = []
    for index, (old, new) in enumerate(zip(model.network.nodes, network.nodes, strict=True)):
        if (old.y.c, old.y.h, old.y.w) != (new.y.c, new.y.h, new.y.w):
            raise DarknetError(
                f"the output of the layer has another shape in {target.name}",
                where=model.cfg.where(index + 1),
                expected=f"{old.y}",
                found=f"{new.y}",
            )
        shapes = [{each.name: each.shape for each in node.params} for node in (old, new)]
        if shapes[0] != shapes[1] or old.owner != new.owner:
            raise DarknetError(
                f"{target.name} arranges the parameters of the layer in another way",
                where=model.cfg.where(index + 1),
            )
        if old.owner != index:
            params[index] = params[old.owner]
            continue
        _require_stored(model, network.nodes[index].params, index, target)
        changed: dict[str, F32] = {}
        scaled, largest, channels = 0, 0.0, 0
        for name, variance in model.params[index].items():
            if name.rpartition(".")[2] != _VARIANCE:
                continue
            prefix = name.removesuffix(_VARIANCE)
            scales = model.params[index][f"{prefix}scales"]
            found = _rewritten(variance, scales, model.dialect, target)
            changed |= {name: found[0], f"{prefix}scales": found[1]}
            scaled += int(np.count_nonzero(found[1] != scales))
            channels += len(variance)
            largest = max(largest, found[2])
        if changed:
            if not all(np.isfinite(array).all() for array in changed.values()):
                raise DarknetError(
                    "the statistics do not give finite values for the other program",
                    where=model.cfg.where(index + 1),
                    hint="darknet-bn check shows whether variances are negative, NaN or infinite",
                )
            params[index] = {**model.params[index], **changed}
            rows.append(RewrittenNorm(index, old.layer.names[0], channels, scaled, largest))
    header = replace(model.header.modern(), revision=target.weights_revision)
    rewritten = replace(
        model,
        network=network,
        params=tuple(params),
        header=header,
        dialect=target,
        reason="rewritten for it",
        oddities=(*model.cfg.oddities, *network.oddities),
    )
    return rewritten, tuple(rows)


def _require_stored(model: Model, params: tuple[object, ...], index: int, target: Dialect) -> None:
    """Refuse values for which the files of the other program have no place."""
    for param in model.network.nodes[index].params:
        new = next(each for each in params if getattr(each, "name", None) == param.name)
        array = model.params[index][param.name]
        if not getattr(new, "stored", True) and np.any(array != param.init):
            raise DarknetError(
                f"a file of {target.name} has no place for the {param.name} of the layer",
                where=model.cfg.where(index + 1),
                hint="darknet-bn fold puts them into other weights first",
            )


def _rewritten(variance: F32, scales: F32, old: Dialect, new: Dialect) -> tuple[F32, F32, float]:
    """Return variance and scales for the other dialect, and by how much its divisor is off now."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sigma = old.sigma(variance.astype(np.float64))
        now = new.sigma(variance.astype(np.float64))
        eps = float(np.float32(new.eps))
        if new.eps_inside_sqrt:
            wanted = sigma**2 - eps
        else:
            wanted = np.where(sigma >= eps, (sigma - eps) ** 2, -1.0)
        if (old.eps, old.eps_inside_sqrt) == (new.eps, new.eps_inside_sqrt):
            return variance, scales, 0.0
        reachable = wanted >= 0
        variances = np.where(reachable, wanted, 0.0).astype(np.float32)
        got = new.sigma(variances.astype(np.float64))
        factors = np.where(reachable, 1.0, got / sigma)
        factors[np.isnan(sigma)] = np.nan
        adjusted = (scales * factors).astype(np.float32)
        off = np.abs(now / sigma - 1)
    for array in (variances, adjusted):
        array.flags.writeable = False
    return variances, adjusted, float(np.nanmax(off, initial=0.0))
