"""Darknet's batch norm in PyTorch's functions.  Importing this imports PyTorch."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from darknet_bn.errors import TrainingError
from darknet_bn.optional import load_extra

torch: Any = load_extra("torch")
F: Any = torch.nn.functional

Tensor: TypeAlias = Any

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


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
    everywhere: bool = False,
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
    everywhere : bool
        Whether the statistics of training are those of all processes of ``torch.distributed``,
        each of which has as many values.

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
    if training and everywhere:
        return _of_all(
            x, scales, biases, rolling_mean, rolling_variance, keep=keep, eps=eps, inside=inside
        )
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
    kind = torch.promote_types(x.dtype, torch.float32)
    wide, gain, shift = x.to(kind), scales.to(kind), biases.to(kind)
    mean, variance = rolling_mean.to(kind), rolling_variance.to(kind)
    if not training:
        return _normalised(wide, mean, variance, gain, shift, eps).to(x.dtype)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        y = _OutsideOnCpu.apply(wide, gain, shift, mean, variance, keep, eps)
    else:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        spread, centre = torch.var_mean(wide, axes, correction=1)
        y = _normalised(wide, centre, spread, gain, shift, eps)
        with torch.no_grad():
            mean.mul_(keep).add_(centre, alpha=1 - keep)
            variance.mul_(keep).add_(spread, alpha=1 - keep)
    if mean is not rolling_mean:  # of a narrow type
        rolling_mean.copy_(mean)
        rolling_variance.copy_(variance)
    return y.to(x.dtype)


def _of_all(
    x: Tensor,
    scales: Tensor,
    biases: Tensor,
    rolling_mean: Tensor,
    rolling_variance: Tensor,
    *,
    keep: float,
    eps: float,
    inside: bool,
) -> Tensor:
    """Normalise with the statistics of all processes, whose variance is divided by count - 1."""
    kind = torch.promote_types(x.dtype, torch.float32)
    wide, axes = x.to(kind), [axis for axis in range(x.dim()) if axis != 1]
    column = (-1, *[1] * (x.dim() - 2))
    count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
    mean = _SumOfAll.apply(wide.sum(axes)) / count
    apart = wide - mean.reshape(column)
    variance = _SumOfAll.apply((apart * apart).sum(axes)) / (count - 1)
    sigma = torch.sqrt(variance + eps) if inside else _root(variance) + eps
    gain = scales.to(kind) / sigma
    y = torch.addcmul(biases.to(kind).reshape(column), apart, gain.reshape(column))
    with torch.no_grad():
        for rolling, new in ((rolling_mean, mean), (rolling_variance, variance)):
            rolling.copy_(rolling.to(kind) * keep + new * (1 - keep))
    return y.to(x.dtype)


class _SumOfAll(torch.autograd.Function):  # type: ignore[misc]  # it is Any here
    """The sum over all processes; all that they compute of it goes back to each."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Return the sum."""
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, delta: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        total = delta.clone()
        torch.distributed.all_reduce(total)
        return total


class _OutsideOnCpu(torch.autograd.Function):  # type: ignore[misc]  # it is Any here
    """What `_normalised` computes of statistics of its own, three times as fast.

    PyTorch's functions for the forward and the backward pass have eps inside the root.  The former
    takes any variance, and the latter any reciprocal r of the deviation: it gives
    ``scale r (delta - mean(delta) - d r^2 mean(delta d))`` with d = x - mean.  Here
    ``scale g (delta - mean(delta) - d g/(k s) mean(delta d))`` is asked for, with the deviation s
    and g = 1/(s + eps): so r is sqrt(g/(k s)), and the scale is that times g/r.
    """

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        scales: Tensor,
        biases: Tensor,
        rolling_mean: Tensor,
        rolling_variance: Tensor,
        keep: float,
        eps: float,
    ) -> Tensor:
        """Normalise, and bring the rolling statistics up to date."""
        mean, biased = torch.ops.aten.batch_norm_update_stats(
            x, rolling_mean, rolling_variance, 1 - keep
        )
        count = x.numel() // x.shape[1]
        context.k = (count - 1) / count
        root = torch.sqrt(biased / context.k)
        sigma = root + eps
        context.save_for_backward(x, scales, mean, root, sigma)
        return F.batch_norm(x, mean, sigma * sigma, scales, biases, eps=0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, delta: Tensor) -> tuple[Any, ...]:
        """Return the gradients."""
        x, scales, mean, root, sigma = context.saved_tensors
        spread = (root + (root == 0)) * context.k  # where all are alike, d is 0 and any r serves
        reciprocal = torch.rsqrt(spread * sigma)
        ratio = 1 / (sigma * reciprocal)
        of_x, of_scales, of_biases = torch.ops.aten.native_batch_norm_backward(
            delta, x, scales * ratio, None, None, mean, reciprocal, True, 0.0, [True] * 3
        )
        return of_x, of_scales * ratio, of_biases, None, None, None, None


def _normalised(
    x: Tensor, mean: Tensor, variance: Tensor, scales: Tensor, biases: Tensor, eps: float
) -> Tensor:
    """Normalise, with eps outside the root."""
    column = (-1, *[1] * (x.dim() - 2))
    gain = scales / (_root(variance) + eps)
    return torch.addcmul(biases.reshape(column), x - mean.reshape(column), gain.reshape(column))


def _root(variance: Tensor) -> Tensor:
    """Return the root, which has the slope 0 at 0; subnormal numbers are 0, as in C."""
    nothing = variance.abs() < _SMALLEST_NORMAL
    zero = torch.zeros_like(variance)
    return torch.where(nothing, zero, torch.sqrt(torch.where(nothing, zero + 1, variance)))
