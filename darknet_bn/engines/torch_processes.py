"""Several processes that train one model together, as ``torchrun`` starts them."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import ShapeError, TrainingError, Where, one_line
from darknet_bn.optional import load_extra
from darknet_bn.training.batch_pass import parts_of

Tensor: TypeAlias = Any

_STARTED = "TORCHELASTIC_RUN_ID"  # torchrun's, in the environment of what it starts


def process_count(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes torchrun has started, this one included."""
    return int(environment.get("WORLD_SIZE", "1")) if _STARTED in environment else 1


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process writes the files: the only one, or the first of several."""
    return process_count(environment) == 1 or environment.get("RANK", "0") == "0"


def device_of_process(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process: each of those on a machine has a GPU of its own."""
    if device == "cuda" and process_count(environment) > 1:
        return f"cuda:{environment.get('LOCAL_RANK', '0')}"
    return device


class Processes:
    """The processes of a training; alone, it does nothing.

    Parameters
    ----------
    device : torch.device
        GPUs are joined by NCCL, all else by gloo.

    Attributes
    ----------
    rank, count : int
    """

    def __init__(self, device: Any) -> None:
        self.rank, self.count = 0, 1
        self._device = device
        if process_count() == 1:
            return
        self._torch: Any = load_extra("torch")
        self._all: Any = self._torch.distributed
        if not self._all.is_initialized():
            self._all.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(self._leave)
        self.rank, self.count = self._all.get_rank(), self._all.get_world_size()
        self._wrappers: list[Any] = []

    def own(self, part: npt.NDArray[np.intp], time_steps: int) -> npt.NDArray[np.intp]:
        """Return the images of a part of a batch that this process computes.

        Raises
        ------
        ShapeError
            The part cannot be divided.
        """
        sequences = len(part) // time_steps
        if sequences % self.count:
            raise ShapeError(
                "the batch cannot be divided among the processes",
                where=Where(section="net", key="batch"),
                expected=f"subdivisions times a multiple of {self.count}",
                found=f"{sequences} in a subdivision",
            )
        own: npt.NDArray[np.intp] = part[parts_of(len(part), self.count, time_steps)[self.rank]]
        return own

    def wrapped(self, module: Any) -> Any:
        """Return a module whose gradients are the mean over all processes."""
        if self.count == 1:
            return module
        devices = [self._device] if self._device.type == "cuda" else None
        wrapper = self._torch.nn.parallel.DistributedDataParallel(
            module, device_ids=devices, forward_sync_buffers=False
        )
        self._wrappers = [wrapper]
        return wrapper

    def _leave(self) -> None:
        """End the threads that join the processes.

        A thread of theirs that lets go of a tensor while Python ends would end the program.  They
        end when nobody knows the group any more, and a wrapper does.
        """
        for wrapper in self._wrappers:
            wrapper.__dict__.clear()
        gc.collect()
        self._all.destroy_process_group()

    def alone(self, module: Any) -> AbstractContextManager[object]:
        """Within this context, gradients of a wrapped module stay in the process."""
        if self.count == 1:
            return nullcontext()
        context: AbstractContextManager[object] = module.no_sync()
        return context

    def sum(self, values: Sequence[float]) -> float:
        """Return the sum of values over all processes."""
        if self.count == 1:
            return sum(values)
        kind = self._torch.float32 if self._device.type == "mps" else self._torch.float64
        total = self._torch.tensor(sum(values), dtype=kind, device=self._device)
        self._all.all_reduce(total)
        return float(total)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Put the mean over all processes into tensors."""
        tensors = list(tensors)
        if self.count == 1 or not tensors:
            return
        flat = self._torch.cat([each.reshape(-1) for each in tensors])
        self._all.all_reduce(flat)
        flat /= self.count
        for each, mean in zip(tensors, flat.split([each.numel() for each in tensors]), strict=True):
            each.copy_(mean.reshape(each.shape))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within this context, report if another process has ended.

        Raises
        ------
        TrainingError
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1:
                raise
            raise TrainingError(
                "the processes do not reach each other any more, or one of them has failed",
                found=one_line(f"{error}"),
            ) from error
