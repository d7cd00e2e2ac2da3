"""From summed gradients to new parameters.  C: ``update_network`` in ``src/network.c``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.net import Net


@dataclass(frozen=True)
class Updated:
    """The arrays of a layer after an update.

    Attributes
    ----------
    params, updates, squares : dict from name to float32 array
    """

    params: dict[str, F32]
    updates: dict[str, F32]
    squares: dict[str, F32]


@dataclass(frozen=True)
class Update:
    """One update of all layers.

    Attributes
    ----------
    net : Net
    dialect : Dialect
    iteration : int
        Its number; the first is 1.
    rate : float
        The learning rate.
    images : int
        The number of images that the updates were summed over.
    """

    net: Net
    dialect: Dialect
    iteration: int
    rate: float
    images: int

    def apply(
        self,
        layer: Layer,
        params: Mapping[str, F32],
        updates: Mapping[str, F32],
        squares: Mapping[str, F32],
    ) -> Updated:
        """Update one layer.

        Parameters
        ----------
        layer : Layer
        params : mapping from name to float32 array
        updates : mapping from name to float32 array
            Summed over the images, plus what momentum has kept; with Adam, only this batch's sum.
        squares : mapping from name to float32 array
            With Adam, the moments: the first under ``m.name``, the second under ``v.name``.

        Returns
        -------
        Updated

        Notes
        -----
        C: ``update_convolutional_layer`` and others.  Only weights decay; with Adam, everything.
        """
        early = layer.burnin_update * self.net.burn_in > self.iteration
        if early or not layer.learns(self.dialect):
            return Updated(dict(params), dict(updates), dict(squares))
        new, left, moments = dict(params), {}, dict(squares)
        rate = self.rate * layer.learning_rate
        for name, update in updates.items():
            is_weights = name.rpartition(".")[2] == "weights"
            if layer.train_only_bn and is_weights:
                continue
            if self.net.adam:
                step = self._adam(name, params[name], update, moments) * np.float32(rate)
                left[name] = np.zeros_like(update)
            else:
                if is_weights:
                    update = update - np.float32(self.net.decay * self.images) * params[name]
                step = np.float32(rate / self.images) * update
                left[name] = update * np.float32(self.net.momentum)
            step += params[name]
            if layer.clip and is_weights:
                np.clip(step, -layer.clip, layer.clip, out=step)
            new[name] = step
        return Updated(new, left, moments)

    def _adam(self, name: str, values: F32, update: F32, moments: dict[str, F32]) -> F32:
        """Return the step of one array, and update its moments.  C: ``adam_update_gpu``.

        The sums are not divided by the number of images, as in C.
        """
        b1, b2 = self.net.B1, self.net.B2
        eps = self.dialect.adam_eps if self.net.eps is None else self.net.eps
        update = update - np.float32(self.net.decay * self.images) * values
        first, second = (moments.get(f"{kind}.{name}", np.float32(0)) for kind in "mv")
        first = np.float32(b1) * first + np.float32(1 - b1) * update
        second = np.float32(b2) * second + np.float32(1 - b2) * update * update
        moments[f"m.{name}"], moments[f"v.{name}"] = first, second
        root = np.sqrt(second / np.float32(1 - b2**self.iteration)) + np.float32(eps)
        step: F32 = first / np.float32(1 - b1**self.iteration) / root
        return step
