"""Arrays of a training that live on a device of PyTorch, and their update there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.layers.layer import Layer
from darknet_bn.training.update import Update

Tensor: TypeAlias = Any


class DeviceArrays(Mapping[str, F32]):
    """Tensors by name, each of which becomes an array when it is asked for.

    So nothing is copied from the device between two checkpoints.

    Parameters
    ----------
    tensors : mapping from name to tensor
        Nobody changes them any more.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self._arrays: dict[str, F32] = {}

    def __getitem__(self, name: str) -> F32:
        """Return an array, on the CPU."""
        if name not in self._arrays:
            array: F32 = self.tensors[name].detach().cpu().numpy()
            array.flags.writeable = False
            self._arrays[name] = array
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such an array, without copying it."""
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self.tensors)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.tensors)

    def __reduce__(self) -> tuple[type[dict[str, F32]], tuple[dict[str, F32]]]:
        """Return what is pickled: plain arrays."""
        return dict, ({name: array.copy() for name, array in self.items()},)


def tensor_of(torch: Any, arrays: Mapping[str, F32], name: str, device: Any) -> Tensor:
    """Return an array as a tensor on a device, which nobody may change if it was one already."""
    if isinstance(arrays, DeviceArrays):
        return arrays.tensors[name].to(device)
    return torch.tensor(arrays[name], device=device)


class Learnt(NamedTuple):
    """An array of parameters that is about to be updated.

    Attributes
    ----------
    number : int
        The layer.
    name : str
    layer : Layer
    values, gradient : tensor
        The gradient is summed over all images.
    before : tensor or None
        What momentum has kept.
    """

    number: int
    name: str
    layer: Layer
    values: Tensor
    gradient: Tensor
    before: Tensor | None


@dataclass
class UpdatedTensors:
    """What an update leaves, by layer and name.

    Attributes
    ----------
    values, kept, squares : dict from (layer, name) to tensor
    applied : dict from (layer, name) to tensor
        What the parameters were updated with, if that is wanted.
    """

    values: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    kept: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    squares: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    applied: dict[tuple[int, str], Tensor] = field(default_factory=dict)


def update_tensors(
    torch: Any,
    update: Update,
    learnt: Sequence[Learnt],
    squares: Mapping[tuple[int, str], Tensor],
    *,
    keep: bool,
) -> UpdatedTensors:
    """Update many arrays as `Update.apply` does, all that are alike in one call.

    Parameters
    ----------
    torch : module
    update : Update
    learnt : sequence of Learnt
    squares : mapping from (layer, name) to tensor
        The moments of Adam, under ``m.name`` and ``v.name``.
    keep : bool
        Whether to return what the parameters were updated with.
    """
    groups: dict[tuple[object, ...], list[Learnt]] = {}
    for each in learnt:
        layer, matrix = each.layer, is_matrix(each.name)
        early = layer.burnin_update * update.net.burn_in > update.iteration
        clip = layer.clip if matrix else None
        kind = (matrix, early, layer.train_only_bn, layer.learning_rate, clip)
        groups.setdefault((*kind, each.before is None), []).append(each)
    done = UpdatedTensors(squares=dict(squares))
    for group in groups.values():
        _update_alike(torch, update, group, done, keep)
    return done


def is_matrix(name: str) -> bool:
    """Whether an array of parameters decays."""
    return name.rpartition(".")[2] == "weights"


def _update_alike(
    torch: Any, update: Update, group: Sequence[Learnt], done: UpdatedTensors, keep: bool
) -> None:
    layer, matrix, net = group[0].layer, is_matrix(group[0].name), update.net
    places = [(each.number, each.name) for each in group]
    values = [each.values for each in group]
    gradients = [each.gradient for each in group]
    if group[0].before is None:
        sums = list(torch._foreach_neg(gradients))
    else:
        sums = list(torch._foreach_sub([each.before for each in group], gradients))
    if keep:
        done.applied.update(zip(places, (each.clone() for each in sums), strict=True))
    if layer.burnin_update * net.burn_in > update.iteration:
        done.kept.update(zip(places, sums, strict=True))
        return
    if layer.train_only_bn and matrix:
        return
    if matrix or net.adam:
        decay = _rounded(net.decay * update.images)
        torch._foreach_add_(sums, values, alpha=-decay)
    rate = update.rate * layer.learning_rate
    if net.adam:
        steps = [
            _adam(torch, update, each, place, done)
            for each, place in zip(sums, places, strict=True)
        ]
        new = torch._foreach_add(values, steps, alpha=_rounded(rate))
        kept = [torch.zeros_like(each) for each in sums]
    else:
        new = torch._foreach_add(values, sums, alpha=_rounded(rate / update.images))
        torch._foreach_mul_(sums, _rounded(net.momentum))
        kept = sums
    if layer.clip and matrix:
        torch._foreach_clamp_min_(new, -layer.clip)
        torch._foreach_clamp_max_(new, layer.clip)
    done.values.update(zip(places, new, strict=True))
    done.kept.update(zip(places, kept, strict=True))


def _adam(
    torch: Any, update: Update, total: Tensor, place: tuple[int, str], done: UpdatedTensors
) -> Tensor:
    """Return the step of one array, and bring its moments up to date."""
    b1, b2 = update.net.B1, update.net.B2
    eps = update.dialect.adam_eps if update.net.eps is None else update.net.eps
    index, name = place
    nothing = torch.zeros(())
    first, second = (done.squares.get((index, f"{kind}.{name}"), nothing) for kind in "mv")
    first = _rounded(b1) * first.to(total.device) + _rounded(1 - b1) * total
    second = _rounded(b2) * second.to(total.device) + _rounded(1 - b2) * total * total
    done.squares[index, f"m.{name}"], done.squares[index, f"v.{name}"] = first, second
    root = torch.sqrt(second / _rounded(1 - b2**update.iteration)) + _rounded(eps)
    return first / _rounded(1 - b1**update.iteration) / root


def _rounded(value: float) -> float:
    """Return the nearest number of float32, which is what our own engine multiplies with."""
    return float(np.float32(value))
