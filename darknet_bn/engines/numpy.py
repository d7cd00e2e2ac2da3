"""Our own forward pass, on numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.model.model import Model
from darknet_bn.run.run import plans_of


class NumpySession(NetworkSession):
    """A model that `darknet_bn.forward` runs, the fast way: with batch norm folded.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.engine = f"numpy {np.__version__}"
        self.network = model.network
        self.layers = tuple(range(len(model.network.nodes)))
        self._model = model

    def __reduce__(self) -> tuple[type[NumpySession], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, F32]:
        """Compute the outputs of layers."""
        return plans_of(self._model).of(exact=False).run(x, layers)
