"""Checkpoints: the weights as Darknet names and writes them, and what it takes to resume.

Next to ``net.weights`` is ``net.weights.state``, an ``.npz`` that names its weights by their hash:

======================= ====================================================================
member                  meaning
======================= ====================================================================
about                   text, JSON: seed, iteration, as_coded, and the hash of the weights
updates/LAYER/NAME      what momentum keeps of the updates of an array of parameters
squares/LAYER/M.NAME    with Adam, its moments: M is m or v
memory/LAYER/NAME       what a recurrent layer remembers
======================= ====================================================================

If both files are replaced, the new state is written first, as ``net.weights.state.next``, then the
new weights; then the state gets its name.  So each file of weights has its state, whenever the
program dies.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from os.path import isfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, DarknetWarning, TrainingError, Where
from darknet_bn.formats.npz import ArrayHeader, read_npz
from darknet_bn.formats.writing import rename_file, require_suffix, require_writable, write_files
from darknet_bn.model.model import WEIGHTS_SUFFIXES, Model
from darknet_bn.model.weights import write_weights
from darknet_bn.training.state import Arrays, TrainState, train_state
from darknet_bn.work.memory import require_memory

_NEWEST = {"backup": ".backup", "last": "_last.weights"}
_MEMBER = re.compile(r"(updates|squares|memory)/([0-9]{1,6})/([\w.]{1,60})")
_MOST_TEXT = 1 << 16  # floats of text: far more than there are


def state_path(weights: str | os.PathLike[str]) -> str:
    """Return the path of the state that belongs to a file of weights."""
    return f"{os.fspath(weights)}.state"


def next_state_path(weights: str | os.PathLike[str]) -> str:
    """Return its path while the weights are being replaced."""
    return f"{state_path(weights)}.next"


def save_checkpoint(
    state: TrainState, weights: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write the weights of a model in training, and what it takes to resume: both, or neither.

    Parameters
    ----------
    state : TrainState
    weights : path
        Its suffix is ``.weights`` or ``.backup``.
    force : bool
        Whether to overwrite existing files.

    Raises
    ------
    DarknetError
        They already exist and ``force`` is off, or they cannot be written.
    """
    require_suffix(weights, *WEIGHTS_SUFFIXES)
    model = state.model
    arrays: dict[str, Any] = {
        f"{kind}/{layer}/{name}": array
        for kind, layers in _kinds(state).items()
        for layer, each in enumerate(layers)
        for name, array in each.items()
    }
    about = {
        "seed": state.seed,
        "iteration": state.iteration,
        "as_coded": state.as_coded,
        "weights": fingerprint(model),
    }
    arrays["about"] = np.array(json.dumps(about))

    def write_state(stream: BinaryIO) -> None:
        np.savez(stream, **arrays)

    def write(stream: BinaryIO) -> None:
        write_weights(stream, model.header, model.network, model.params)

    place, waiting = state_path(weights), next_state_path(weights)
    require_writable([weights, place], force=force)
    write_files({Path(waiting): write_state}, force=True)  # a leftover of a save that was killed
    try:
        write_files({Path(weights): write}, force=force)
    except BaseException:
        Path(waiting).unlink(missing_ok=True)
        raise
    rename_file(waiting, place)


def load_checkpoint(model: Model, weights: str | os.PathLike[str]) -> TrainState | None:
    """Read the state that belongs to the weights that a model was loaded from.

    Parameters
    ----------
    model : Model
        The model, as `load` reads it from ``weights``.
    weights : path

    Returns
    -------
    state : TrainState or None
        Training continues from it as if it had never stopped.  None if there is no state, or it
        belongs to other weights.

    Raises
    ------
    DarknetError
        It is damaged, or does not fit the model.

    Warns
    -----
    DarknetWarning
        It belongs to other weights.
    """
    paths = [path for path in (state_path(weights), next_state_path(weights)) if isfile(path)]
    mine = fingerprint(model) if paths else ""
    for path in paths:
        state = _read_state(model, path, mine)
        if state is not None:
            return state
    if paths:
        warnings.warn(
            f"{paths[0]}: this state does not belong to {os.fspath(weights)}; training "
            "continues without the momentum of earlier updates",
            DarknetWarning,
            stacklevel=2,
        )
    return None


def _read_state(model: Model, path: str, weights: str) -> TrainState | None:
    """Read a state; None if it belongs to weights with another fingerprint."""
    texts: list[ArrayHeader] = []

    def wants(name: str, head: ArrayHeader) -> bool:
        if name == "about":
            texts.append(head)
            return head.shape == () and head.dtype.kind == "U" and head.size < _MOST_TEXT
        _require_fit(model, name, head, path)
        return True

    arrays = dict(read_npz(path, wants))
    about = _about(arrays.pop("about", None), path)
    if about["weights"] != weights:
        return None
    kinds: dict[str, list[dict[str, F32]]] = {
        kind: [{} for _ in model.network.nodes] for kind in ("updates", "squares", "memory")
    }
    for name, array in arrays.items():
        kind, layer, what = name.split("/", 2)
        kinds[kind][int(layer)][what] = array
    return replace(
        train_state(model, about["seed"], as_coded=about["as_coded"]),
        iteration=about["iteration"],
        updates=tuple(kinds["updates"]),
        squares=tuple(kinds["squares"]),
        memory=tuple(kinds["memory"]),
    )


def fingerprint(model: Model) -> str:
    """Return a hash of the parameters and the counter of a model."""
    digest = hashlib.sha256(str(model.header.seen).encode())
    for layer, param in model.network.stored():
        digest.update(np.ascontiguousarray(model.params[layer][param.name]).data)
    return digest.hexdigest()


def _kinds(state: TrainState) -> Mapping[str, tuple[Arrays, ...]]:
    return {"updates": state.updates, "squares": state.squares, "memory": state.memory}


def _require_fit(model: Model, name: str, head: ArrayHeader, path: str) -> None:
    """Check the head of an array before any memory is taken for it."""
    where = Where(file=path, key=name[:80])
    match = _MEMBER.fullmatch(name)
    if match is None or int(match[2]) >= len(model.network.nodes) or head.dtype != np.float32:
        raise TrainingError("this array is not part of a training state", where=where)
    kind, layer, what = match[1], int(match[2]), match[3]
    if kind == "memory":
        require_memory(4 * math.prod(head.shape), "the state of training")
        return
    param = what.partition(".")[2] if kind == "squares" else what
    known = model.params[layer].get(param)
    if known is None or known.shape != head.shape:
        raise TrainingError(
            "the array does not fit the model",
            where=where,
            expected="none" if known is None else f"{known.shape}",
            found=f"{head.shape}",
        )


def _about(text: Any, path: str) -> dict[str, Any]:
    try:
        about = json.loads(str(text))
        return {
            "seed": int(about["seed"]),
            "iteration": int(about["iteration"]),
            "as_coded": bool(about["as_coded"]),
            "weights": str(about["weights"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DarknetError("this is not a training state", where=Where(file=path)) from error


def due(iteration: int, epoch_ended: int | None, model: Model, *, detects: bool) -> list[str]:
    """Return which checkpoints Darknet writes after an update, as suffixes of the cfg's name.

    Parameters
    ----------
    iteration : int
        The number of the update.
    epoch_ended : int or None
        The number of the epoch that ended with it.
    model : Model
    detects : bool
        Whether it is a detector.

    Notes
    -----
    C: ``train_detector`` and ``train_classifier``.
    """
    newest = _NEWEST[model.dialect.checkpoint_names]
    if model.dialect.checkpoint_names == "last":
        every = 1000 if model.network.net.max_batches < 10_000 else 10_000
        names = [f"_{iteration}.weights"] if iteration % every == 0 else []
        return [*names, newest] if iteration % 100 == 0 else names
    if detects:
        numbered = iteration % 10_000 == 0 or (iteration < 1000 and iteration % 100 == 0)
        names = [f"_{iteration}.weights"] if numbered else []
        return [*names, newest] if iteration % 100 == 0 else names
    names = [] if epoch_ended is None else [f"_{epoch_ended}.weights"]
    return [*names, newest] if iteration % 1000 == 0 else names


def stopped(model: Model) -> str:
    """Return the suffix of the cfg's name for the weights of an interrupted training."""
    return _NEWEST[model.dialect.checkpoint_names]


def final(model: Model, *, detects: bool) -> str:
    """Return the suffix of the cfg's name at the end of training."""
    called_final = detects or model.dialect.checkpoint_names == "last"
    return "_final.weights" if called_final else ".weights"
