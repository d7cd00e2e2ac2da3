"""A model to a module of PyTorch, and a module back to a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.fitting import where_of
from darknet_bn.convert.pytorch.steps import Steps, steps_of
from darknet_bn.errors import ExportError, WeightsError, Where, located, shown
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.values import counted


def to_torch(model: Model) -> Any:
    """Return a model as a module of PyTorch, on the CPU and in eval mode.

    Parameters
    ----------
    model : Model
        Its arrays are copied.

    Returns
    -------
    module : torch.nn.Module
        ``module(x)`` gives the raw output (n, *shape) of the network, or a tuple of them where it
        has several, in the order of ``module.outputs``, the numbers of the layers; and
        ``module(x, layers=[3, 12])`` a dict of those of layers.  ``module.layers[12]`` is layer 12,
        ``layers.12.weights`` its parameter.  In eval mode it computes what `forward` does, in train
        mode what `train_step` does; but recurrent layers remember nothing of the call before.

    Raises
    ------
    DarknetError
        PyTorch is not installed.
    ExportError
        A layer cannot be expressed; the message names it.
    """
    load_extra("torch")
    from darknet_bn.convert.pytorch.module import DarknetModule

    network, steps = model.network, list[Steps]()
    for index, (node, p) in enumerate(zip(network.nodes, model.params, strict=True)):
        with located(model.cfg.where(index + 1), ExportError):
            made = steps_of(node.layer, node.xs, p, model.dialect, time_steps=network.time_steps)
        steps.append(made)
    return DarknetModule(model, steps).eval()


def from_torch(module: Any, *, like: Model) -> Model:
    """Return a model with the parameters that a module has.

    Parameters
    ----------
    module : torch.nn.Module or mapping
        One that `to_torch` gave, trained or not, compiled or wrapped for several devices; or its
        ``state_dict()``.
    like : Model
        The model that it was made of.

    Returns
    -------
    model : Model
        With everything else of ``like``: cfg, header, dialect.  Of a module that was not trained,
        its files are the same to the byte.

    Raises
    ------
    DarknetError
        PyTorch is not installed.
    WeightsError
        Arrays are missing, or have another shape, or the module has others too.
    """
    load_extra("torch")
    from darknet_bn.convert.pytorch.module import tensors_of

    tensors = dict(tensors_of(module))
    params: list[Params] = []
    for index, node in enumerate(like.network.nodes):
        arrays: dict[str, F32] = {}
        for param in node.params:
            key = f"layers.{index}.{param.name}"
            where = where_of(like.network, index, key)
            if key not in tensors:
                raise WeightsError(
                    f"the {param.name} are missing",
                    where=where,
                    expected=f"an array {param.shape}",
                    found=", ".join(shown(each, 40) for each in list(tensors)[:3]) or "no arrays",
                    hint="is `like` the model that the module was made from?",
                )
            tensor = tensors.pop(key)
            if tuple(tensor.shape) != param.shape:
                raise WeightsError(
                    f"the {param.name} do not have the shape that the cfg needs",
                    where=where,
                    expected=f"{param.shape}",
                    found=f"{tuple(tensor.shape)}",
                )
            arrays[param.name] = _array(tensor)
        params.append(arrays if node.owner == index else params[node.owner])
    if tensors:
        raise WeightsError(
            "the cfg has no place for this array",
            where=Where(key=shown(next(iter(tensors)))),
            found=f"{counted(len(tensors), 'array')} in addition to the arrays of the cfg",
        )
    return replace(like, params=tuple(params), file=None)


def _array(tensor: Any) -> F32:
    """Return a tensor of any device and floating type as an array of its own."""
    array: F32 = np.array(tensor.detach().to("cpu").float().numpy(), np.float32)
    array.flags.writeable = False
    return array
