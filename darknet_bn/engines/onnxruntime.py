"""ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.onnx.file import read_types
from darknet_bn.convert.onnx.operators import sections_of
from darknet_bn.convert.onnx.reader import MOST_BYTES, read_model
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.engines.onnx_session import OnnxSession, Runner, with_layers
from darknet_bn.errors import DarknetError, Where, located, one_line
from darknet_bn.formats.reading import read_file
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.work.threads import threads_given

_ERRORS_ONLY = 3


class OnnxRuntimeSession(OnnxSession):
    """A model in ONNX Runtime, on its CPU."""

    def __init__(self, model: Model) -> None:
        self.engine = engine_name()
        super().__init__(model)

    def open(self, path: Path) -> Runner:
        """Open a file."""
        return open_file(path)


class OnnxFile(NetworkSession):
    """An ONNX file in ONNX Runtime: one that was exported here, or one that `load_arrays` reads.

    Parameters
    ----------
    path : path
    model : Model
        The model that it was exported from, or that it is compared with.
    layers : sequence of int, optional
        The layers to show; by default all that can be shown.  A file computes faster, and exactly
        as it does elsewhere, if only its own outputs are shown.

    Attributes
    ----------
    batch : int
        How many images the file takes; 1 if it takes any number.  More images, and fewer, are
        computed in batches of that size.

    Raises
    ------
    DarknetError
        ONNX Runtime is not installed, or the file cannot be read or is not a Darknet net.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: Model, layers: Sequence[int] | None = None
    ) -> None:
        self.network = model.network
        self._made_of = path, model, layers
        self.engine = f"{os.fspath(path)} in {engine_name()}"
        data = read_file(path, MOST_BYTES, piped=False)
        with located(Where(file=os.fspath(path))):
            types = read_types(data)
            names = types.layers
            if names is None:  # from another program: only the outputs are layers
                names = sections_of(read_model(path))[1]
            count = len(self.network.nodes)
            self._names = {
                layer: name
                for layer, name in names.items()
                if layer < count and (layers is None or layer in layers)
            }
            shown = set(self._names.values())
            inner = {name: each for name, each in types.inner.items() if name in shown}
            self._runner = with_layers(Path(path), inner, open_file)
        self.batch, self._takes_any = types.batch, types.takes_any
        self.layers = tuple(sorted(self._names))

    def __reduce__(self) -> tuple[type[OnnxFile], tuple[Any, ...]]:
        """Return what is pickled: the model, and the path of the file."""
        return type(self), self._made_of

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Compute the outputs of layers."""
        names = {layer: self._names[layer] for layer in layers}
        if self._takes_any or len(x) == self.batch:
            found = self._runner(x)
            return {layer: found[name] for layer, name in names.items()}
        steps = self.network.time_steps
        images = np.arange(len(x)).reshape(steps, -1)  # of each time step, one of every sequence
        count, together = images.shape[1], self.batch // steps
        sequences = np.arange(-(-count // together) * together) % count
        outputs: dict[int, npt.NDArray[Any]] = {}
        for each in sequences.reshape(-1, together):
            places = images[:, each].ravel()
            part = self._runner(x[places])
            for layer, name in names.items():
                if layer not in outputs:
                    outputs[layer] = np.empty((len(x), *part[name].shape[1:]), part[name].dtype)
                outputs[layer][places] = part[name]
        return outputs


def engine_name() -> str:
    """Return name and version.

    Raises
    ------
    DarknetError
        It is not installed.
    """
    return f"onnxruntime {load_extra('onnxruntime').__version__}"


def open_file(path: Path) -> Runner:
    """Open an ONNX file with one input.

    Raises
    ------
    DarknetError
        ONNX Runtime is not installed, or rejects the file.
    """
    ort = load_extra("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads_given() or 0  # 0: as many as there are cores
    failures: tuple[type[Exception], ...] = (RuntimeError, ValueError, *_failures(ort))
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise DarknetError(f"onnxruntime cannot load the file: {one_line(error)}") from error
    (x_name, *_) = (each.name for each in session.get_inputs())
    names = [each.name for each in session.get_outputs()]

    def run(x: F32) -> dict[str, npt.NDArray[Any]]:
        try:
            found = session.run(None, {x_name: x})
        except failures as error:
            raise DarknetError(f"onnxruntime cannot run the file: {one_line(error)}") from error
        return dict(zip(names, found, strict=True))

    return run


def _failures(ort: Any) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: one class for each kind of failure, with no common base."""
    state = vars(ort.capi.onnxruntime_pybind11_state).values()
    return tuple(each for each in state if isinstance(each, type) and issubclass(each, Exception))
