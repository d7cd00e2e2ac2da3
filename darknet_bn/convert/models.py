"""Models to files of named arrays and back, each proven equal to the bit before it appears."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np

from darknet_bn.convert.about import About, format_about, parse_about
from darknet_bn.convert.container import Array, Container
from darknet_bn.convert.fitting import choose_scheme, fit_arrays, param_of, where_of, without_prefix
from darknet_bn.convert.numpy_archive import read_numpy_archive, write_numpy_archive
from darknet_bn.convert.onnx.model import read_onnx
from darknet_bn.convert.safetensors import read_safetensors, write_safetensors
from darknet_bn.convert.schemes import SCHEMES, NamingScheme
from darknet_bn.convert.state_dict import read_state_dict, write_state_dict
from darknet_bn.dialect import Dialect
from darknet_bn.errors import (
    DarknetError,
    DarknetWarning,
    ShapeError,
    WeightsError,
    Where,
    in_file,
    located,
    shown,
)
from darknet_bn.formats.cfg import Cfg, load_cfg, parse_cfg
from darknet_bn.formats.reading import StoredFile
from darknet_bn.formats.writing import write_files
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model, PathOrBytes, choose_dialect, pair_writers
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import Header, read_arrays

T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """A file format for named arrays.

    Attributes
    ----------
    read : function
        ``read(path) -> Container``.
    write : function
        ``write(stream, arrays, metadata)``.
    """

    read: Callable[[str | os.PathLike[str]], Container]
    write: Callable[[BinaryIO, Mapping[str, Array], Mapping[str, str]], None]


_STATE_DICT = Format(read_state_dict, write_state_dict)
FORMATS: Mapping[str, Format] = {
    ".safetensors": Format(read_safetensors, write_safetensors),
    ".npz": Format(read_numpy_archive, write_numpy_archive),
    ".pt": _STATE_DICT,
    ".pth": _STATE_DICT,
}
"""The formats, by file suffix."""

READERS: Mapping[str, Callable[[str | os.PathLike[str]], Container]] = {
    **{suffix: form.read for suffix, form in FORMATS.items()},
    ".onnx": read_onnx,
}
"""The reader of each format; ``.onnx`` is written by `export_onnx`."""


def save_arrays(
    model: Model, path: str | os.PathLike[str], *, names: str = "darknet", force: bool = False
) -> None:
    """Write a model's arrays under a naming scheme, together with its cfg and header.

    Before the file appears it is read back, and must give the same model to the bit.

    Parameters
    ----------
    model : Model
    path : path
        The suffix says which format: ``.safetensors``, ``.npz``, ``.pt`` or ``.pth``.
    names : str
        The naming scheme: ``darknet``, ``ultralytics``, ``eriklindernoren`` or ``tianxiaomo``.
    force : bool
        Whether to overwrite an existing file, though never one that the model was read from.

    Raises
    ------
    DarknetError
        The suffix or the scheme is unknown; or the file already exists and ``force`` is off, or it
        cannot be written.
    """
    form, scheme = _by_suffix(FORMATS, path), _scheme(names)
    metadata = format_about(model, scheme.name)
    arrays = _named_arrays(model, scheme)

    def write(stream: BinaryIO) -> None:
        form.write(stream, arrays, metadata)
        stream.flush()
        found = _load(form.read, stream.name, path, None, model.dialect, "auto")
        _require_equal(model, found, path)

    write_files({Path(path): write}, force=force, inputs=(model.cfg.file, model.file))


def load_arrays(
    path: str | os.PathLike[str],
    cfg: PathOrBytes | None = None,
    *,
    dialect: str | Dialect = "auto",
    names: str = "auto",
) -> Model:
    """Read a model from a file of named arrays; nothing in it is ever unpickled.

    Parameters
    ----------
    path : path
        The suffix says which format: ``.safetensors``, ``.npz``, ``.pt``, ``.pth`` or ``.onnx``.
        If a checkpoint holds more, only its state dict is read.  An ONNX file is one that
        `export_onnx` wrote, or any graph whose nodes correspond to Darknet's sections.
    cfg : path or bytes, optional
        The ``.cfg``; by default the one that `save_arrays` or `export_onnx` stored in the file, or
        one made from the graph.
    dialect : str or Dialect
        Whose arithmetic to use; ``"auto"`` takes it from the file, or decides as `load` does.
    names : str
        The naming scheme; ``"auto"`` takes it from the file, or uses the scheme of most keys.

    Returns
    -------
    model : Model
        Its arrays are read-only.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        The file is damaged or holds something other than plain arrays, or they do not fit the cfg,
        or a node has no equivalent in Darknet; the message says which.
    ExportError
        The package onnx is not installed, and the file is an ONNX file.

    Warns
    -----
    DarknetWarning
        Something is odd but has one clear meaning.
    """
    model = _load(_by_suffix(READERS, path), path, path, cfg, dialect, names)
    for oddity in model.oddities:
        warnings.warn(oddity, DarknetWarning, stacklevel=2)
    return model


def save_pair(
    model: Model,
    cfg: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str],
    *,
    force: bool = False,
) -> None:
    """Write a model's two files as `save` does, once the weights read back to the bit.

    Parameters
    ----------
    model : Model
    cfg, weights, force : path, path, bool
        As in `save`.

    Raises
    ------
    DarknetError
        They cannot be written.
    """
    files = pair_writers(model, cfg, weights, force=force)
    write = files[Path(weights)]

    def write_and_read(stream: BinaryIO) -> None:
        write(stream)
        stream.flush()
        data = StoredFile(stream.name)
        if data.bytes(0, model.header.size) != model.header.to_bytes():
            raise _different(weights, "the header")
        params = read_arrays(data, model.header, model.network, model.params)
        _require_equal_arrays(model.network, model.params, params, weights)

    write_files(files | {Path(weights): write_and_read}, force=force)


def _by_suffix(known: Mapping[str, T], path: str | os.PathLike[str]) -> T:
    found = known.get(Path(path).suffix.lower())
    if found is None:
        raise DarknetError(
            "the suffix does not show the format of the file",
            where=Where(file=os.fspath(path)),
            expected=", ".join(known),
            found=f"'{Path(path).suffix}'",
        )
    return found


def _scheme(names: str) -> NamingScheme:
    if names not in SCHEMES:
        raise DarknetError(
            "unknown naming scheme", expected=", ".join(SCHEMES), found=ascii(shown(names))
        )
    return SCHEMES[names]


# -- writing -------------------------------------------------------------------------------


def _named_arrays(model: Model, scheme: NamingScheme) -> dict[str, Array]:
    """Return every array of a model under its key, even those that a .weights file lacks."""
    arrays: dict[str, Array] = {}
    counters = set(scheme.counters(model.network))
    for key, place in scheme.places(model.network).items():
        param = param_of(model.network, place.layer, place.name)
        array = model.params[place.layer][place.name]
        if array.shape != param.shape or array.dtype != np.float32:
            raise ShapeError(
                f"the {place.name} do not have the shape or type that the cfg needs",
                where=where_of(model.network, place.layer),
                expected=f"float32 {param.shape}",
                found=f"{array.dtype} {array.shape}",
            )
        arrays[key] = array
        counter = f"{key.removesuffix('.running_var')}.num_batches_tracked"
        if counter in counters:  # where PyTorch has it: after the last array of the batch norm
            arrays[counter] = np.zeros((), np.int64)
    return arrays


def _require_equal(model: Model, found: Model, path: str | os.PathLike[str]) -> None:
    for what, same in (
        ("the cfg", found.cfg.to_bytes() == model.cfg.to_bytes()),
        ("the header", found.header == model.header),
    ):
        if not same:
            raise _different(path, what)
    _require_equal_arrays(model.network, model.params, found.params, path)


def _require_equal_arrays(
    network: Network,
    before: Sequence[Params],
    after: Sequence[Params],
    path: str | os.PathLike[str],
) -> None:
    for layer, node in enumerate(network.nodes):
        for param in node.params:
            one, other = (
                np.ascontiguousarray(each[layer][param.name]).view(np.uint32)
                for each in (before, after)
            )
            if not np.array_equal(one, other):
                raise _different(path, f"the {param.name} of layer {layer}")


def _different(path: str | os.PathLike[str], what: str) -> DarknetError:
    return DarknetError(
        f"{what} read back differently from the file; nothing was written",
        where=Where(file=os.fspath(path)),
        hint="check the disk for errors",
    )


# -- reading -------------------------------------------------------------------------------


def _load(
    read: Callable[[str | os.PathLike[str]], Container],
    real: str | os.PathLike[str],
    path: str | os.PathLike[str],
    cfg: PathOrBytes | None,
    wanted: str | Dialect,
    names: str,
) -> Model:
    """Read a model from the file ``real``, which messages call ``path``."""
    file = os.fspath(path)
    scheme = None if names == "auto" else _scheme(names)
    with located(in_file(file), WeightsError):
        container = read(real)
        about = None if container.metadata is None else parse_about(container.metadata)
        text = _cfg(about, cfg, file)
        dialect, reason = _dialect(text, about, wanted, container.reason)
        network = build_network(text, dialect, about.files if about and cfg is None else None)
        entries = without_prefix(container.entries)
        scheme = scheme or choose_scheme(entries, network, about.names if about else None)
        params = fit_arrays(text, entries, network, scheme)
    header = about.header if about else Header(revision=dialect.weights_revision)
    oddities = (*text.oddities, *network.oddities)
    return Model(
        *(text, network, params, header, dialect, reason, len(params), oddities),
        file=file,
    )


def _cfg(about: About | None, cfg: PathOrBytes | None, file: str) -> Cfg:
    if cfg is None and about is None:
        raise WeightsError(
            "the file does not contain a cfg (files of other programs never do)",
            hint="give the .cfg that belongs to it as well",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)  # already issued by `load_arrays`
        if cfg is None:
            return parse_cfg(cast("About", about).cfg, file=file)
        return parse_cfg(cfg) if isinstance(cfg, bytes) else load_cfg(cfg)


def _dialect(
    cfg: Cfg, about: About | None, wanted: str | Dialect, reason: str
) -> tuple[Dialect, str]:
    if wanted == "auto" and about is not None and about.dialect is not None:
        return about.dialect, reason
    return choose_dialect(cfg, wanted, about.header if about else None)
