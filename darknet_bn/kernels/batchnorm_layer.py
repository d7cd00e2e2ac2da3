"""Batch normalisation, forward and backward.  C: ``src/batchnorm_layer.c``.

The layer functions are the C ones step by step.  They take some filters at a time, so that what
one step leaves is still in the cache for the next, and share these blocks among threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import DarknetError, ShapeError
from darknet_bn.kernels.blas import (
    as_in_c,
    axpy_cpu,
    channel_dot,
    channel_sum,
    expect,
    mean_cpu,
    normalize_cpu,
    per_channel,
    scal_cpu,
    scratch_like,
    sizes,
    tiles,
    variance_cpu,
)
from darknet_bn.kernels.convolutional_layer import add_bias, backward_bias, scale_bias
from darknet_bn.workers import workers

_DELTA_EPS = np.float32(1e-5)  # of mean_delta_cpu and variance_delta_cpu, in every Darknet
_BLOCK_BYTES = 1 << 20  # of one array at a time; measured
_SERIAL_BYTES = 1 << 18  # below, waking a thread costs more than it saves; measured


@dataclass(frozen=True)
class BatchNormSaved:
    """What a training pass keeps for the way back.

    Attributes
    ----------
    x, x_norm : float32 arrays, shaped like the input
        The input, and the normalised input before scales and biases.
    mean, variance : float32 arrays (f,)
        Of this batch.
    """

    x: F32
    x_norm: F32
    mean: F32
    variance: F32


@dataclass(frozen=True)
class BatchNormForward:
    """What a forward pass gives.

    Attributes
    ----------
    y : float32 array, shaped like the input
    saved : BatchNormSaved or None
        None in inference.
    rolling_mean, rolling_variance : float32 arrays (f,)
        The new averages; in inference the old ones.
    """

    y: F32
    saved: BatchNormSaved | None
    rolling_mean: F32
    rolling_variance: F32


@dataclass(frozen=True)
class BatchNormBackward:
    """What a backward pass gives; all of it minus the gradient of the loss.

    Attributes
    ----------
    delta_x : float32 array, shaped like the input
    bias_updates, scale_updates : float32 arrays (f,)
        Those handed over plus this pass.
    mean_delta, variance_delta : float32 arrays (f,)
    """

    delta_x: F32
    bias_updates: F32
    scale_updates: F32
    mean_delta: F32
    variance_delta: F32


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
    with as_in_c():
        total = channel_dot(x_norm, delta)
        expect("scale_updates", scale_updates, total.shape)
        return np.add(scale_updates, total.astype(delta.dtype), out=out)


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
    with as_in_c():
        slope = -1.0 / np.sqrt((variance + _DELTA_EPS).astype(np.float64))
        return (channel_sum(delta) * slope).astype(delta.dtype)


def variance_delta_cpu(x: F32, delta: F32, mean: F32, variance: F32) -> F32:
    """Delta of each filter's variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    delta : float32 array (n, f, s)
        In front of the scales, that is multiplied by them.
    mean, variance : float32 arrays (f,)

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
    expect("mean", mean, (f,))
    expect("variance", variance, (f,))
    total = np.zeros(f)
    with as_in_c():
        for tile in tiles(x):
            d = scratch_like(x[tile])
            np.subtract(x[tile], per_channel("mean", mean[tile[1]], d), out=d)
            total[tile[1]] += channel_dot(delta[tile], d)
        slope = -0.5 * (variance + _DELTA_EPS).astype(np.float64) ** -1.5
        return (total * slope).astype(x.dtype)


def normalize_delta_cpu(
    x: F32,
    mean: F32,
    variance: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta: F32,
    dialect: Dialect,
    out: F32 | None = None,
) -> F32:
    """Delta of the input of `normalize_cpu`.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean, variance, mean_delta, variance_delta : float32 arrays (f,)
    delta : float32 array (n, f, s)
        In front of the scales, that is multiplied by them.
    dialect : Dialect
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
    expect("delta", delta, x.shape)
    expect("variance", variance, (f,))
    expect("mean_delta", mean_delta, (f,))
    expect("variance_delta", variance_delta, (f,))
    if out is None:
        out = np.empty_like(delta)
    count = n * s
    with as_in_c():
        slope = variance_delta.astype(np.float64) * 2.0 / count
        shift = mean_delta / x.dtype.type(count)
        sigma = dialect.delta_sigma(variance)
        for tile in tiles(x):
            filters = tile[1]
            d = scratch_like(x[tile])
            np.subtract(x[tile], per_channel("mean", mean[filters], d), out=d)
            np.multiply(d, per_channel("variance_delta", slope[filters], d), out=d)
            np.add(d, per_channel("mean_delta", shift[filters], d), out=d)
            part = out[tile]
            np.divide(delta[tile], per_channel("variance", sigma[filters], d), out=part)
            np.add(part, d, out=part)
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


def forward_batchnorm_layer(
    x: F32,
    p: Mapping[str, F32],
    *,
    train: bool,
    dialect: Dialect,
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
    dialect : Dialect
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
    xs = _by_filter(x)
    n, f, s = xs.shape
    for name in ("scales", "biases", "rolling_mean", "rolling_variance"):
        expect(name, p[name], (f,))
    y, ys = _output(x, out)
    scales, biases = p["scales"], p["biases"]
    if not train:

        def infer(tile: tuple[slice, slice]) -> None:
            filters, part = tile[1], ys[tile]
            mean, variance = p["rolling_mean"][filters], p["rolling_variance"][filters]
            normalize_cpu(xs[tile], mean, variance, dialect, out=part)
            scale_bias(part, scales[filters], out=part)
            add_bias(part, biases[filters], out=part)

        _share(infer, list(tiles(xs)), xs)
        return BatchNormForward(y, None, p["rolling_mean"], p["rolling_variance"])

    if np.may_share_memory(x, y):
        raise DarknetError("training cannot overwrite its input", hint="backward needs x")
    x_norm = np.empty((n, f, s), x.dtype)
    mean, variance = np.empty((2, f), x.dtype)

    def normalise(filters: slice) -> None:
        xb, nb, yb = xs[:, filters], x_norm[:, filters], ys[:, filters]
        mean[filters] = mean_cpu(xb)
        variance[filters] = variance_cpu(xb, mean[filters])
        normalize_cpu(xb, mean[filters], variance[filters], dialect, out=nb)
        scale_bias(nb, scales[filters], out=yb)
        add_bias(yb, biases[filters], out=yb)

    _share(normalise, _blocks(xs), xs)
    keep = dialect.rolling_keep if rolling_keep is None else rolling_keep
    return BatchNormForward(
        y,
        BatchNormSaved(x, x_norm.reshape(x.shape), mean, variance),
        axpy_cpu(1 - keep, mean, 1, scal_cpu(keep, p["rolling_mean"], 1), 1),
        axpy_cpu(1 - keep, variance, 1, scal_cpu(keep, p["rolling_variance"], 1), 1),
    )


def backward_batchnorm_layer(
    delta_y: F32,
    p: Mapping[str, F32],
    saved: BatchNormSaved | None,
    *,
    train: bool = True,
    dialect: Dialect,
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
        What the training pass kept.  For an inference pass, its ``x`` and the ``x_norm`` that
        the last training pass left, where C reads it.
    train : bool
        Whether the statistics are those of the batch, or the rolling ones.
    dialect : Dialect
        Says where eps enters, and whether the biases are trained here.
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
    deltas, x, x_norm = _by_filter(delta_y), _by_filter(saved.x), _by_filter(saved.x_norm)
    expect("x", x, deltas.shape)
    expect("x_norm", x_norm, deltas.shape)
    f = deltas.shape[1]
    mean, variance = saved.mean, saved.variance
    if not train:
        mean, variance = p["rolling_mean"], p["rolling_variance"]
    before = [
        np.zeros(f, deltas.dtype) if updates is None else updates
        for updates in (bias_updates, scale_updates)
    ]
    for name, values in (
        ("scales", p["scales"]),
        ("mean", mean),
        ("variance", variance),
        ("bias_updates", before[0]),
        ("scale_updates", before[1]),
    ):
        expect(name, values, (f,))
    delta_x, outs = _output(delta_y, out)
    after = [updates.copy() for updates in before]
    mean_delta, variance_delta = np.empty((2, f), deltas.dtype)

    def back(filters: slice) -> None:
        xb, delta, ob = x[:, filters], deltas[:, filters], outs[:, filters]
        mb, vb = mean[filters], variance[filters]
        if dialect.batch_norm_trains_biases:
            backward_bias(before[0][filters], delta, out=after[0][filters])
        backward_scale_cpu(x_norm[:, filters], delta, before[1][filters], out=after[1][filters])
        scale_bias(delta, p["scales"][filters], out=ob)
        mean_delta[filters] = mean_delta_cpu(ob, vb)
        variance_delta[filters] = variance_delta_cpu(xb, ob, mb, vb)
        md, vd = mean_delta[filters], variance_delta[filters]
        normalize_delta_cpu(xb, mb, vb, md, vd, ob, dialect, out=ob)

    _share(back, _blocks(deltas), deltas)
    return BatchNormBackward(delta_x, after[0], after[1], mean_delta, variance_delta)


def _by_filter(x: F32) -> F32:
    """View activations of any rank as (n, f, s)."""
    if x.ndim < 2:
        raise ShapeError(
            "activations have two axes or more", expected="(n, f, ...)", found=str(x.shape)
        )
    n, f = x.shape[:2]
    return x.reshape(n, f, int(np.prod(x.shape[2:])))


def _output(x: F32, out: F32 | None) -> tuple[F32, F32]:
    """Return ``out`` or a new array like ``x``, and its view as (n, f, s)."""
    if out is None:
        out = np.empty(x.shape, x.dtype)
    expect("out", out, x.shape)
    view = _by_filter(out)
    if not np.may_share_memory(view, out):
        raise ShapeError("the pixels of out must lie one behind the other")
    return out, view


def _blocks(x: F32) -> list[slice]:
    """Cut the filters of (n, f, s) into blocks of about equal size."""
    f = x.shape[1]
    if x.nbytes < _SERIAL_BYTES:
        return [slice(0, f)]
    threads = workers().count
    rounds = -(-x.nbytes // (threads * _BLOCK_BYTES))
    count = min(f, threads * rounds)
    edges = [f * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _share(
    task: Callable[..., None], parts: list[slice] | list[tuple[slice, slice]], x: F32
) -> None:
    """Share the parts of ``x`` among the threads."""
    with workers().hold_blas():
        workers().run(task, parts)
