"""Batch norm inside another layer: its parameters, and how it is folded into the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm.batchnorm_layer import (
    backward_batchnorm_layer,
    forward_batchnorm_layer,
)
from darknet_bn.layers.norm import Norm
from darknet_bn.layers.parameters import Affine, Param, Params
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting, pieces
from darknet_bn.work.threads import workers


class Normalised(Norm):
    """A layer with weights and, with ``batch_normalize``, batch norm after them."""

    batch_normalize: int
    activation: str
    dontload: bool
    dontloadscales: bool

    @property
    def normalised(self) -> bool:
        """Whether there is batch norm."""
        return bool(self.batch_normalize)

    @property
    def batch_norm(self) -> Literal["inside", "alone"] | None:
        """Batch norm comes after the weights, if there is any."""
        return "inside" if self.normalised else None

    @property
    def is_linear(self) -> bool:
        """Whether the output of the weights does not go through an activation."""
        return self.activation == "linear"

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return the scale and shift of the batch norm."""
        return {"": rolling_affine(p, dialect)} if self.normalised else {}

    def absorb(self, p: Params, affines: Mapping[str, Affine]) -> dict[str, F32]:
        """Multiply scale and shift into weights and biases."""
        return absorbed(p, affines[""], inside=self.normalised)

    def why_not_foldable(self) -> str | None:
        """Say that statistics or weights missing from the file cannot be folded."""
        if self.dontload:
            return "dontload: the file has no weights"
        return "dontloadscales: the file has no statistics" if self.dontloadscales else None

    def edits_without_batch_norm(self) -> dict[str, str | None]:
        """Turn batch norm off."""
        return {"batch_normalize": "0"}


def batch_norm_params(filters: int, *, stored: bool, first: int | None = None) -> tuple[Param, ...]:
    """Return scales, rolling mean and rolling variance, in file order."""
    shape = (filters,)
    return (
        Param("scales", shape, init=1.0, stored=stored, first=first),
        Param("rolling_mean", shape, stored=stored, first=first),
        Param("rolling_variance", shape, stored=stored, first=first),
    )


def normalise_training(
    z: F32, p: Params, context: TrainingContext, rolling_keep: float | None = None
) -> tuple[F32, Callable[[F32], tuple[F32, dict[str, F32]]], dict[str, F32]]:
    """Normalise the output of weights with its own statistics, and prepare the backward pass.

    Parameters
    ----------
    z : float32 array (n, f, ...)
        Kept for the backward pass.
    p : mapping
    context : TrainingContext
    rolling_keep : float, optional
        As in `forward_batchnorm_layer`.

    Returns
    -------
    y : float32 array like ``z``
    back : function
        ``back(delta) -> (delta_z, updates)``, which overwrites ``delta``.
    changes : dict
        The new rolling statistics.
    """
    dialect, out = context.dialect, context.arena.empty(z.shape, z.dtype)
    done = forward_batchnorm_layer(
        z, p, train=True, dialect=dialect, rolling_keep=rolling_keep, out=out
    )

    def back(delta: F32) -> tuple[F32, dict[str, F32]]:
        given = backward_batchnorm_layer(delta, p, done.saved, dialect=dialect, out=delta)
        return given.delta_x, {"biases": given.bias_updates, "scales": given.scale_updates}

    rolling = {"rolling_mean": done.rolling_mean, "rolling_variance": done.rolling_variance}
    return done.y, back, rolling


def rolling_affine(p: Params, dialect: Dialect) -> Affine:
    """Return scale and shift of each channel in inference, in float64.

    If the dialect's sigma is zero or NaN, the scale is not finite.
    """
    sigma = dialect.sigma(p["rolling_variance"].astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = p["scales"].astype(np.float64) / sigma
        shift = p["biases"].astype(np.float64) - p["rolling_mean"].astype(np.float64) * scale
    return Affine(scale, shift)


def absorbed(p: Params, affine: Affine, *, inside: bool) -> dict[str, F32]:
    """Return weights and biases with a scale and shift for each filter multiplied in.

    Parameters
    ----------
    p : mapping
        ``weights`` (f, ...) and ``biases`` (f,).
    affine : Affine
    inside : bool
        Whether it applies to the output of the weights, with the biases included in its shift; if
        not, it applies after the biases.
    """
    shift = affine.shift if inside else affine.shift + affine.scale * p["biases"]
    return {
        "biases": shift.astype(np.float32),
        "weights": scaled_rows(p["weights"], affine.scale),
    }


def scaled_rows(weights: F32, scale: F64) -> F32:
    """Multiply every row of a matrix by a factor: in float64, with one rounding at the end.

    Parameters
    ----------
    weights : float32 array (f, ...)
    scale : float64 array (f,)

    Returns
    -------
    array like ``weights``, new
    """
    rows = weights.reshape(len(weights), -1)
    out = np.empty(rows.shape, np.float32)

    def block(part: slice) -> None:
        wide = rows[part].astype(np.float64)
        wide *= scale[part, None]
        with np.errstate(over="ignore", invalid="ignore"):
            out[part] = wide

    workers().run(block, pieces(len(rows), fitting(measured.ABSORBED, rows.shape[1])))
    return out.reshape(weights.shape)
