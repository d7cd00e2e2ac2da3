"""What the steps of a layer call, in PyTorch.  Importing this imports PyTorch.

Each function takes and gives tensors of any device and of any floating type.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from darknet_bn.convert.pytorch.batch_norm import batch_norm
from darknet_bn.optional import load_extra

torch: Any = load_extra("torch")
F: Any = torch.nn.functional

Tensor: TypeAlias = Any


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
    if around is not None and not _unreached(x, around, **options):
        x = F.pad(x, around, value=float("-inf"))
    return F.max_pool2d(x, **options)


def _unreached(
    x: Tensor, around: Sequence[int], *, kernel_size: Sequence[int], stride: Sequence[int]
) -> bool:
    """Whether no window reaches what is put around; of a traced net that is not known."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    left, right, top, bottom = around
    axes = zip(x.shape[2:], (bottom, right), kernel_size, stride, strict=True)
    return not (left or top) and all(
        size >= window and (size + after - window) // step == (size - window) // step
        for size, after, window, step in axes
    )


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
