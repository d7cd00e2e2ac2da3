"""Batch normalisation as a layer: parameters, forward and backward.  C: ``src/batchnorm_layer.c``.

The layer functions follow the C functions step by step.  They check their arguments, and leave the
steps to one function for each mode: inference or training (`forward`), exact or as coded
(`backward`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.batchnorm import backward, forward
from darknet_bn.kernels.batchnorm.filters import by_filter, expect, in_c, output_like
from darknet_bn.kernels.batchnorm.operands import Deltas, Normalised
from darknet_bn.kernels.batchnorm.results import BatchNormBackward, BatchNormForward, BatchNormSaved
from darknet_bn.kernels.floating import floating


def make_batchnorm_layer(f: int) -> dict[str, F32]:
    """Return the parameters of an untrained batch norm.

    Parameters
    ----------
    f : int
        Number of filters.

    Returns
    -------
    p : dict of float32 arrays (f,)
        ``scales`` 1; ``biases``, ``rolling_mean`` and ``rolling_variance`` 0.

    Notes
    -----
    C: ``make_batchnorm_layer`` in ``src/batchnorm_layer.c``.  The rolling variance does start at 0.
    pjreddie's function does not allocate the CPU buffers, so that a ``[batchnorm]`` section
    crashes; here it works.
    """
    p = {name: np.zeros(f, np.float32) for name in ("biases", "rolling_mean", "rolling_variance")}
    return {"scales": np.ones(f, np.float32), **p}


@floating
def forward_batchnorm_layer(
    x: F32,
    p: Mapping[str, F32],
    *,
    train: bool,
    dialect: Dialect | str,
    rolling_keep: float | None = None,
    out: F32 | None = None,
) -> BatchNormForward:
    """Normalise each filter, then multiply by its scale and add its bias.

    Parameters
    ----------
    x : float32 array (n, f, h, w), (n, f, s) or (n, f)
        float64 is also accepted, for gradient checks.
    p : mapping of float32 arrays (f,)
        ``scales``, ``biases``, ``rolling_mean``, ``rolling_variance``, as
        `make_batchnorm_layer` returns them.
    train : bool
        Whether to normalise with the statistics of this batch, or with the rolling statistics.
    dialect : Dialect or str
        Decides where eps enters, and how fast the rolling statistics change.
    rolling_keep : float, optional
        Share of the old rolling statistics that is kept; ``dialect.rolling_keep`` if None.
        ``[connected]`` passes ``dialect.rolling_keep_connected``.
    out : float32 array like ``x``, optional
        Receives ``y``; in inference it may be ``x``.

    Returns
    -------
    BatchNormForward

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DarknetError
        If training would overwrite ``x``, which the backward pass needs.

    Notes
    -----
    C: ``forward_batchnorm_layer`` in ``src/batchnorm_layer.c``; AlexeyAB's ``[connected]`` has
    the same steps in ``src/connected_layer.c``.
    """
    xs, dialect = by_filter(x), dialect_named(dialect)
    f = xs.shape[1]
    for name in ("scales", "biases", "rolling_mean", "rolling_variance"):
        expect(name, p[name], (f,))
    y, ys = output_like(x, out)
    if not train:
        forward.infer(xs, p, dialect, ys)
        return BatchNormForward(y, None, p["rolling_mean"], p["rolling_variance"])
    if np.may_share_memory(x, y):
        raise DarknetError("training cannot overwrite its input", hint="backward needs x")
    mean, variance = forward.train(xs, p, dialect, ys)
    keep = dialect.rolling_keep if rolling_keep is None else rolling_keep
    with in_c():
        rolling_mean = _averaged(keep, p["rolling_mean"], mean)
        rolling_variance = _averaged(keep, p["rolling_variance"], variance)
    return BatchNormForward(
        y, BatchNormSaved(x, mean, variance, dialect), rolling_mean, rolling_variance
    )


@floating
def backward_batchnorm_layer(
    delta_y: F32,
    p: Mapping[str, F32],
    saved: BatchNormSaved | None,
    *,
    train: bool = True,
    x: F32 | None = None,
    dialect: Dialect | str,
    bias_updates: F32 | None = None,
    scale_updates: F32 | None = None,
    out: F32 | None = None,
) -> BatchNormBackward:
    """Turn the delta of the output into the delta of the input, and accumulate the updates.

    Parameters
    ----------
    delta_y : float32 array, shaped like the input
    p : mapping of float32 arrays (f,)
        As in `forward_batchnorm_layer`.
    saved : BatchNormSaved
        What the last training pass kept.
    train : bool
        Whether to go backward through that pass, with the statistics of its batch; if not, through
        an inference pass, with the rolling statistics.
    x : float32 array like ``delta_y``, optional
        The input of the inference pass; ``saved.x`` if None.
    dialect : Dialect or str
        Decides where eps enters, whether the biases are trained here, and whether the gradient is
        exact.
    bias_updates, scale_updates : float32 arrays (f,), optional
        Added to; zeros if None.
    out : float32 array like ``delta_y``, optional
        Receives ``delta_x``; may be ``delta_y``.

    Returns
    -------
    BatchNormBackward

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DarknetError
        If nothing was saved.

    Notes
    -----
    C: ``backward_batchnorm_layer`` in ``src/batchnorm_layer.c``.  AlexeyAB's version does not sum
    up bias updates on the CPU (``dialect.batch_norm_trains_biases``), and has no branch for
    inference; its ``[connected]`` layer adds them up itself before the call.  The branch for
    inference is pjreddie's: it uses the formulas for statistics that depend on x, although the
    rolling statistics do not.
    """
    if saved is None:
        raise DarknetError(
            "backward needs the values saved by a training pass",
            hint="run forward with train=True first",
        )
    dialect = dialect_named(dialect)
    delta = by_filter(delta_y)
    trained = Normalised(by_filter(saved.x), saved.mean, saved.variance)
    expect("saved.x", trained.x, delta.shape)
    f = delta.shape[1]
    normalised = trained
    if not train:
        seen = trained.x if x is None else by_filter(x)
        expect("x", seen, delta.shape)
        normalised = Normalised(seen, p["rolling_mean"], p["rolling_variance"])
    expect("scales", p["scales"], (f,))
    expect("mean", normalised.mean, (f,))
    expect("variance", normalised.variance, (f,))
    delta_x, outs = output_like(delta_y, out)
    bias_updates = _copied("bias_updates", bias_updates, delta)
    scale_updates = _copied("scale_updates", scale_updates, delta)
    mean_delta, variance_delta = np.empty((2, f), delta.dtype)
    deltas = Deltas(
        delta=delta,
        scales=p["scales"],
        out=outs,
        bias_updates=bias_updates,
        scale_updates=scale_updates,
        mean_delta=mean_delta,
        variance_delta=variance_delta,
    )
    if train and dialect.exact_gradients:
        backward.exact(deltas, trained, dialect)
    else:
        backward.as_coded(deltas, normalised, trained, saved.dialect, dialect)
    return BatchNormBackward(delta_x, bias_updates, scale_updates, mean_delta, variance_delta)


def _averaged(keep: float, old: F32, new: F32) -> F32:
    """Do `scal_cpu`, then `axpy_cpu`."""
    average: F32 = old * np.float32(keep) + new * np.float32(1 - keep)
    return average


def _copied(name: str, updates: F32 | None, deltas: F32) -> F32:
    """Return a copy of the updates, or zeros if there are none."""
    f = deltas.shape[1]
    if updates is None:
        return np.zeros(f, deltas.dtype)
    expect(name, updates, (f,))
    return updates.copy()
