"""Batch normalisation, forward and backward.  C: ``src/batchnorm_layer.c``.

The layer functions are the C ones step by step.  They take some filters at a time, so that what
one step leaves is still in the cache for the next, and share these blocks among threads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.batchnorm.bias import add_bias, backward_bias, scale_bias
from darknet_bn.kernels.batchnorm.blas import (
    axpy_cpu,
    mean_cpu,
    normalize_cpu,
    scal_cpu,
    variance_cpu,
)
from darknet_bn.kernels.batchnorm.exact import exact_batchnorm_delta
from darknet_bn.kernels.batchnorm.filters import (
    along_filters,
    by_filter,
    centred,
    channel_dot,
    channel_sum,
    expect,
    in_c,
    output_like,
    scratch_like,
    share_filters,
    share_tiles,
    sizes,
)
from darknet_bn.kernels.batchnorm.results import BatchNormBackward, BatchNormForward, BatchNormSaved
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block

_DELTA_EPS = np.float32(1e-5)  # of mean_delta_cpu and variance_delta_cpu, in every Darknet


@floating
def backward_scale_cpu(x_norm: F32, delta: F32, scale_updates: F32, out: F32 | None = None) -> F32:
    """Add the sum of each filter's delta times x_norm to its scale update.

    Parameters
    ----------
    x_norm : float32 array (n, f, s)
        Or float64, here and below; the result is of the same type.
    delta : float32 array (n, f, s)
        Behind the scales, that is before `scale_bias` multiplies it.
    scale_updates : float32 array (f,)
    out : float32 array (f,), optional
        Where the result goes; may be ``scale_updates``.

    Returns
    -------
    scale_updates : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``backward_scale_cpu`` in ``src/batchnorm_layer.c``, which accumulates in place.
    """
    with in_c():
        total = channel_dot(x_norm, delta)
        expect("scale_updates", scale_updates, total.shape)
        return np.add(scale_updates, total.astype(delta.dtype), out=out)


@floating
def mean_delta_cpu(delta: F32, variance: F32) -> F32:
    """Delta of each filter's mean.

    Parameters
    ----------
    delta : float32 array (n, f, s)
        In front of the scales, that is multiplied by them.
    variance : float32 array (f,)

    Returns
    -------
    mean_delta : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``mean_delta_cpu`` in ``src/batchnorm_layer.c``; eps is 1e-5, inside the root, in every
    Darknet.
    """
    expect("variance", variance, delta.shape[1:2])
    with in_c():
        slope = -1.0 / np.sqrt((variance + _DELTA_EPS).astype(np.float64))
        return (channel_sum(delta) * slope).astype(delta.dtype)


@floating
def variance_delta_cpu(x: F32, delta: F32, mean: F32 | None, variance: F32) -> F32:
    """Delta of each filter's variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    delta : float32 array (n, f, s)
        In front of the scales, that is multiplied by them.
    mean, variance : float32 arrays (f,)
        The mean may be None where it has been subtracted from ``x`` already.

    Returns
    -------
    variance_delta : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``variance_delta_cpu`` in ``src/batchnorm_layer.c``; eps as in `mean_delta_cpu`.
    """
    _, f, _ = sizes(x)
    expect("delta", delta, x.shape)
    expect("variance", variance, (f,))
    total = np.zeros(f)
    with in_c():
        for tile, d in centred(x, mean):
            total[tile[1]] += channel_dot(delta[tile], d)
        slope = -0.5 * (variance + _DELTA_EPS).astype(np.float64) ** -1.5
        return (total * slope).astype(x.dtype)


@floating
def normalize_delta_cpu(
    x: F32,
    mean: F32 | None,
    variance: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta: F32,
    dialect: Dialect | str,
    out: F32 | None = None,
) -> F32:
    """Delta of the input of `normalize_cpu`.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean, variance, mean_delta, variance_delta : float32 arrays (f,)
        The mean may be None where it has been subtracted from ``x`` already.
    delta : float32 array (n, f, s)
        In front of the scales, that is multiplied by them.
    dialect : Dialect or str
        Says where eps enters the divisor of ``delta``.
    out : float32 array (n, f, s), optional
        Where the result goes; may be ``delta``.

    Returns
    -------
    delta_x : float32 array (n, f, s)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``normalize_delta_cpu`` in ``src/batchnorm_layer.c``, which overwrites ``delta``.  As
    coded there, this is not quite the gradient of the forward pass: the term of the variance is
    divided by n*s, while the variance itself has the divisor n*s - 1, and the eps differ.
    """
    n, f, s = sizes(x)
    dialect = dialect_named(dialect)
    expect("delta", delta, x.shape)
    for name, values in (("variance", variance), ("mean_delta", mean_delta)):
        expect(name, values, (f,))
    expect("variance_delta", variance_delta, (f,))
    with in_c():
        gain = 1 / dialect.delta_sigma(variance.astype(np.float64))
        slope = variance_delta.astype(np.float64) * 2.0 / (n * s)
        shift = mean_delta / x.dtype.type(n * s)
        out = along_filters(np.multiply, delta, "variance", gain, out=out)
        for tile, d in centred(x, mean):
            filters, terms = tile[1], scratch_like(d, "terms")
            along_filters(np.multiply, d, "variance_delta", slope[filters], out=terms)
            along_filters(np.add, terms, "mean_delta", shift[filters], out=terms)
            np.add(out[tile], terms, out=out[tile])
    return out


def make_batchnorm_layer(f: int) -> dict[str, F32]:
    """Return the parameters of an untrained batch norm.

    Parameters
    ----------
    f : int
        Filters.

    Returns
    -------
    p : dict of float32 arrays (f,)
        ``scales`` 1; ``biases``, ``rolling_mean`` and ``rolling_variance`` 0.

    Notes
    -----
    C: ``make_batchnorm_layer`` in ``src/batchnorm_layer.c``.  The rolling variance does start at
    0.  In pjreddie the function leaves the buffers of the CPU unallocated, so that a
    ``[batchnorm]`` section crashes; here it works.
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
        Or float64, for checks of gradients.
    p : mapping of float32 arrays (f,)
        ``scales``, ``biases``, ``rolling_mean``, ``rolling_variance``, as
        `make_batchnorm_layer` gives them.
    train : bool
        Whether to normalise with the statistics of this batch, or with the rolling ones.
    dialect : Dialect or str
        Says where eps enters, and how fast the rolling statistics follow.
    rolling_keep : float, optional
        Share of the old rolling statistics that is kept; ``dialect.rolling_keep`` if None.
        ``[connected]`` hands over ``dialect.rolling_keep_connected``.
    out : float32 array like ``x``, optional
        Where ``y`` goes; in inference it may be ``x``.

    Returns
    -------
    BatchNormForward

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DarknetError
        If training would overwrite ``x``, which the way back needs.

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
    scales, biases = p["scales"], p["biases"]
    if not train:

        def infer(tile: Block) -> None:
            filters, part = tile[1], ys[tile]
            mean, variance = p["rolling_mean"][filters], p["rolling_variance"][filters]
            normalize_cpu(xs[tile], mean, variance, dialect, out=part)
            scale_bias(part, scales[filters], out=part)
            add_bias(part, biases[filters], out=part)

        share_tiles(infer, xs)
        return BatchNormForward(y, None, p["rolling_mean"], p["rolling_variance"])

    if np.may_share_memory(x, y):
        raise DarknetError("training cannot overwrite its input", hint="backward needs x")
    mean, variance = np.empty((2, f), x.dtype)

    def normalise(filters: slice) -> None:
        xb, yb = xs[:, filters], ys[:, filters]
        mean[filters] = mean_cpu(xb)
        with in_c():  # once, for both functions that follow
            along_filters(np.subtract, xb, "mean", mean[filters], out=yb)
        variance[filters] = variance_cpu(yb, None)
        normalize_cpu(yb, None, variance[filters], dialect, out=yb)
        scale_bias(yb, scales[filters], out=yb)
        add_bias(yb, biases[filters], out=yb)

    share_filters(normalise, xs)
    keep = dialect.rolling_keep if rolling_keep is None else rolling_keep
    return BatchNormForward(
        y,
        BatchNormSaved(x, mean, variance, dialect),
        axpy_cpu(1 - keep, mean, 1, scal_cpu(keep, p["rolling_mean"], 1), 1),
        axpy_cpu(1 - keep, variance, 1, scal_cpu(keep, p["rolling_variance"], 1), 1),
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
    """Turn the delta of the output into that of the input, and accumulate the updates.

    Parameters
    ----------
    delta_y : float32 array, shaped like the input
    p : mapping of float32 arrays (f,)
        As in `forward_batchnorm_layer`.
    saved : BatchNormSaved
        What the last training pass kept.
    train : bool
        Whether that is the pass to go back through, with the statistics of its batch; else it is
        an inference pass, with the rolling ones.
    x : float32 array like ``delta_y``, optional
        The input of the inference pass; ``saved.x`` if None.
    dialect : Dialect or str
        Says where eps enters, whether the biases are trained here, and whether the gradient is to
            be exact.
    bias_updates, scale_updates : float32 arrays (f,), optional
        What to add to; zeros if None.
    out : float32 array like ``delta_y``, optional
        Where ``delta_x`` goes; may be ``delta_y``.

    Returns
    -------
    BatchNormBackward

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DarknetError
        If there is nothing saved.

    Notes
    -----
    C: ``backward_batchnorm_layer`` in ``src/batchnorm_layer.c``.  AlexeyAB's does not sum up
    bias updates on the CPU (``dialect.batch_norm_trains_biases``), and has no branch for
    inference; its ``[connected]`` adds them up by itself, before this.  The branch for inference
    is pjreddie's: it uses the formulas for statistics that depend on x, though these do not.
    """
    if saved is None:
        raise DarknetError(
            "backward needs what a training pass saved", hint="run forward with train=True first"
        )
    dialect = dialect_named(dialect)
    deltas, trained = by_filter(delta_y), by_filter(saved.x)
    expect("saved.x", trained, deltas.shape)
    f = deltas.shape[1]
    xs, mean, variance = trained, saved.mean, saved.variance
    if not train:
        xs = trained if x is None else by_filter(x)
        expect("x", xs, deltas.shape)
        mean, variance = p["rolling_mean"], p["rolling_variance"]
    scales = p["scales"]
    for name, values in (("scales", scales), ("mean", mean), ("variance", variance)):
        expect(name, values, (f,))
    delta_x, outs = output_like(delta_y, out)
    bias_updates = _copied("bias_updates", bias_updates, deltas)
    scale_updates = _copied("scale_updates", scale_updates, deltas)
    mean_delta, variance_delta = np.empty((2, f), deltas.dtype)

    def back_exactly(filters: slice) -> None:
        sums = exact_batchnorm_delta(
            trained[:, filters],
            mean[filters],
            deltas[:, filters],
            scales[filters],
            variance[filters],
            dialect,
            outs[:, filters],
        )
        bias_updates[filters] += sums.bias_updates
        scale_updates[filters] += sums.scale_updates
        mean_delta[filters], variance_delta[filters] = sums.mean_delta, sums.variance_delta

    def back(filters: slice) -> None:
        delta, ob = deltas[:, filters], outs[:, filters]
        if dialect.batch_norm_trains_biases:
            backward_bias(bias_updates[filters], delta, out=bias_updates[filters])
        d = scratch_like(ob, "centred")
        with in_c():
            along_filters(np.subtract, trained[:, filters], "mean", saved.mean[filters], out=d)
        x_norm = scratch_like(ob, "terms")
        normalize_cpu(d, None, saved.variance[filters], saved.dialect, out=x_norm)
        backward_scale_cpu(x_norm, delta, scale_updates[filters], out=scale_updates[filters])
        if not train:
            with in_c():
                along_filters(np.subtract, xs[:, filters], "mean", mean[filters], out=d)
        v = variance[filters]
        scale_bias(delta, scales[filters], out=ob)
        mean_delta[filters] = mean_delta_cpu(ob, v)
        variance_delta[filters] = variance_delta_cpu(d, ob, None, v)
        md, vd = mean_delta[filters], variance_delta[filters]
        normalize_delta_cpu(d, None, v, md, vd, ob, dialect, out=ob)

    share_filters(back_exactly if train and dialect.exact_gradients else back, deltas)
    return BatchNormBackward(delta_x, bias_updates, scale_updates, mean_delta, variance_delta)


def _copied(name: str, updates: F32 | None, deltas: F32) -> F32:
    """Return a copy of the updates, or zeros where there are none."""
    f = deltas.shape[1]
    if updates is None:
        return np.zeros(f, deltas.dtype)
    expect(name, updates, (f,))
    return updates.copy()
