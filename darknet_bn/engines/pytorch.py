"""PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darknet_bn.arrays import F32
from darknet_bn.convert.pytorch.model import to_torch
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.work.threads import threads_given


class TorchSession(NetworkSession):
    """A model as `to_torch` makes it, on the CPU.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self._torch: Any = load_extra("torch")
        threads = threads_given()
        if threads is not None:
            self._torch.set_num_threads(threads)  # of the whole process: a module has none
        self.engine = f"torch {self._torch.__version__}"
        self.network = model.network
        self.layers = self.network.ancestors(self.network.outputs)
        self._model = model
        self._module = to_torch(model)

    def __reduce__(self) -> tuple[type[TorchSession], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, F32]:
        """Compute the outputs of layers."""
        with self._torch.inference_mode():
            found = self._module(self._torch.tensor(x), layers)
        return {layer: y.detach().numpy() for layer, y in found.items()}
