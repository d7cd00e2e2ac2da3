"""OpenCV: version 4 with its own reader of Darknet's files, version 5 with an exported file."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.opencv_parts import output_names
from darknet_bn.engines.base import Session
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.engines.onnx_session import OnnxSession, Runner
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model, save
from darknet_bn.optional import load_extra


class OpenCvReader(NetworkSession):
    """A model in OpenCV 4, which reads Darknet's files itself.

    It decodes the boxes of detection heads at once, so it does not show the heads' output.
    """

    def __init__(self, model: Model) -> None:
        cv2 = _cv2()
        self.engine = f"opencv {cv2.__version__}, its reader of Darknet's files"
        self.network = model.network
        self._model = model
        self._lock = threading.Lock()  # between setting an input and taking the outputs
        self._error = cv2.error
        with tempfile.TemporaryDirectory() as folder:
            cfg, weights = (str(Path(folder) / f"model.{suffix}") for suffix in ("cfg", "weights"))
            save(model, cfg, weights)
            try:
                self._net = cv2.dnn.readNetFromDarknet(cfg, weights)
            except cv2.error as error:
                raise DarknetError(f"opencv does not take the model: {_reason(error)}") from error
        self._net.enableFusion(False)  # else layers that are fused have no output of their own
        self._net.enableWinograd(False)
        known = set(self._net.getLayerNames())
        needed = self.network.ancestors(self.network.outputs)
        self._names = output_names(self.network)
        self.layers = tuple(
            index
            for index in needed
            if index not in self.network.heads and self._names[index] in known
        )

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, npt.ArrayLike]:
        """Compute the outputs of layers."""
        with self._lock:
            self._net.setInput(x)
            try:
                found = self._net.forward([self._names[layer] for layer in layers])
            except self._error as error:
                raise DarknetError(f"opencv does not run the model: {_reason(error)}") from error
            return dict(zip(layers, map(np.array, found), strict=True))

    def __reduce__(self) -> tuple[type[OpenCvReader], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)


class OpenCvSession(OnnxSession):
    """A model in OpenCV 5, which reads an exported file."""

    any_batch = False

    def __init__(self, model: Model) -> None:
        self._cv2 = _cv2()
        self.engine = f"opencv {self._cv2.__version__}"
        super().__init__(model)

    def open(self, path: Path) -> Runner:
        """Open a file."""
        try:
            net = self._cv2.dnn.readNetFromONNX(str(path))
        except self._cv2.error as error:
            raise DarknetError(f"opencv does not take the file: {_reason(error)}") from error
        names = net.getUnconnectedOutLayersNames()
        lock = threading.Lock()

        def run(x: F32) -> dict[str, F32]:
            with lock:
                net.setInput(x)
                try:
                    found = net.forward(names)
                except self._cv2.error as error:
                    raise DarknetError(f"opencv does not run the file: {_reason(error)}") from error
                return {name: np.array(blob) for name, blob in zip(names, found, strict=True)}

        return run


def open_session(model: Model) -> Session:
    """Hand a model to OpenCV, in the way that its version supports."""
    reads_darknet = hasattr(_cv2().dnn, "readNetFromDarknet")
    return OpenCvReader(model) if reads_darknet else OpenCvSession(model)


def _cv2() -> Any:
    return load_extra("cv2")


def _reason(error: Any) -> str:
    """Return OpenCV's message, without the places in its code."""
    return str(getattr(error, "err", None) or error).splitlines()[0]
