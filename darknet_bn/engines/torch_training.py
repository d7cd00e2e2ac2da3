"""Steps of training on PyTorch: the net runs there, its losses are computed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.pytorch.model import to_torch
from darknet_bn.engines.torch_arrays import (
    DeviceArrays,
    Learnt,
    UpdatedTensors,
    tensor_of,
    update_tensors,
)
from darknet_bn.engines.torch_processes import Processes, device_of_process
from darknet_bn.errors import DarknetError, TrainingError, one_line
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.optional import load_extra
from darknet_bn.training.batch_pass import BatchPass, parts_of, stops
from darknet_bn.training.policy import learning_rate
from darknet_bn.training.state import Arrays, TrainState
from darknet_bn.training.step import TrainStep, batch_of, require_finite, trained
from darknet_bn.training.update import Update
from darknet_bn.work.threads import workers

Tensor: TypeAlias = Any


class TorchStep:
    """Makes steps as `train_step` does, on a device of PyTorch.

    The net runs as the module of `to_torch`.  What stands after its last weights, heads and losses,
    stays here: its outputs are small.  The deltas that it gives to what it reads enter PyTorch as
    minus the gradients.  Parameters, and what momentum keeps, stay on the device; the arrays of a
    state are copied from there when somebody asks for them.

    Parameters
    ----------
    device : str
        As PyTorch calls it: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...
    sync_batch_norm : bool
        Whether batch norm has the statistics of all processes that torchrun has started, instead of
        each process its own.

    Raises
    ------
    DarknetError
        PyTorch is not installed, or has no such device.
    """

    def __init__(self, device: str = "cpu", *, sync_batch_norm: bool = False) -> None:
        self._torch: Any = load_extra("torch")
        device = device_of_process(device)
        try:
            self.device: Any = self._torch.device(device)
            self._torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise DarknetError(
                "PyTorch cannot use this device",
                expected="cpu, cuda, cuda:0, mps ...",
                found=f"{device} ({one_line(error)})",
            ) from error
        self._processes = Processes(self.device)
        self._everywhere = sync_batch_norm and self._processes.count > 1
        self._net: _Net | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        return f"<TorchStep: torch {self._torch.__version__}, {self.device}>"

    def __call__(
        self, state: TrainState, x: F32, truth: F32 | None = None, *, keep: bool = False
    ) -> tuple[TrainState, TrainStep]:
        """Train a model with one batch.

        Parameters
        ----------
        state, x, truth
            As in `train_step`.
        keep : bool
            Whether the step keeps its updates.  Outputs and deltas stay on the device.

        Raises
        ------
        ShapeError
            The batch or the truth does not fit, or the batch cannot be split.
        TrainingError
            A layer cannot be trained, or not on PyTorch.
        """
        with self._processes.together():
            return self._step(state, x, truth, keep)

    def places(self, network: Network, images: int) -> list[int] | None:
        """Return which images of a batch this process computes; None if it is alone.

        Raises
        ------
        ShapeError
            The batch cannot be divided.
        """
        if self._processes.count == 1:
            return None
        parts = parts_of(images, network.net.subdivisions, network.time_steps)
        return [int(i) for part in parts for i in self._processes.own(part, network.time_steps)]

    def _step(
        self, state: TrainState, x: F32, truth: F32 | None, keep: bool
    ) -> tuple[TrainState, TrainStep]:
        torch, network, processes = self._torch, state.model.network, self._processes
        images, given = batch_of(state.model, x, truth)
        parts = parts_of(len(images), network.net.subdivisions, network.time_steps)
        net = self._net_of(state)
        net.take(state.model.params)
        work = BatchPass(state, layers=net.last)
        for number, part in enumerate(parts, 1):
            own = processes.own(part, network.time_steps)
            seeds = [state.seed, work.seen, *[processes.rank] * (processes.count > 1)]
            # All processes together hold the sums only after the last part.
            last = number == len(parts)
            with nullcontext() if last else processes.alone(net.module):
                some = images if len(own) == len(images) else images[own]
                some = some if some.flags.writeable else some.copy()  # PyTorch wants it so
                with self._drawing(seeds) if net.draws else nullcontext():
                    y = net.module(torch.from_numpy(some).to(self.device), net.read)
                read = {index: each.detach().cpu().numpy() for index, each in y.items()}
                with workers().hold_blas(), np.errstate(all="ignore"):
                    wanted = None if given is None else given[own]
                    deltas = work.run({-1: some, **read}, wanted, len(part))
                self._go_back(y, deltas)
        return self._updated(state, net, work, len(images), keep)

    def _net_of(self, state: TrainState) -> _Net:
        """Return the module for a model; it is made anew if the net or its size is another."""
        network = state.model.network
        frozen = max(
            (i for i, node in enumerate(network.nodes) if stops(node.layer, state.iteration)),
            default=-1,
        )
        net = self._net
        if net is None or net.frozen != frozen or not _same(net.network, network):
            if state.as_coded:
                raise TrainingError(
                    "PyTorch has exact gradients",
                    found="a state with as_coded",
                    hint="engine='numpy' has the program's own backward pass",
                )
            net = _Net(state.model, frozen, self.device, everywhere=self._everywhere)
            net.module = self._processes.wrapped(net.module)
            self._net = net
        return net

    @contextmanager
    def _drawing(self, seeds: list[int]) -> Iterator[None]:
        """Let PyTorch draw what follows from seeds, and its caller what it would have drawn."""
        devices = [self.device] if self.device.type == "cuda" else []
        with self._torch.random.fork_rng(devices):
            self._torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
            yield

    def _go_back(self, y: Mapping[int, Tensor], deltas: Mapping[int, F32]) -> None:
        # The gradients of all processes become a mean, where a sum is wanted.
        torch, pairs, times = self._torch, [], np.float32(-self._processes.count)
        for index, delta in deltas.items():
            if index >= 0 and y[index].requires_grad:
                gradient = torch.from_numpy(delta * times)
                pairs.append((y[index], gradient.to(self.device)))
        if pairs:
            torch.autograd.backward(*zip(*pairs, strict=True))

    def _updated(
        self, state: TrainState, net: _Net, work: BatchPass, images: int, keep: bool
    ) -> tuple[TrainState, TrainStep]:
        model, iteration = state.model, state.iteration + 1
        rate = learning_rate(model.network.net, iteration, state.seed)
        loss = self._processes.sum(work.losses) / images
        require_finite(loss, iteration)
        update = Update(model.network.net, state.dialect, iteration, rate, images)
        squares = {
            (index, name): self._tensor(arrays, name)
            for index, arrays in enumerate(state.squares)
            for name in arrays
        }
        learnt = [
            Learnt(
                *(index, name, model.network.nodes[index].layer, tensor.detach(), tensor.grad),
                self._tensor(state.updates[index], name) if name in state.updates[index] else None,
            )
            for index, name, tensor in net.tensors
            if tensor.grad is not None
        ]
        done = update_tensors(self._torch, update, learnt, squares, keep=keep)
        if not self._everywhere:
            self._processes.average(net.statistics)
        params = net.give(done)
        after = replace(
            state,
            model=trained(model, params, work.seen),
            iteration=iteration,
            updates=_merged(state.updates, done.kept),
            squares=_merged(state.squares, done.squares),
        )
        nothing: tuple[Mapping[str, F32], ...] = tuple({} for _ in model.network.nodes)
        return after, TrainStep(loss, rate, {}, {}, _merged(nothing, done.applied))

    def _tensor(self, arrays: Arrays, name: str) -> Tensor:
        return tensor_of(self._torch, arrays, name, self.device)


class _Net:
    """A module, and where it ends.

    Attributes
    ----------
    network : Network
    frozen : int
        The last layer that nothing goes back to.
    module : DarknetModule
        Or one that wraps it.
    statistics : list of tensor
        The rolling means and variances.
    last : tuple of int
        The layers that stay here: what makes boxes, shares or losses of the outputs.
    read : tuple of int
        The layers of the module that those read.
    draws : bool
        Whether random numbers are drawn in training.
    tensors : list of (layer, name, tensor)
        The parameters and statistics of the module, each once.
    """

    def __init__(self, model: Model, frozen: int, device: Any, *, everywhere: bool) -> None:
        self._torch: Any = load_extra("torch")
        self.network, self.frozen, self._device = model.network, frozen, device
        self.last = _last_layers(model)
        needs = {source for index in self.last for source in model.network.nodes[index].sources}
        self.read = tuple(sorted(needs - {-1} - set(self.last)))
        self.module = to_torch(model).train().to(device)
        runs = model.network.ancestors(self.read)
        for layer in self.module.layers:
            layer.everywhere = everywhere
        self.draws = any(self.module.layers[index].draws for index in runs)
        _require_trainable(model, self.module, runs)
        self.statistics: list[Tensor] = []
        self.tensors: list[tuple[int, str, Tensor]] = []
        for index, node in enumerate(model.network.nodes):
            for param in node.params if node.owner == index else ():
                tensor = self.module.layers[index].named(param.name)
                if isinstance(tensor, self._torch.nn.Parameter):
                    learns = node.layer.learns(model.dialect.sound)
                    tensor.requires_grad_(learns and index > frozen and index in runs)
                else:
                    self.statistics.append(tensor)
                self.tensors.append((index, param.name, tensor))
        self._holds: Sequence[Params] = ()  # whose values the module has

    def take(self, params: Sequence[Params]) -> None:
        """Give the module the parameters of a model."""
        same = len(params) == len(self._holds) and all(
            mine is theirs for mine, theirs in zip(self._holds, params, strict=True)
        )
        for index, name, tensor in self.tensors:
            learns = isinstance(tensor, self._torch.nn.Parameter)
            if learns and same:
                continue
            value = tensor_of(self._torch, params[index], name, self._device)
            tensor.data = value if learns else value.clone()  # the module changes statistics
        for _, _, tensor in self.tensors:
            tensor.grad = None

    def give(self, done: UpdatedTensors) -> list[Params]:
        """Take the updated parameters, and return all that the module has now."""
        found: list[dict[str, Tensor]] = [{} for _ in self.network.nodes]
        for index, name, tensor in self.tensors:
            if (index, name) in done.values:
                tensor.data = done.values[index, name]
            found[index][name] = tensor.data
        params = [DeviceArrays(each) for each in found]
        self._holds = tuple(params[node.owner] for node in self.network.nodes)
        return list(self._holds)


def _last_layers(model: Model) -> tuple[int, ...]:
    """Return the layers after the last weights: heads, shares, losses.

    Raises
    ------
    TrainingError
        Others read what they give.
    """
    nodes = model.network.nodes
    readers: dict[int, set[int]] = {}
    for index, node in enumerate(nodes):
        for source in node.sources:
            readers.setdefault(source, set()).add(index)
    last = {i for i, node in enumerate(nodes) if node.layer.is_end or node.layer.is_loss}
    for index in sorted(last):
        if not readers.get(index, set()) <= last:
            raise TrainingError(
                "other layers read what this one makes, which is not trained on PyTorch",
                where=model.cfg.where(index + 1),
                hint="engine='numpy' trains it",
            )
    return tuple(sorted(last))


def _require_trainable(model: Model, module: Any, layers: Sequence[int]) -> None:
    """Refuse layers whose training is more than the module computes.

    Raises
    ------
    TrainingError
    """
    for index in layers:
        what = module.layers[index].not_trained
        if model.network.nodes[index].layer.recurrent:
            what = "memory from one batch to the next"
        if what:
            raise TrainingError(
                f"this is not trained on PyTorch: {what}",
                where=model.cfg.where(index + 1),
                hint="engine='numpy' trains what can be trained",
            )


def _same(one: Network, other: Network) -> bool:
    return one is other or one == other


def _merged(before: Sequence[Arrays], new: Mapping[tuple[int, str], Tensor]) -> tuple[Arrays, ...]:
    """Return arrays by layer, in which new ones take the place of all that the layer had."""
    layers: dict[int, dict[str, Tensor]] = {}
    for (index, name), tensor in new.items():
        layers.setdefault(index, {})[name] = tensor
    found = {index: DeviceArrays(each) for index, each in layers.items()}
    return tuple(found.get(index, each) for index, each in enumerate(before))
