"""The mean of several weights files of the same cfg, as of the last checkpoints of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, Where
from darknet_bn.model.model import Model


def average_models(models: Sequence[Model]) -> Model:
    """Return a model whose every parameter is the mean of those of several models.

    Parameters
    ----------
    models : sequence of Model
        Of the same cfg and dialect.

    Returns
    -------
    mean : Model
        Each value is added up in float64 and rounded once; the mean of one model has the same bits.
        The header is that of the model that has seen most images.

    Raises
    ------
    DarknetError
        There is no model, they do not have the same layers and dialect, or no layer has weights.

    Notes
    -----
    C: ``average`` in ``examples/darknet.c``, which adds up in float32 and leaves out layers other
    than ``[convolutional]`` and ``[connected]``.  The rolling statistics of a mean of weights are
    not the mean of the statistics: `calibrate` computes them again.
    """
    if not models:
        raise DarknetError("there is nothing to average", expected="one model at least")
    first = models[0]
    if not first.network.stored_floats:
        raise DarknetError(
            "no layer of the cfg has weights to average", where=Where(file=first.cfg.file)
        )
    for model in models[1:]:
        _require_alike(first, model)
    if len(models) == 1:
        return first
    params = tuple(
        {
            name: _mean([model.params[index][name] for model in models])
            for name in first.params[index]
        }
        for index in range(len(first.params))
    )
    shared = tuple(params[node.owner] for node in first.network.nodes)
    longest = max(models, key=lambda model: model.header.seen)
    return replace(first, params=shared, header=longest.header, file=first.file)


def _mean(arrays: Sequence[F32]) -> F32:
    total = np.zeros(arrays[0].shape)
    for array in arrays:
        total += array
    mean = (total / len(arrays)).astype(np.float32)
    mean.flags.writeable = False
    return mean


def _require_alike(first: Model, model: Model) -> None:
    where = Where(file=model.file)
    if model.dialect != first.dialect:
        raise DarknetError(
            "the models have different dialects",
            where=where,
            expected=first.dialect.name,
            found=model.dialect.name,
        )
    shapes = [
        [[(param.name, param.shape) for param in node.params] for node in each.network.nodes]
        for each in (first, model)
    ]
    if shapes[0] != shapes[1]:
        raise DarknetError("the models have different layers", where=where)
    if model.loaded != first.loaded:
        raise DarknetError(
            "the files hold different numbers of layers",
            where=where,
            expected=f"{first.loaded}",
            found=f"{model.loaded}",
        )
