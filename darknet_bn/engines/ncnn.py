"""ncnn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.ncnn.export import NcnnModel, ncnn_model
from darknet_bn.convert.ncnn.net import input_shapes
from darknet_bn.engines.network_session import NetworkSession
from darknet_bn.engines.onnx_session import temporary_folder
from darknet_bn.errors import DarknetError, Where, located
from darknet_bn.formats.reading import open_file, read_file
from darknet_bn.graph.dims import Size
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.run.session import BoxSession
from darknet_bn.work.threads import threads_given

# What ncnn does to be faster, and what that costs: with all of it float32 stays float32.
_OPTIONS = {
    "use_fp16_packed": False,
    "use_fp16_storage": False,
    "use_fp16_arithmetic": False,
    "use_bf16_packed": False,
    "use_bf16_storage": False,
    "use_vulkan_compute": False,
    "use_int8_inference": True,  # of layers that are stored so
    "use_sgemm_convolution": True,
    "use_winograd_convolution": True,
}
_MOST_BYTES = 64 << 20  # of a .param: a line of 200 bytes for each of some 100 layers is usual


class _Ncnn(NetworkSession, BoxSession):
    """A session on the two files, or on what they would be."""

    _model: Model
    _made: NcnnModel
    _packed: bool = True

    def _open(self, param: Path, weights: Path) -> None:
        """Open the files, and see which layers they show."""
        self.network = self._model.network
        self._net = open_files(param, weights, packed=self._packed)
        names = {each.name for each in self._net.blobs()}
        self._names = {
            number: blobs for number, blobs in self._made.layers.items() if names.issuperset(blobs)
        }
        self.layers = tuple(sorted(self._names))
        self._boxes = [name for name in ("boxes", "confs") if name in names]

    def run(self, x: F32, layers: Sequence[int]) -> Mapping[int, npt.NDArray[Any]]:
        """Compute the outputs of layers, for one sequence after another."""
        steps = self.network.time_steps
        count = len(x) // steps
        found: dict[int, npt.NDArray[Any]] = {}
        forget = set(layers) <= set(self.network.outputs)
        wanted = {name for layer in layers for name in self._names[layer]}
        for number in range(count):
            given = dict(zip(self._made.inputs, x[number::count], strict=True))
            blobs = run_files(self._net, given, wanted, forget=forget)
            for layer in layers:
                for step, name in enumerate(self._names[layer]):
                    blob = blobs[name]
                    if layer not in found:
                        found[layer] = np.empty((steps, count, blob.size), blob.dtype)
                    found[layer][step, number] = blob.reshape(-1)
        return {layer: y.reshape(len(x), -1) for layer, y in found.items()}

    def boxes(self, x: F32) -> dict[str, F32]:
        """Compute the boxes of all heads, if they come out, for one image after another."""
        (first, *_) = self._made.inputs
        each = [run_files(self._net, {first: image}, self._boxes) for image in x]
        return {name: np.stack([blobs[name] for blobs in each]) for name in self._boxes}


class NcnnSession(_Ncnn):
    """A model in ncnn, on the CPU and in float32."""

    def __init__(self, model: Model) -> None:
        self.engine = engine_name()
        self._model, self._made = model, ncnn_model(model)
        with temporary_folder() as folder:
            param, weights = (Path(folder) / f"model.{suffix}" for suffix in ("param", "bin"))
            for path, write in (
                (param, self._made.net.write_param),
                (weights, self._made.net.write_bin),
            ):
                with path.open("wb") as stream:
                    write(stream)
            self._open(param, weights)

    def __reduce__(self) -> tuple[type[NcnnSession], tuple[Model]]:
        """Return what is pickled: the model."""
        return type(self), (self._model,)


class NcnnFile(_Ncnn):
    """A pair of files that was exported here, in ncnn.

    Parameters
    ----------
    path : path
        The ``.param``.
    model : Model
        Which it was exported from.
    weights : path, optional
        The ``.bin``; by default the file of that name beside it.
    packed : bool
        Whether ncnn computes several channels at a time, as it does by default.  In int8 its code
        for that may divide with 12 bits only.

    Raises
    ------
    DarknetError
        ncnn is not installed, or does not take the files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Model,
        weights: str | os.PathLike[str] | None = None,
        *,
        packed: bool = True,
    ) -> None:
        self._arguments = path, model, weights
        self._packed = packed
        self.engine = f"{os.fspath(path)} in {engine_name()}"
        self._model = model
        param = Path(path)
        beside = param.with_suffix(".bin") if weights is None else Path(weights)
        self._made = ncnn_model(model)
        with located(Where(file=os.fspath(path))):
            _require_inputs(self._made, input_shapes(read_file(path, _MOST_BYTES, piped=False)))
        with open_file(beside, piped=False):  # what ncnn would wait for for ever is refused
            pass
        self._open(param, beside)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what is pickled: the model, and where the files are."""
        return partial(type(self), packed=self._packed), self._arguments


def _require_inputs(made: NcnnModel, found: Mapping[str, Size]) -> None:
    """Refuse files of another net: ncnn would read behind its arrays.

    Raises
    ------
    DarknetError
        They read other blobs than the model, or of another shape.
    """
    wanted = dict.fromkeys(made.inputs, made.input)
    if found != wanted:
        raise DarknetError(
            "the file belongs to a network with a different input",
            expected=_listed(wanted),
            found=_listed(found) or "none",
        )


def _listed(shapes: Mapping[str, Size]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, dims))}" for name, dims in shapes.items())


def engine_name() -> str:
    """Return name and version.

    Raises
    ------
    DarknetError
        It is not installed.
    """
    return f"ncnn {load_extra('ncnn').__version__}"


def open_files(param: Path, weights: Path, *, packed: bool = True) -> Any:
    """Open a ``.param`` and its ``.bin``.

    Parameters
    ----------
    param, weights : Path
    packed : bool
        As of `NcnnFile`.

    Raises
    ------
    DarknetError
        ncnn is not installed, or does not take them.
    """
    ncnn = load_extra("ncnn")
    net = ncnn.Net()
    for name, value in {**_OPTIONS, "use_packing_layout": packed}.items():
        setattr(net.opt, name, value)
    net.opt.num_threads = threads_given() or net.opt.num_threads
    for path, load in ((param, net.load_param), (weights, net.load_model)):
        if load(str(path)) != 0:
            raise DarknetError("ncnn cannot load the file", where=Where(file=str(path)))
    return net


def run_files(
    net: Any, given: Mapping[str, F32], wanted: Iterable[str], *, forget: bool = True
) -> dict[str, F32]:
    """Compute blobs, each of its own shape.

    Parameters
    ----------
    net : ncnn.Net
    given : mapping from name to float32 array
        The images, without an axis for the batch.
    wanted : iterable of str
    forget : bool
        Whether to let go at once what other layers have read: outputs alone are there then.

    Raises
    ------
    DarknetError
        ncnn fails.
    """
    ncnn = load_extra("ncnn")
    run = net.create_extractor()
    run.set_light_mode(forget)
    for name, image in given.items():
        # A copy, whose channels lie apart as ncnn has them.
        run.input(name, ncnn.Mat(np.ascontiguousarray(image)).clone())
    found = {}
    for name in wanted:
        failure, blob = run.extract(name)
        if failure:
            raise DarknetError(f"ncnn cannot compute {name}", found=f"error {failure}")
        found[name] = np.array(blob, np.float32)
    return found
