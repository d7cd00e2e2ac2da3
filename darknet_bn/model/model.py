"""A model: cfg, network, parameters, header and dialect; loading and saving the pair of files."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import EllipsisType
from typing import BinaryIO

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import ALEXEYAB, Dialect, dialect_named
from darknet_bn.errors import DarknetWarning, ShapeError, WeightsError, in_file, located
from darknet_bn.formats.cfg import Cfg, load_cfg, parse_cfg
from darknet_bn.formats.reading import Stored, StoredFile
from darknet_bn.formats.weights_formats import START, refuse_other_formats
from darknet_bn.formats.writing import Writer, require_suffix, require_writable, write_files
from darknet_bn.layers.parameters import Params
from darknet_bn.model.misfit import Content, likely_cause, refuse_other_order
from darknet_bn.model.model_files import CFG, WEIGHTS, existing_files_of, with_suffix
from darknet_bn.model.network import Network, Node, build_network, detect_dialect
from darknet_bn.model.weights import (
    Header,
    choose_header,
    parse_header,
    read_arrays,
    require_size,
    write_weights,
)
from darknet_bn.values import brief, counted, fields_of, file_name
from darknet_bn.work.memory import require_memory

WEIGHTS_SUFFIXES = (".weights", ".backup")  # the names that Darknet gives to its weights

PathOrBytes = str | os.PathLike[str] | bytes


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its parameters.

    Attributes
    ----------
    cfg : Cfg
        The cfg text as it was read.
    network : Network
        Layers, links and shapes.
    params : tuple of mappings from name to float32 array
        The arrays of each layer, under Darknet's names; read-only.
    header : Header
        Header of the weights file; a new one if there is no such file.
    dialect : Dialect
        The Darknet whose arithmetic is used.
    reason : str
        Why this dialect was chosen.
    loaded : int
        How many layers came from the file; the others have initial values.
    oddities : tuple of str
        What was odd in the files: the text of the warnings issued on loading.
    file : str or None
        The file that the arrays were read from; the file of the cfg is ``cfg.file``.

    Notes
    -----
    A model is a value: running it does not change it, and it may be pickled and copied.  The copy
    has arrays in memory that the original reads from a file.
    """

    cfg: Cfg
    network: Network
    params: tuple[Params, ...]
    header: Header
    dialect: Dialect
    reason: str
    loaded: int
    oddities: tuple[str, ...] = ()
    file: str | None = None

    def __repr__(self) -> str:
        """Return a one-line description."""
        files = [file_name(each) for each in (self.cfg.file, self.file) if each is not None]
        origin = f"of {' and '.join(dict.fromkeys(files))}: " if files else ""
        layers = counted(len(self.network.nodes), "layer")
        facts = f"{layers}, input {self.network.input}, dialect {self.dialect.name}"
        return brief(self, origin + facts)

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled: the arrays themselves, not their location in a file."""
        arrays = {id(params): dict(params) for params in self.params}
        return fields_of(self) | {"params": tuple(arrays[id(params)] for params in self.params)}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore what was pickled."""
        self.__dict__.update(state)
        for params in self.params:
            for array in params.values():
                array.flags.writeable = False

    def resized(self, height: int, width: int) -> Model:
        """Return the same model for images of a different size; the parameters are shared.

        Raises
        ------
        ShapeError, CfgError
            The layers do not fit together at that size, or would need different parameters.
        """
        return self._with_net({"height": height, "width": width})

    def with_time_steps(self, time_steps: int) -> Model:
        """Return the same model for sequences of a different length; the parameters are shared.

        Raises
        ------
        CfgError
            It is below 1.
        """
        return self._with_net({"time_steps": time_steps})

    def with_batch(self, batch: int) -> Model:
        """Return the same model for batches of a different size; the parameters are shared.

        The number of subdivisions stays the same if it divides the new batch; if not, it becomes
        the largest number that divides both.

        Raises
        ------
        CfgError
            It is below 1.
        """
        parts = math.gcd(batch, self.network.net.subdivisions)
        return self._with_net({"batch": batch, "subdivisions": max(1, parts)})

    def _with_net(self, options: Mapping[str, int]) -> Model:
        cfg = self.cfg.edited({(0, key): str(value) for key, value in options.items()})
        network = build_network(cfg, self.dialect, self.network.files)
        for index, (node, now) in enumerate(zip(self.network.nodes, network.nodes, strict=True)):
            if _shapes(node) != _shapes(now):
                raise ShapeError(
                    "the layer has different weights at a different image size",
                    where=cfg.where(index + 1),
                    expected=f"{self.network.input}",
                    found=f"{network.input}",
                )
        return replace(self, cfg=cfg, network=network)


def load(
    cfg: PathOrBytes,
    weights: PathOrBytes | EllipsisType | None = ...,
    *,
    dialect: str | Dialect = "auto",
    partial: bool = False,
    seed: int = 0,
) -> Model:
    """Read a model from its two files.

    Parameters
    ----------
    cfg : path or bytes
        The ``.cfg``: its path, or its content.  A file that it names (``tree=``) is searched for in
        the folder of the cfg, then in the working directory.  If only this argument is given, a
        path stands for both files: it is one of them, or their common stem, such as
        ``yolov3-tiny``.
    weights : path, bytes or None, optional
        The ``.weights``; None builds the network with Darknet's initial weights.
    dialect : str or Dialect
        The Darknet whose arithmetic to use; ``"auto"`` decides by the revision in the header and by
        options that only AlexeyAB's fork knows.
    partial : bool
        Whether to accept a backbone file that ends after one of the layers; the other layers get
        initial weights.
    seed : int
        Seed for the initial weights.

    Returns
    -------
    model : Model
        Its arrays are read-only, and are read from the file on first access.  If another program
        has changed the file by then, that access raises WeightsError.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        A file is not valid; the message says where and why.

    Warns
    -----
    DarknetWarning
        Something is odd but has one clear meaning.
    """
    cfg, weights = _both(cfg, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)  # issued below, with all the others
        text = parse_cfg(cfg) if isinstance(cfg, bytes) else load_cfg(cfg)
    if weights is None:
        model = _initial_model(text, dialect, seed)
    else:
        model = _load_weights(text, weights, dialect, partial, seed)
    for oddity in model.oddities:
        warnings.warn(oddity, DarknetWarning, stacklevel=2)
    return model


def load_again(
    model: Model, cfg: bytes, weights: str | os.PathLike[str], *, partial: bool = False
) -> Model:
    """Read the files of a model that are not where they will be, without warning of them again.

    Parameters
    ----------
    model : Model
        What was written: its dialect is used, and what it knows of the files that the cfg names.
    cfg : bytes
    weights : path
    partial : bool
        As in `load`.

    Raises
    ------
    CfgError, ShapeError, WeightsError
        A file is not valid.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)
        text = parse_cfg(cfg, file=model.cfg.file)
        return _load_weights(text, weights, model.dialect, partial, 0, model.network.files)


def save(
    model: Model,
    cfg: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str],
    *,
    force: bool = False,
) -> None:
    """Write the two files of a model: either both are complete, or neither appears.

    Parameters
    ----------
    model : Model
    cfg, weights : path
        Their suffixes are ``.cfg``, and ``.weights`` or ``.backup``.  Without a cfg only the
        weights are written.
    force : bool
        Whether to overwrite existing files, which may be the files that the model was read from.

    Raises
    ------
    DarknetError
        They already exist and ``force`` is off, or they cannot be written.
    """
    write_files(pair_writers(model, cfg, weights, force=force), force=force)


def pair_writers(
    model: Model,
    cfg: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str],
    *,
    force: bool,
) -> dict[Path, Writer]:
    """Return the functions that write a model's two files, weights first, if this is allowed.

    Parameters
    ----------
    model, cfg, weights, force
        As in `save`.

    Raises
    ------
    DarknetError
        One of them must not be written.
    """
    require_suffix(weights, *WEIGHTS_SUFFIXES)
    require_writable([weights], force=force, inputs=[model.cfg.file])
    if cfg is not None:
        require_suffix(cfg, ".cfg")
        require_writable([cfg], force=force, inputs=[model.file])

    def write(stream: BinaryIO) -> None:
        write_weights(stream, model.header, model.network, model.params)

    files: dict[Path, Writer] = {Path(weights): write}
    if cfg is not None:
        files[Path(cfg)] = lambda stream: stream.write(model.cfg.to_bytes())
    return files


def _both(
    cfg: PathOrBytes, weights: PathOrBytes | EllipsisType | None
) -> tuple[PathOrBytes, PathOrBytes | None]:
    """Return the cfg and the weights that the arguments of `load` mean."""
    if isinstance(weights, EllipsisType):
        if isinstance(cfg, bytes):
            raise WeightsError(
                "the text of a cfg does not say where the weights are",
                hint="pass the weights too, or None for initial ones",
            )
        return existing_files_of(os.fspath(cfg))
    if not isinstance(cfg, bytes):
        cfg = with_suffix(os.fspath(cfg), CFG)
    if weights is not None and not isinstance(weights, bytes):
        weights = with_suffix(os.fspath(weights), WEIGHTS)
    return cfg, weights


def _initial_model(cfg: Cfg, wanted: str | Dialect, seed: int) -> Model:
    dialect, reason = choose_dialect(cfg, wanted, None)
    network = build_network(cfg, dialect)
    params = [dict(each) for each in initial_params(cfg, network, seed, loaded=0)]
    shared = tuple(params[node.owner] for node in network.nodes)
    header = Header(revision=dialect.weights_revision)
    oddities = (*cfg.oddities, *network.oddities)
    return Model(cfg, network, shared, header, dialect, reason, 0, oddities)


def _load_weights(
    cfg: Cfg,
    weights: PathOrBytes,
    wanted: str | Dialect,
    partial: bool,
    seed: int,
    files: Mapping[str, bytes] | None = None,
) -> Model:
    name = None if isinstance(weights, bytes) else os.fspath(weights)
    with located(in_file(name), WeightsError):
        data = Stored(weights) if isinstance(weights, bytes) else StoredFile(weights)
        refuse_other_formats(data.bytes(0, START))
        dialect, reason = choose_dialect(cfg, wanted, parse_header(data.bytes(0, 20)))
        network = build_network(cfg, dialect, files)
        content = Content(data.size, data.bytes)
        refuse_other_order(content)
        header, odd = choose_header(data, network)
        loaded = require_size(
            data.size,
            header,
            network,
            partial,
            lambda: likely_cause(cfg, dialect, content, header),
        )
        initial = initial_params(cfg, network, seed, loaded)
        params = read_arrays(data, header, network, initial)
    notes = tuple(f"{name or 'weights'}: {note}" for note in odd)
    oddities = (*cfg.oddities, *network.oddities, *notes)
    return Model(cfg, network, params, header, dialect, reason, loaded, oddities, name)


def _shapes(node: Node) -> list[tuple[str, tuple[int, ...]]]:
    return [(param.name, param.shape) for param in node.params]


def choose_dialect(cfg: Cfg, wanted: str | Dialect, header: Header | None) -> tuple[Dialect, str]:
    """Return the requested dialect, or the one that header and options indicate, and why."""
    if wanted != "auto":
        return dialect_named(wanted), "given"
    if header is not None and header.revision == 5 and not header.legacy:
        return ALEXEYAB, "weights revision 5, as AlexeyAB's and hank-ai's write"
    dialect, reason = detect_dialect(cfg)
    if header is not None and not dialect.weights_revision:
        reason = f"weights version {header.version}, {reason}"
    return dialect, reason


def initial_params(cfg: Cfg, network: Network, seed: int, loaded: int) -> Sequence[dict[str, F32]]:
    """Return Darknet's initial values for all arrays that a file of ``loaded`` layers lacks."""
    missing = [
        [param for param in node.params if index >= loaded or param.stored_size < param.size]
        if node.owner == index
        else []
        for index, node in enumerate(network.nodes)
    ]
    sizes = [4 * sum(param.size for param in params) for params in missing]
    with located(lambda _: cfg.where(1 + sizes.index(max(sizes))), ShapeError):
        require_memory(sum(sizes), "the parameters")
    values: list[dict[str, F32]] = []
    for index, params in enumerate(missing):
        values.append({})
        if not params:
            continue
        rng = np.random.default_rng([seed, index])
        for param in params:
            if callable(param.init):
                array = param.init(rng, param.shape)
            else:
                array = np.full(param.shape, param.init, np.float32)
            array.flags.writeable = False
            values[-1][param.name] = array
    return values
