"""What the steps of a layer call, in PyTorch.  Importing this imports PyTorch.

Each function takes and gives tensors of any device and of any floating type.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from darknet_bn.errors import TrainingError
from darknet_bn.optional import load_extra

torch: Any = load_extra("torch")
F: Any = torch.nn.functional

Tensor: TypeAlias = Any

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def conv(
    x: Tensor, weights: Tensor, *biases: Tensor, around: Sequence[int] | None = None, **options: Any
) -> Tensor:
    """Convolve; ``around`` are zeros to be put around the image before."""
    if around is not None:
        x = F.pad(x, around)
    return F.conv2d(x, weights, *biases, **options)


def binary_conv(x: Tensor, weights: Tensor, *biases: Tensor, training: bool, **options: Any) -> Any:
    """Convolve signs with signs times the mean magnitude of a filter; 0 counts as negative.

    In training the way back is that of the plain convolution, as in C.
    """
    mean = weights.abs().mean((1, 2, 3), keepdim=True)
    one = torch.ones_like(x)
    binary = torch.where(weights > 0, mean, -mean)
    y = conv(torch.where(x > 0, one, -one), binary, *biases, **options)
    if not training:
        return y
    plain = conv(x, weights, *biases, **options)
    return y.detach() + (plain - plain.detach())


def max_pool(x: Tensor, *, around: Sequence[int] | None = None, **options: Any) -> Tensor:
    """Return the largest value of every window."""
    if around is not None:
        x = F.pad(x, around, value=float("-inf"))
    return F.max_pool2d(x, **options)


def avg_pool_inside(x: Tensor, *, around: Sequence[int], **options: Any) -> Tensor:
    """Return the mean of what of every window lies inside the image."""
    inside = F.pad(torch.ones_like(x[:1, :1]), around)
    return F.avg_pool2d(F.pad(x, around), **options) / F.avg_pool2d(inside, **options)


def pad(x: Tensor, *, around: Sequence[int], value: float) -> Tensor:
    """Put a value around."""
    lowest = torch.finfo(x.dtype).min  # of a narrow type above that of float32
    return F.pad(x, around, value=max(value, lowest))


def selu(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """``gamma x`` above zero, ``gamma alpha (e^x - 1)`` below."""
    return F.elu(x, alpha) * gamma


def largest(*xs: Tensor) -> Tensor:
    """Return the largest of several, value by value."""
    return torch.stack(xs).max(dim=0).values


def part(x: Any, *, axis: int, start: int, stop: int, step: int) -> Any:
    """Return a part of an axis; of a shape too."""
    piece = slice(start, stop, step)
    return x[piece] if isinstance(x, tuple) else x[(slice(None),) * axis + (piece,)]


def reshape(x: Tensor, *, dims: Sequence[int]) -> Tensor:
    """Give other dimensions; 0 is what it was, -1 what is left."""
    return x.reshape([dim or x.shape[axis] for axis, dim in enumerate(dims)])


def unsqueeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    """Add axes of one value."""
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def enlarge(x: Tensor, *, down: int, across: int) -> Tensor:
    """Repeat every pixel."""
    n, c, h, w = x.shape
    repeated = x[:, :, :, None, :, None].expand(n, c, h, down, w, across)
    return repeated.reshape(n, c, h * down, w * across)


def depth_to_space(x: Tensor, *, side: int) -> Tensor:
    """Make squares of pixels of channels that lie far apart."""
    n, c, h, w = x.shape
    squares = x.reshape(n, side, side, c // side**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return squares.reshape(n, c // side**2, h * side, w * side)


def space_to_depth(x: Tensor, *, side: int) -> Tensor:
    """Make channels that lie far apart of squares of pixels."""
    n, c, h, w = x.shape
    squares = x.reshape(n, c, h // side, side, w // side, side).permute(0, 3, 5, 1, 2, 4)
    return squares.reshape(n, c * side**2, h // side, w // side)


def batch_norm(
    x: Tensor,
    scales: Tensor,
    biases: Tensor,
    rolling_mean: Tensor,
    rolling_variance: Tensor,
    *,
    training: bool,
    keep: float,
    eps: float,
    inside: bool,
) -> Tensor:
    """Normalise each channel, in training with the statistics of the batch.

    Parameters
    ----------
    x : tensor (n, c, ...)
    scales, biases, rolling_mean, rolling_variance : tensors (c,)
        In training the rolling ones are changed in place.
    training : bool
    keep : float
        Which share of the rolling statistics stays.
    eps : float
    inside : bool
        Whether ``eps`` is added before the root is taken, or after.

    Raises
    ------
    TrainingError
        In training, if there is a single value a channel.

    Notes
    -----
    Darknet divides the variance by ``count - 1`` for the normalisation too, and PyTorch by
    ``count``.  With k = (count - 1)/count, ``sqrt(v/k + eps)`` is ``sqrt(v + k eps)/sqrt(k)``: so
    PyTorch's own function does it, with another eps and other scales.
    """
    count = x.numel() // x.shape[1]
    if training and count == 1:
        raise TrainingError(
            "batch norm needs more than one value for a variance",
            hint="train with larger batches, or call eval()",
        )
    if inside and not training:
        return F.batch_norm(x, rolling_mean, rolling_variance, scales, biases, eps=eps)
    if inside:
        k = (count - 1) / count
        return F.batch_norm(
            x, rolling_mean, rolling_variance, scales * k**0.5, biases, True, 1 - keep, eps * k
        )
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    column = (-1, *[1] * (x.dim() - 2))
    mean, variance = rolling_mean.to(wide.dtype), rolling_variance.to(wide.dtype)
    if training:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = torch.var_mean(wide, axes, correction=1)
        with torch.no_grad():
            rolling_mean.mul_(keep).add_(mean.to(rolling_mean.dtype), alpha=1 - keep)
            rolling_variance.mul_(keep).add_(variance.to(rolling_mean.dtype), alpha=1 - keep)
    gain = scales.to(wide.dtype) / (_root(variance) + eps)
    centred, shift = wide - mean.reshape(column), biases.to(wide.dtype)
    return torch.addcmul(shift.reshape(column), centred, gain.reshape(column)).to(x.dtype)


def _root(variance: Tensor) -> Tensor:
    """Return the root, which has the slope 0 at 0; subnormal numbers are 0, as in C."""
    nothing = variance.abs() < _SMALLEST_NORMAL
    zero = torch.zeros_like(variance)
    return torch.where(nothing, zero, torch.sqrt(torch.where(nothing, zero + 1, variance)))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "amax": torch.amax,
    "avg_pool": F.avg_pool2d,
    "avg_pool_inside": avg_pool_inside,
    "batch_norm": batch_norm,
    "binary_conv": binary_conv,
    "chunk": torch.chunk,
    "clip": F.hardtanh,  # whose slope is 0 at both ends
    "concat": lambda *xs, dim: torch.cat(xs, dim),
    "conv": conv,
    "conv_transpose": F.conv_transpose2d,
    "depth_to_space": depth_to_space,
    "div": operator.truediv,
    "dropout": F.dropout,
    "elu": F.elu,
    "enlarge": enlarge,
    "equal": torch.eq,
    "exp": torch.exp,
    "expand": lambda x, dims: x.expand(*dims),
    "flatten": torch.flatten,
    "floor": torch.floor,
    "global_mean": lambda x: x.mean((2, 3), keepdim=True),
    "largest": largest,
    "leaky_relu": F.leaky_relu,
    "linear": F.linear,
    "longer": lambda shape, dims: (*shape, *dims),
    "matmul": torch.matmul,
    "max_pool": max_pool,
    "mish": F.mish,
    "mul": operator.mul,
    "neg": torch.neg,
    "norm": lambda x, dim, keepdim: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim),
    "pad": pad,
    "part": part,
    "permute": torch.permute,
    "pow": torch.pow,
    "relu": torch.relu,
    "reshape": reshape,
    "selu": selu,
    "shape": lambda x: tuple(x.shape),
    "sigmoid": torch.sigmoid,
    "softmax": torch.softmax,
    "space_to_depth": space_to_depth,
    "split": lambda x, sizes, dim: torch.split(x, sizes, dim),
    "sub": operator.sub,
    "sum": torch.sum,
    "sum_all": lambda *xs: sum(xs[1:], start=xs[0]),
    "tanh": torch.tanh,
    "unsqueeze": unsqueeze,
    "where": torch.where,
    "zeros_like": torch.zeros_like,
}
"""By the names that steps have for them."""

OF_MODE = frozenset({"batch_norm", "binary_conv", "dropout"})
"""Those that are told whether the net is being trained."""
