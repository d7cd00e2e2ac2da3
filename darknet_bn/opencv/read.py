"""Reading under the names of ``cv2.dnn``: ``readNet`` and ``readNetFromDarknet``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.dialect import OPENCV
from darknet_bn.errors import DarknetError, DarknetWarning
from darknet_bn.formats.cfg import load_cfg, parse_cfg
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model, load
from darknet_bn.model.network import build_network
from darknet_bn.model.weights import Header
from darknet_bn.opencv.net import Net

Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | None"
)

# The suffixes and names that OpenCV looks for before it looks for Darknet.
_OTHERS = ("caffemodel", "prototxt", "pb", "pbtxt", "tflite", "t7", "net")
_OTHER_FRAMEWORKS = ("caffe", "tensorflow", "tflite", "torch")
_DARKNET = ("weights", "cfg")


def readNetFromDarknet(
    cfgFile: Source = None,
    darknetModel: Source = None,
    *,
    bufferCfg: Source = None,
    bufferModel: Source = None,
    engine: str | None = None,
) -> Net:
    """Read a model as ``cv2.dnn.readNetFromDarknet`` does.

    Parameters
    ----------
    cfgFile, darknetModel : path; or bytes or a uint8 array
        The ``.cfg`` and ``.weights`` files, or their contents.  Without weights the net can be
        asked about its layers, but cannot compute.
    bufferCfg, bufferModel : bytes or uint8 array
        The contents, under other names.
    engine : str, optional
        What computes the layers, as of `open_session`; OpenCV has no such argument.

    Returns
    -------
    net : Net
        The net, with the methods of ``cv2.dnn.Net``.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        As in `load`.
    DarknetError
        There is no cfg, or no such engine.
    """
    cfg = _content(cfgFile if cfgFile is not None else bufferCfg)
    weights = _content(darknetModel if darknetModel is not None else bufferModel)
    if not cfg:
        raise DarknetError("the cfg is missing", expected="readNetFromDarknet(cfg, weights)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)  # warned of below, at the program's line
        model = load(cfg, weights, dialect=OPENCV) if weights else _without_weights(cfg)
    for oddity in model.oddities:
        warnings.warn(oddity, DarknetWarning, stacklevel=_level_of_program())
    return Net(model, engine)


def readNet(*args: Any, **kwargs: Any) -> Net:
    """Read a model as ``cv2.dnn.readNet`` does: its two files in either order, or their contents.

    Parameters
    ----------
    model, config : path
        The ``.weights`` and ``.cfg`` files, in either order.
    framework : str, optional
        ``"darknet"``, if the names of the files do not show it.
    framework, bufferModel, bufferConfig : "darknet", and bytes or uint8 arrays
        Instead of these: the contents of the files, in either order.

    Returns
    -------
    net : Net

    Raises
    ------
    CfgError, ShapeError, WeightsError
        As in `load`.
    DarknetError
        The files belong to another program.
    """
    sources = darknet_sources(args, kwargs)
    if sources is None:
        shown = ", ".join(f"{each}"[:60] for each in (*args, *kwargs.values()))
        raise DarknetError(
            "these are not Darknet files",
            expected="a .cfg and a .weights file, or framework='darknet'",
            found=shown,
            hint="cv2.dnn.readNet reads other formats",
        )
    return readNetFromDarknet(*sources)


def darknet_sources(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Source, Source] | None:
    """Return cfg and weights from a call of ``readNet``, or None if it is for another program."""
    if _is_buffer(kwargs.get("bufferModel", args[1] if len(args) > 1 else None)):
        framework, model, config = _named(args, kwargs, "framework", "bufferModel", "bufferConfig")
        if f"{framework}".lower() != "darknet":
            return None
        first = _content(model)
        cfg_first = isinstance(first, bytes) and first.lstrip()[:1] in (b"[", b"#", b";")
        return (model, config) if cfg_first else (config, model)
    model, config, framework = _named(args, kwargs, "model", "config", "framework")
    if not all(isinstance(each, (str, os.PathLike, type(None))) for each in (model, config)):
        return None
    paths = [os.fspath(each) if each is not None else "" for each in (model, config)]
    suffixes = [path.rpartition(".")[2] for path in paths]
    named = f"{framework or ''}".lower()
    if any(suffix in _OTHERS for suffix in suffixes) or named in _OTHER_FRAMEWORKS:
        return None
    if named != "darknet" and not any(suffix in _DARKNET for suffix in suffixes):
        return None
    swapped = suffixes[0] == "cfg" or suffixes[1] == "weights"
    return (paths[0], paths[1]) if swapped else (paths[1], paths[0])


def _named(args: Sequence[Any], kwargs: Mapping[str, Any], *names: str) -> list[Any]:
    """Return arguments by name; missing ones are None."""
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    return [given.get(name) for name in names]


def _is_buffer(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview, np.ndarray))


def _content(source: Source) -> str | os.PathLike[str] | bytes | None:
    """Return a path unchanged, and a file's content as bytes."""
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8:
            raise DarknetError(
                "the content of a file must be an array of bytes",
                expected="uint8, as np.fromfile(path, np.uint8) gives",
                found=f"{source.dtype}",
            )
        return source.tobytes()
    return source


def _without_weights(cfg: str | os.PathLike[str] | bytes) -> Model:
    """Return a model whose layers have no arrays."""
    text = parse_cfg(cfg) if isinstance(cfg, bytes) else load_cfg(cfg)
    network = build_network(text, OPENCV)
    oddities = (*text.oddities, *network.oddities)
    params: tuple[Params, ...] = tuple({} for _ in network.nodes)
    return Model(text, network, params, Header(), OPENCV, "given", 0, oddities)


def _level_of_program() -> int:
    """Return how far up the stack the program is that uses this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(f"{__package__}."):
        level, frame = level + 1, frame.f_back
    return level
