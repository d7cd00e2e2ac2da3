"""Batch norm by PyTorch's fused functions is what it is operator by operator."""

from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
module: Any = pytest.importorskip("darknet_bn.convert.pytorch.batch_norm")


def plain(x: Any, scales: Any, biases: Any, eps: float, inside: bool) -> Any:
    """As it is written in the programs."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    column = (-1, *[1] * (x.dim() - 2))
    count = x.numel() // x.shape[1]
    mean = x.mean(axes)
    d = x - mean.reshape(column)
    variance = (d * d).sum(axes) / (count - 1)
    sigma = torch.sqrt(variance + eps) if inside else torch.sqrt(variance) + eps
    y = d * (scales / sigma).reshape(column) + biases.reshape(column)
    return y, mean, variance


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("shape", [(6, 5, 7, 3), (3, 5, 1, 1), (9, 5)], ids=str)
def test_values_gradients_and_statistics(shape: tuple[int, ...], inside: bool) -> None:
    torch.manual_seed(0)
    # Channels that spread as eps does, much less, and much more, far from zero.
    spread = torch.tensor([1, 1e-3, 1e-6, 1e-8, 1e3], dtype=torch.float64)
    spread = spread.reshape(-1, *[1] * (len(shape) - 2))
    x = (torch.randn(shape, dtype=torch.float64) * spread + 5 * spread).requires_grad_()
    scales = torch.randn(5, dtype=torch.float64).requires_grad_()
    biases = torch.randn(5, dtype=torch.float64).requires_grad_()
    rolling = [torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)]
    options = {"eps": 1e-6, "inside": inside}
    y = module.batch_norm(x, scales, biases, *rolling, training=True, keep=0.9, **options)
    expected, mean, variance = plain(x, scales, biases, **options)
    cotangent = torch.randn(shape, dtype=torch.float64)
    found = torch.autograd.grad(y, [x, scales, biases], cotangent)
    others = torch.autograd.grad(expected, [x, scales, biases], cotangent)
    for mine, other in zip([y, *found], [expected, *others], strict=True):
        mine, other = (each.transpose(0, 1) if each.dim() > 1 else each for each in (mine, other))
        for channel in range(5):
            atol = 1e-9 * float(other[channel].detach().abs().max())
            torch.testing.assert_close(mine[channel], other[channel], rtol=0, atol=atol)
    torch.testing.assert_close(rolling, [0.1 * mean, 0.9 + 0.1 * variance])


def test_memory_that_is_not_contiguous() -> None:
    x = torch.randn(4, 6, 5, 3, dtype=torch.float64)
    made = []
    for each in (x, x.to(memory_format=torch.channels_last), x.permute(3, 1, 2, 0)):
        leaf = each.clone(memory_format=torch.preserve_format).requires_grad_()
        zeros, ones = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
        y = module.batch_norm(
            leaf, ones, zeros, zeros.clone(), ones.clone(),
            training=True, keep=0.9, eps=1e-6, inside=False,
        )  # fmt: skip
        y.pow(3).sum().backward()
        made.append((y, leaf.grad))
    torch.testing.assert_close(made[1], made[0])
    torch.testing.assert_close(made[2], tuple(each.permute(3, 1, 2, 0) for each in made[0]))


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_mixed_precision(inside: bool) -> None:
    """As autocast gives it: images of a narrow type, and parameters of float32."""
    x = torch.randn(8, 4, 5, 5)
    zeros, ones = torch.zeros(4), torch.ones(4)
    made = []
    for each in (x, x.bfloat16()):
        scales = ones.clone().requires_grad_()
        y = module.batch_norm(
            each, scales, zeros, zeros.clone(), ones.clone(),
            training=True, keep=0.9, eps=1e-6, inside=inside,
        )  # fmt: skip
        assert y.dtype == each.dtype
        y.float().square().sum().backward()
        made.append((y.detach().float(), scales.grad))
    torch.testing.assert_close(made[1][0], made[0][0], rtol=0, atol=0.05)  # 8 bits of values to 4
    torch.testing.assert_close(made[1][1], made[0][1], rtol=0.01, atol=0)
