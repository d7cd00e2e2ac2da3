"""Write a model in another format, and check that the file holds the same model."""

from __future__ import annotations

import os
from pathlib import Path

from darknet_bn.checks.agreement import (
    Stage,
    or_unproven,
    require_agreement,
    require_engine,
    silent,
)
from darknet_bn.checks.proof import prove_file
from darknet_bn.convert import save_arrays, save_pair
from darknet_bn.errors import Where
from darknet_bn.model.model import Model
from darknet_bn.model.model_files import WEIGHTS
from darknet_bn.run.differences import Report


def convert_file(
    model: Model,
    path: str | os.PathLike[str],
    cfg: str | os.PathLike[str] | None = None,
    *,
    names: str = "darknet",
    prove: bool = True,
    tolerance: float | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> Report | None:
    """Write a model in the format of the path's suffix, if it can be read back unchanged.

    The file is read again before it appears, and must give the same model to the bit.  A model that
    `load_arrays` read from an ONNX file is proven first: ONNX Runtime runs that file, and if any
    layer differs by more than the tolerance, nothing is written.

    Parameters
    ----------
    model : Model
    path : path
        ``.weights``, ``.safetensors``, ``.npz``, ``.pt`` or ``.pth``.
    cfg : path, optional
        The ``.cfg`` to write next to ``.weights``; the other formats hold it.
    names : str
        The naming scheme, as in `save_arrays`.
    prove : bool
        Whether a model from an ONNX file must be proven.  This needs ONNX Runtime.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    force : bool
        Whether to overwrite existing files.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    report : Report or None
        How the model agrees with the ONNX file it was read from; None if nothing was compared.

    Raises
    ------
    ProofError
        The model computes something different from the ONNX file, or this cannot be checked.
    DarknetError
        The suffix or the scheme is unknown, or the files cannot be written.
    """
    report = None
    if prove and is_onnx(model.file):
        report = _proven(model, os.fspath(model.file or ""), tolerance, stage)
    if Path(path).suffix.lower() == WEIGHTS:
        save_pair(model, cfg, path, force=force)
    else:
        save_arrays(model, path, names=names, force=force)
    return report


def is_onnx(file: str | os.PathLike[str] | None) -> bool:
    """Return whether the name is the name of an ONNX file."""
    return file is not None and Path(file).suffix.lower() == ".onnx"


def _proven(model: Model, file: str, tolerance: float | None, stage: Stage) -> Report:
    require_engine()
    with or_unproven():
        report = prove_file(model, file, tolerance=tolerance, stage=stage)
    require_agreement(report, lambda each: Where(file=file, layer=each.layer), "the file")
    return report
