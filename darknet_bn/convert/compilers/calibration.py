"""Write pictures as arrays, from which a compiler learns the range of values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.convert.compilers.table import Calibration
from darknet_bn.formats.writing import Writer
from darknet_bn.model.model import Model
from darknet_bn.pictures.batches import load_inputs
from darknet_bn.pictures.prepare import own_fit, picture_shape

_AT_ONCE = 8  # pictures in memory
_WHITE = 255


def calibration_files(
    model: Model, form: Calibration, pictures: Sequence[str], stem: Path
) -> dict[Path, Writer]:
    """Return the functions that write pictures as a compiler wants them.

    Parameters
    ----------
    model : Model
        Its own preprocessing is used.
    form : Calibration
    pictures : sequence of str
        Paths; a few of them are in memory at a time.
    stem : Path
        The name of the model's file without its suffix.

    Returns
    -------
    files : dict from path to function
        One ``.npy``, or one for each picture in a folder.

    Raises
    ------
    ShapeError
        The network takes no pictures.
    """
    picture_shape(model.network)
    if not pictures:
        return {}
    if not form.apart:
        write = partial(_write_all, model, form, tuple(pictures))
        return {stem.with_name(f"{stem.name}.calibration.npy"): write}
    folder = stem.with_name(f"{stem.name}.calibration")
    return {
        folder / f"{number:04d}.npy": partial(_write_one, model, form, path)
        for number, path in enumerate(pictures)
    }


def _write_all(model: Model, form: Calibration, pictures: Sequence[str], stream: BinaryIO) -> None:
    """Write pictures one after the other below a header that says how many they are."""
    for start in range(0, len(pictures), _AT_ONCE):
        x = _formed(model, form, pictures[start : start + _AT_ONCE])
        if not start:
            _write_header(stream, (len(pictures), *x.shape[1:]), x.dtype)
        stream.write(x.data)


def _write_one(model: Model, form: Calibration, path: str, stream: BinaryIO) -> None:
    (x,) = _formed(model, form, [path])
    _write_header(stream, x.shape, x.dtype)
    stream.write(x.data)


def _write_header(stream: BinaryIO, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    descr = np.lib.format.dtype_to_descr(kind)
    facts = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)


def _formed(model: Model, form: Calibration, pictures: Sequence[str]) -> npt.NDArray[Any]:
    """Return pictures in the layout and range of a compiler."""
    x: F32
    x, _ = load_inputs(model, pictures, own_fit(model))
    if form.layout == "NHWC":
        x = x.transpose(0, 2, 3, 1)
    if not form.levels:
        return np.ascontiguousarray(x)
    levels = np.rint(x * np.float32(_WHITE)).clip(0, _WHITE)
    return np.ascontiguousarray(levels.astype(np.uint8))
