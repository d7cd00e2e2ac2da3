"""OpenCV: version 4 with its own reader of Darknet's files, version 5 with an exported file."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.opencv_parts import output_names
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.engines.onnx_session import OnnxSession, Runner
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model, save
from darknet_bn.optional import load_extra
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT32
from darknet_bn.run.run import forward
from darknet_bn.run.session import Session
from darknet_bn.transforms.fold import fold_batchnorm, numbers_after
from darknet_bn.work.threads import threads_given


class OpenCvReader(NetworkSession):
    """A model in OpenCV 4, which reads Darknet's files itself.

    It decodes the boxes of detection heads at once, so it does not show the heads' output.  For the
    outputs, and the inputs of the heads, it gets files with batch norm folded, and runs them as
    fast as it can; if layers before these are asked for, it gets the model as it is.
    """

    def __init__(self, model: Model) -> None:
        self._cv2 = _cv2()
        self.engine = f"opencv {self._cv2.__version__}, its Darknet reader"
        self.network = model.network
        self._model = model
        self._lock = threading.Lock()  # between setting an input and taking the outputs
        self._opened: dict[bool, tuple[Any, Mapping[int, str]]] = {}
        net, names = self._open(inside=True)
        known = set(net.getLayerNames())
        needed = self.network.ancestors(self.network.outputs)
        heads = self.network.heads
        self.layers = tuple(
            index for index in needed if index not in heads and names[index] in known
        )
        nodes = self.network.nodes
        self._last = tuple(
            each
            for index in self.network.outputs
            for each in (nodes[index].sources if index in heads else (index,))
        )

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, F32]:
        """Compute the outputs of layers."""
        with self._lock:
            net, names = self._open(inside=not set(layers) <= set(self._last))
            found = _outputs(self._cv2, net, x, [names[layer] for layer in layers])
            return dict(zip(layers, found, strict=True))

    def __reduce__(self) -> tuple[type[OpenCvReader], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)

    def _open(self, *, inside: bool) -> tuple[Any, Mapping[int, str]]:
        """Return a net, and what it calls the output of each layer."""
        if inside not in self._opened:
            self._opened[inside] = self._read(self._model) if inside else self._read_folded()
        return self._opened[inside]

    def _read(self, model: Model) -> tuple[Any, Mapping[int, str]]:
        """Read the model as it is, each layer apart."""
        net = _read(self._cv2, model)
        net.enableFusion(False)  # else layers that are fused have no output of their own
        net.enableWinograd(False)
        return net, dict(enumerate(output_names(model.network)))

    def _read_folded(self) -> tuple[Any, Mapping[int, str]]:
        """Read the model with batch norm folded, and make sure that it is read right.

        OpenCV passes over options that it does not know, without a word.
        """
        folded = fold_batchnorm(self._model)
        net, names = _read(self._cv2, folded), output_names(folded.network)
        numbers = numbers_after(self._model)
        x = random_input(self.network)
        ours = forward(self._model, x, self._last, exact=False)
        found = _outputs(self._cv2, net, x, [names[numbers[layer]] for layer in ours])
        for (layer, y), theirs in zip(ours.items(), found, strict=True):
            if not np.isfinite(y).all():
                continue
            right = theirs.size == y.size
            if right:
                error = np.abs(theirs.reshape(y.shape) - y).max()
                right = bool(error <= FLOAT32.most * np.abs(y).max())
            if not right:
                raise DarknetError(
                    f"opencv reads the model differently: layer {layer} differs",
                    hint="compare --with opencv shows the first layer that differs",
                )
        return net, {layer: names[number] for layer, number in numbers.items()}


def _read(cv2: Any, model: Model) -> Any:
    """Let OpenCV 4 read a model's two files."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"model.{suffix}") for suffix in ("cfg", "weights")]
        save(model, *files)
        try:
            return cv2.dnn.readNetFromDarknet(*files)
        except cv2.error as error:
            raise DarknetError(f"opencv cannot load the model: {_reason(error)}") from error


def _outputs(cv2: Any, net: Any, x: F32, names: Sequence[str]) -> list[F32]:
    """Let a net compute outputs, which are the caller's own."""
    net.setInput(x)
    try:
        return [np.array(each) for each in net.forward(names)]
    except cv2.error as error:
        raise DarknetError(f"opencv cannot run the model: {_reason(error)}") from error


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
            raise DarknetError(f"opencv cannot load the file: {_reason(error)}") from error
        names = net.getUnconnectedOutLayersNames()
        lock = threading.Lock()

        def run(x: F32) -> dict[str, F32]:
            with lock:
                return dict(zip(names, _outputs(self._cv2, net, x, names), strict=True))

        return run


def open_session(model: Model) -> Session:
    """Hand a model to OpenCV, in the way that its version supports."""
    cv2, threads = _cv2(), threads_given()
    if threads is not None:
        cv2.setNumThreads(threads)  # of the whole process: a net has no number of its own
    reads_darknet = hasattr(cv2.dnn, "readNetFromDarknet")
    return OpenCvReader(model) if reads_darknet else OpenCvSession(model)


def _cv2() -> Any:
    return load_extra("cv2")


def _reason(error: Any) -> str:
    """Return OpenCV's message, without the places in its code."""
    return str(getattr(error, "err", None) or error).splitlines()[0]
