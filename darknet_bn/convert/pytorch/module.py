"""The modules that a model becomes.  Importing this imports PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from darknet_bn.convert.pytorch.functions import FUNCTIONS, OF_MODE
from darknet_bn.convert.pytorch.steps import Argument, Steps
from darknet_bn.errors import ShapeError
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.optional import load_extra
from darknet_bn.values import counted

torch: Any = load_extra("torch")

Tensor: TypeAlias = Any

BUFFERS = frozenset({"rolling_mean", "rolling_variance"})
"""The parameters that no gradient moves."""


class DarknetPart(torch.nn.Module):  # type: ignore[misc]  # it is Any here, installed or not
    """A place for the parameters of a part of a recurrent layer."""

    def put(self, name: str, tensor: Tensor) -> None:
        """Take a parameter or a buffer, under a name of which dots part the parts."""
        part, dot, rest = name.partition(".")
        if dot:
            if part not in self._modules:
                self.add_module(part, DarknetPart())
            self.get_submodule(part).put(rest, tensor)
        elif isinstance(tensor, torch.nn.Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)

    def share(self, other: DarknetPart) -> None:
        """Take the parameters and buffers of another, which has the same names."""
        self._parameters.update(other._parameters)
        self._buffers.update(
            {name: other._buffers[name] for name in BUFFERS & other._buffers.keys()}
        )
        for name, part in self.named_children():
            part.share(other.get_submodule(name))


class DarknetLayer(DarknetPart):
    """One layer: the section that is there in the cfg.

    Its parameters have Darknet's names: ``weights``, ``biases``, ``scales``, ``rolling_mean``,
    ``rolling_variance``.

    Attributes
    ----------
    number : int
        Of the layer, as Darknet counts: 0 comes after ``[net]``.
    section : str
        ``convolutional``, ``maxpool`` ...
    not_trained : str
        What Darknet's layer does in training and this one does not; empty if nothing.
    draws : bool
        Whether it draws random numbers in training.
    everywhere : bool
        Whether batch norm in training has the statistics of all processes of ``torch.distributed``.
    """

    def __init__(self, number: int, section: str, text: str, steps: Steps, stops: bool) -> None:
        super().__init__()
        self.number, self.section = number, section
        self._text, self._stops = text, stops
        self._steps, self._result = tuple(steps.steps), steps.result
        self.not_trained, self.everywhere = steps.not_trained, False
        self.draws = any(step.function == "dropout" for step in steps.steps)
        for name, array in steps.constants.items():
            tensor = torch.from_numpy(np.array(array))
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, *xs: Tensor) -> Tensor:
        """Compute the output from those of the layers that it reads.

        Where it reads none, the network's input says how many images there are.
        """
        values = [*xs]

        def value(argument: Argument) -> Any:
            if isinstance(argument, str):
                return self.named(argument)
            return values[argument] if isinstance(argument, int) else argument

        for step in self._steps:
            mode = {"training": self.training} if step.function in OF_MODE else {}
            if self.everywhere and step.function == "batch_norm":
                mode["everywhere"] = True
            function: Callable[..., Any] = FUNCTIONS[step.function]
            made = function(*map(value, step.arguments), **step.options, **mode)
            if step.gives == 1:
                values.append(made)
            else:
                values.extend(made)
        y = values[self._result]
        return y.detach() if self._stops else y

    def named(self, name: str) -> Tensor:
        """Return a parameter or a buffer; dots in its name part the parts."""
        found: Any = self
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def extra_repr(self) -> str:
        """Return what stands in the brackets: number, section and shapes."""
        return f"{self.number} [{self.section}], {self._text}"


class DarknetModule(torch.nn.Module):  # type: ignore[misc]  # it is Any here, installed or not
    """A Darknet network.

    Parameters and buffers have Darknet's names: ``layers.12.weights``.  Layers that share their
    parameters have them all, as one.

    Attributes
    ----------
    layers : ModuleList
        One module for each layer, with Darknet's number.
    outputs : tuple of int
        The layers whose output is that of the network.
    """

    def __init__(self, model: Model, steps: Iterable[Steps]) -> None:
        super().__init__()
        network = model.network
        self.network: Network = network
        self.outputs = network.outputs
        self._sources = tuple(node.sources for node in network.nodes)
        self._owners = tuple(node.owner for node in network.nodes)
        layers, fixed = list[DarknetLayer](), False
        frozen = _frozen(network)
        for number, (node, each) in enumerate(zip(network.nodes, steps, strict=True)):
            fixed = fixed or each.fixed_size
            section, kind = node.layer.names[0], node.layer
            text = f"{', '.join(str(x) for x in node.xs)} -> {node.y}"
            layer = DarknetLayer(number, section, text, each, kind.onlyforward)
            for param in node.params:
                if node.owner == number:
                    tensor = torch.from_numpy(np.array(model.params[number][param.name]))
                    if param.name.rpartition(".")[2] not in BUFFERS:
                        learns = kind.learns(model.dialect.sound) and number > frozen
                        tensor = torch.nn.Parameter(tensor, requires_grad=learns)
                else:
                    tensor = layers[node.owner].named(param.name)
                layer.put(param.name, tensor)
            layers.append(layer)
        self.layers = torch.nn.ModuleList(layers)
        self.fixed_size = fixed

    def forward(self, x: Tensor, layers: Iterable[int] | None = None) -> Any:
        """Compute the outputs.

        Parameters
        ----------
        x : tensor (n, c, h, w), or (n, inputs) where the net has no image input
        layers : iterable of int, optional
            Which layers' outputs are wanted.

        Returns
        -------
        y : tensor, tuple of tensors, or dict from int to tensor
            The output (n, *shape) of the layer in ``outputs``; of several, a tuple in that order.
            With ``layers``, a dict from their numbers to their outputs.

        Raises
        ------
        ShapeError
            The input does not fit, or a layer does not exist.
        """
        self._check(x)
        wanted = self.outputs if layers is None else tuple(layers)
        for number in wanted:
            if not 0 <= number < len(self._sources):
                raise ShapeError(
                    "there is no such layer",
                    expected=f"0 to {len(self._sources) - 1}",
                    found=f"{number}",
                )
        needed = self.network.ancestors(wanted)
        last = {source: number for number in needed for source in self._sources[number]}
        values: dict[int, Tensor] = {-1: x}
        for number in needed:
            sources = self._sources[number]
            values[number] = self.layers[number](*(values[each] for each in sources or (-1,)))
            for each in sources:  # what nobody reads any more takes no more memory
                if each >= 0 and last[each] == number and each not in wanted:
                    values.pop(each, None)
        if layers is not None:
            return {number: values[number] for number in wanted}
        found = tuple(values[number] for number in wanted)
        return found[0] if len(found) == 1 else found

    def _check(self, x: Tensor) -> None:
        """Look at the size of the input; of a traced net it is what it was while traced."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        net = self.network.input
        steps, dims = self.network.time_steps, tuple(x.shape[1:])
        if len(x) % steps:
            raise ShapeError(
                "the batch ends inside a sequence",
                expected=f"a multiple of {steps} images",
                found=counted(len(x), "image"),
            )
        if dims == net.dims:
            return
        same_kind = len(dims) == 3 and not net.flat and dims[0] == net.c
        if self.fixed_size or not same_kind:
            raise ShapeError(
                "the input does not fit the network",
                expected=f"(n, {', '.join(map(str, net.dims))})",
                found=f"{tuple(x.shape)}",
                hint="model.resized(height, width) makes one for a different size"
                if same_kind
                else None,
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DarknetModule:
        """Move or convert all; what layers share is one again after it."""
        super()._apply(fn, recurse)
        for number, owner in enumerate(self._owners):
            if owner != number:
                self.layers[number].share(self.layers[owner])
        return self


def _frozen(network: Network) -> int:
    """Return the last layer that nothing goes back through, because of ``stopbackward``; or -1."""
    stops = [index for index, node in enumerate(network.nodes) if node.layer.stopbackward == 1]
    return max(stops, default=-1)


def tensors_of(module: Any) -> Mapping[str, Any]:
    """Return the state of a module, under the names it has where it is not wrapped."""
    state = module.state_dict() if isinstance(module, torch.nn.Module) else module
    wrappers = ("_orig_mod.", "module.")  # of torch.compile, and of DistributedDataParallel
    found = {}
    for key, tensor in state.items():
        while key.startswith(wrappers):
            key = key.partition(".")[2]
        found[key] = tensor
    return found
