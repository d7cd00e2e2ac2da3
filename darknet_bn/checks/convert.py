"""Write a model in another format, if what is written is the same."""

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
    """Write a model in the format that a suffix says, if what is written is the same.

    It is read again before it appears, and must give the same model to the bit.  A model that
    `load_arrays` read from an ONNX file has to prove right before: ONNX Runtime runs that file, and
    if any layer differs by more than the tolerance, nothing is written.

    Parameters
    ----------
    model : Model
    path : path
        ``.weights``, ``.safetensors``, ``.npz``, ``.pt`` or ``.pth``.
    cfg : path, optional
        The ``.cfg`` to write beside ``.weights``; the other formats hold it.
    names : str
        The scheme of names, as of `save_arrays`.
    prove : bool
        Whether a model of an ONNX file has to prove right.  Without ONNX Runtime it cannot.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    force : bool
        Whether to overwrite files that are there.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    report : Report or None
        How the model agrees with the ONNX file that it was read from; None if it was not compared.

    Raises
    ------
    ProofError
        The model computes something else than the ONNX file; or that cannot be proven.
    DarknetError
        The suffix or the scheme is unknown; or the files cannot be written.
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
    """Tell whether the name is that of an ONNX file."""
    return file is not None and Path(file).suffix.lower() == ".onnx"


def _proven(model: Model, file: str, tolerance: float | None, stage: Stage) -> Report:
    require_engine()
    with or_unproven():
        report = prove_file(model, file, tolerance=tolerance, stage=stage)
    require_agreement(report, lambda each: Where(file=file, layer=each.layer), "the file")
    return report
