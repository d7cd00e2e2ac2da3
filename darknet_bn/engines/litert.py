"""LiteRT, which was TensorFlow Lite."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.tflite.export import tflite_bytes
from darknet_bn.convert.tflite.lowering import FIRST, LAST
from darknet_bn.convert.tflite.metadata import Layer, read_layers
from darknet_bn.convert.tflite.notes import without_notes
from darknet_bn.convert.tflite.ranges import BINS, Spread
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.errors import DarknetError, Where, located, one_line
from darknet_bn.formats.reading import read_file
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.values import counted
from darknet_bn.work.threads import threads_given, usable_cores

_MOST_BYTES = 2**31 - 1
_FAILURES = (RuntimeError, ValueError, TypeError)


class LiteRtSession(NetworkSession):
    """A model in LiteRT, on its CPU and in float32.

    For the outputs alone it runs a file with batch norm folded, as `export_tflite` writes it; for
    the layers, when these are asked for, one that keeps it.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.engine = engine_name()
        self.network = model.network
        self.layers = self.network.ancestors(self.network.outputs)
        self._model = model
        self._opened: dict[tuple[bool, int], TfliteRunner] = {}
        self._open(self.network.time_steps, inside=False)

    def __reduce__(self) -> tuple[type[LiteRtSession], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Compute the outputs of layers."""
        inside = not set(layers) <= set(self.network.outputs)
        return self._open(len(x), inside=inside)(x, layers)

    def _open(self, batch: int, *, inside: bool) -> TfliteRunner:
        key = inside, batch
        if key not in self._opened:
            made = tflite_bytes(self._model, batch=batch, fold=not inside)
            self._opened[key] = TfliteRunner(made.data, made.layers)
        return self._opened[key]


class LiteRtFile(NetworkSession):
    """A TFLite file that was exported here, in LiteRT.

    Outputs are computed as programs do, with XNNPACK where that is built in; layers inside by
    LiteRT's own operators, which show them.

    Parameters
    ----------
    path : path
    model : Model
        Which it was exported from, or is to be compared with.

    Attributes
    ----------
    batch : int
        How many images the file takes at once.

    Raises
    ------
    DarknetError
        ai-edge-litert is not installed, or the file cannot be read or was not written here.
    """

    def __init__(self, path: str | os.PathLike[str], model: Model) -> None:
        self.network = model.network
        self._made_of = path, model
        self.engine = f"{os.fspath(path)} in {engine_name()}"
        with located(Where(file=os.fspath(path))):
            data = read_file(path, _MOST_BYTES, piped=False)
            layers = read_layers(data)
            self._runner = TfliteRunner(data, layers)
        self.batch = self._runner.batch
        count = len(self.network.nodes)
        self.layers = tuple(sorted(each for each in layers if each < count))

    def __reduce__(self) -> tuple[type[LiteRtFile], tuple[str | os.PathLike[str], Model]]:
        """Return what is pickled: the model, and where the file is."""
        return type(self), self._made_of

    def run(self, x: F32, layers: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Compute the outputs of layers, of as many images at once as the file takes."""
        parts = [self._runner(part, layers) for part in self._parts(x)]
        return {layer: np.concatenate([part[layer] for part in parts]) for layer in layers}

    def named_outputs(self, x: F32) -> dict[str, npt.NDArray[Any]]:
        """Compute all that comes out of the file, by name, for (n, c, h, w): as it comes out."""
        parts = [self._runner.outputs(part) for part in self._parts(x)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _parts(self, x: F32) -> list[F32]:
        count, rest = divmod(len(x), self.batch)
        if rest or not count:
            raise DarknetError(
                "the file has a different batch size",
                expected=f"a multiple of {counted(self.batch, 'image')}",
                found=f"{len(x)}",
            )
        return [x[start : start + self.batch] for start in range(0, len(x), self.batch)]


class TfliteRunner:
    """A TFLite file of one input, for any number of threads, which take turns.

    Parameters
    ----------
    data : bytes
        The file.
    layers : mapping from layer number to Layer
        Where it has their outputs.

    Attributes
    ----------
    batch : int
        How many images it takes.
    """

    def __init__(self, data: bytes, layers: Mapping[int, Layer]) -> None:
        self._data, self._layers = data, layers
        self._lock = threading.Lock()
        self._outside = _Interpreter(data, inside=False)
        self._inside: _Interpreter | None = None
        self.batch: int = self._outside.input["shape"][0]

    def __call__(self, x: F32, layers: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Compute the outputs of layers, in Darknet's order."""
        outputs = {each for each in layers if self._layers[each].tensor in self._outside.outputs}
        inner = [each for each in layers if each not in outputs]
        with self._lock:
            found: dict[int, npt.NDArray[Any]] = {}
            if outputs or not inner:
                self._outside.invoke(x)
                found |= {each: self._outside.output(self._layers[each]) for each in outputs}
            if inner:
                if self._inside is None:
                    self._inside = _Interpreter(self._data, inside=True)
                self._inside.invoke(x)
                found |= {each: self._inside.inner(self._layers[each]) for each in inner}
        return found

    def outputs(self, x: F32) -> dict[str, npt.NDArray[Any]]:
        """Compute all that comes out of the file, by name and as it is."""
        with self._lock:
            self._outside.invoke(x)
            return {name: self._outside.value(each) for name, each in self._outside.outputs.items()}


class _Interpreter:
    """LiteRT with a file; ``inside``, it keeps what every operator makes."""

    def __init__(self, data: bytes, *, inside: bool) -> None:
        load_extra("ai_edge_litert")
        litert = load_extra("ai_edge_litert.interpreter")
        kinds = litert.OpResolverType
        kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if inside else kinds.AUTO
        try:
            with without_notes():
                self._run = litert.Interpreter(
                    model_content=data,
                    experimental_op_resolver_type=kind,
                    experimental_preserve_all_tensors=inside,
                    num_threads=threads_given() or usable_cores(),
                )
                self._run.allocate_tensors()
            (self.input,) = self._run.get_input_details()
            self.outputs = dict(self._run.get_signature_runner().get_output_details())
        except _FAILURES as error:
            raise DarknetError(f"litert cannot load the file: {one_line(error)}") from error
        self._tensors: dict[str, Any] = {}
        if inside:
            for each in self._run.get_tensor_details():
                self._tensors.setdefault(each["name"], each)

    def invoke(self, x: F32) -> None:
        """Compute."""
        turned = x.transpose(LAST) if x.ndim == 4 else x
        try:
            self._run.set_tensor(self.input["index"], _quantized(turned, self.input))
            self._run.invoke()
        except _FAILURES as error:
            raise DarknetError(f"litert cannot run the file: {one_line(error)}") from error

    def output(self, layer: Layer) -> npt.NDArray[Any]:
        """Return what comes out under the name of a layer, in Darknet's order."""
        array = self.value(self.outputs[layer.tensor])
        return array.transpose(FIRST) if array.ndim == 4 else array

    def inner(self, layer: Layer) -> npt.NDArray[Any]:
        """Return what a layer gives, in Darknet's order."""
        array = self.value(self._tensors[layer.tensor])
        return array.transpose(FIRST) if layer.order == "last" else array

    def named(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor as it is."""
        return self.value(self._tensors[name])

    def value(self, tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
        """Return the numbers of a tensor, as a copy."""
        array: npt.NDArray[Any] = self._run.get_tensor(tensor["index"])
        scale, zero = tensor["quantization"]
        if array.dtype.kind == "f" or not scale:
            return array
        numbers: F32 = (array.astype(np.float32) - zero) * np.float32(scale)
        return numbers


def tensor_spreads(
    data: bytes,
    names: Iterable[str],
    inputs: Sequence[F32],
    *,
    after_each: Callable[[], None] | None = None,
) -> dict[str, Spread]:
    """Return how the values of tensors of a TFLite file are spread.

    Parameters
    ----------
    data : bytes
        A file of one input in float32.
    names : iterable of str
        Of the tensors, whose values are computed and float32.
    inputs : sequence of float32 array (n, c, h, w)
        Of as many images as the file takes; each is run twice, for the ends and for the counts.
    after_each : function, optional
        Called after each run.

    Returns
    -------
    spreads : dict from name to Spread
        Of all of them.

    Raises
    ------
    DarknetError
        ai-edge-litert is not installed, does not run the file, or gives a value that is not finite.
    """
    interpreter, wanted = _Interpreter(data, inside=True), tuple(names)
    ends: dict[str, tuple[float, float]] = {}
    counts = {name: np.zeros(BINS) for name in wanted}
    for is_first in (True, False):
        for x in inputs:
            interpreter.invoke(x)
            for name in wanted:
                array = interpreter.named(name)
                if not is_first:
                    counts[name] += np.histogram(array, BINS, ends[name])[0]
                    continue
                low, high = float(array.min()), float(array.max())
                if not math.isfinite(low) or not math.isfinite(high):
                    raise DarknetError(f"{name} has a value that is not finite")
                before = ends.get(name, (low, high))
                ends[name] = min(low, before[0]), max(high, before[1])
            if after_each is not None:
                after_each()
    return {name: Spread(*ends[name], counts[name]) for name in wanted}


def _quantized(x: F32, tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return an input in the numbers that a file takes."""
    kind, (scale, zero) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if kind.kind == "f":
        return np.ascontiguousarray(x, kind)
    limits = np.iinfo(kind)
    rounded = np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max)
    return np.ascontiguousarray(rounded, kind)


def engine_name() -> str:
    """Return name and version.

    Raises
    ------
    DarknetError
        It is not installed.
    """
    return f"litert {load_extra('ai_edge_litert').__version__}"
