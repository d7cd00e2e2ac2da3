"""Make an ONNX file of a model.

`export_onnx` in `checks` runs it before it gets its name; this module does not run anything.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from darknet_bn.convert.about import format_about
from darknet_bn.convert.build import ExportGraph, ExportOptions, Tensor, build_graph
from darknet_bn.convert.heads import FORMS, Form
from darknet_bn.convert.onnx.file import (
    ABOUT,
    ARRAYS,
    LAYERS,
    files_beside,
    is_own_name,
    newest_opset,
    onnx_files,
)
from darknet_bn.convert.schemes import SCHEMES
from darknet_bn.errors import ExportError
from darknet_bn.formats import systems
from darknet_bn.formats.writing import Writer, require_suffix, write_files
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.model.provenance import provenance
from darknet_bn.pictures.prepare import preparation
from darknet_bn.run.differences import Report
from darknet_bn.values import brief, file_name

DEFAULT_OPSET = 18  # ONNX Runtime, OpenVINO, TensorRT and OpenCV 5 can all read it
OLDEST_OPSET = 13


@dataclass(frozen=True)
class Exported:
    """An ONNX file that has been written.

    Attributes
    ----------
    path : Path
        The file.
    beside : Path or None
        The second file with the arrays, if there is one.
    opset, head, half, threshold, nms : int, str, bool, float, float
        As requested.
    input : Tensor
        Its type: dimensions are numbers, names for open ones, or None.
    outputs, values : mapping from name to Tensor
        The outputs of the file; the output of each layer.
    layers : mapping from layer number to name
        The value in the file that is the output of each layer.
    notes : tuple of str
        The ways in which the file differs from the program.
    proof : Report or None
        How its outputs agree with the model's; None if the file was not run.
    """

    path: Path
    beside: Path | None
    opset: int
    head: Form
    half: bool
    threshold: float
    nms: float
    input: Tensor
    outputs: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    layers: Mapping[int, str]
    notes: tuple[str, ...]
    proof: Report | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        facts = f"opset {self.opset}, head {self.head}, outputs {', '.join(self.outputs)}"
        return brief(self, f"{file_name(self.path)}: {facts}")


@dataclass(frozen=True)
class PreparedOnnx:
    """An ONNX file that only has to be written.

    Attributes
    ----------
    exported : Exported
        The result, once it is written.
    files : mapping from path to function
        The functions that write the files: first the file with the arrays, if there is one.
    inputs : tuple of path or None
        The files of the model, which are never overwritten.
    """

    exported: Exported
    files: Mapping[Path, Writer]
    inputs: tuple[str | None, ...]

    def write(self, files: Mapping[Path, Writer] | None = None, *, force: bool = False) -> Exported:
        """Write it, complete or not at all.

        Parameters
        ----------
        files : mapping from path to function, optional
            Functions that write the same files, and perhaps more; by default ``files``.
        force : bool
            Whether to overwrite existing files.

        Raises
        ------
        DarknetError
            The file already exists and ``force`` is off, or it cannot be written.
        """
        write_files(self.files if files is None else files, force=force, inputs=self.inputs)
        exported = self.exported
        for each in files_beside(exported.path):  # from the file that was replaced
            if each != exported.beside and is_own_name(exported.path, each):
                each.unlink(missing_ok=True)
        return exported

    @contextmanager
    def unnamed(self, written: Mapping[Path, Path]) -> Iterator[Exported]:
        """In the block, programs can run the file, which does not have its final name yet.

        Parameters
        ----------
        written : mapping from path to path
            The path of each of ``files``.
        """
        exported = self.exported
        if exported.beside is None:
            yield replace(exported, path=written[exported.path])
            return
        # The file refers to the second one by name, so both need their names, in a separate folder.
        with tempfile.TemporaryDirectory(prefix=".", dir=exported.path.parent) as folder:
            for name in self.files:
                second_place(written[name], Path(folder) / name.name)
            yield replace(exported, path=Path(folder) / exported.path.name)


def prepare_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    opset: int = DEFAULT_OPSET,
    fold: bool = True,
    head: Form = "raw",
    batch: int | Literal["any"] | None = None,
    any_size: bool = False,
    half: bool = False,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
    nms: float = DEFAULT_OVERLAP,
) -> PreparedOnnx:
    """Make an ONNX file of a model without writing it.  Nothing has run it, so it is unproven.

    Parameters
    ----------
    model, path, opset, fold, head, batch, any_size, half, names, threshold, nms
        As in `export_onnx`, which proves the file.

    Returns
    -------
    prepared : PreparedOnnx

    Raises
    ------
    ExportError
        The package onnx is not installed or does not know the opset; or a layer cannot be
        expressed, or not with these options.
    DarknetError
        The suffix is not ``.onnx``.
    """
    require_suffix(path, ".onnx")
    newest = newest_opset()
    if not OLDEST_OPSET <= opset <= newest:
        raise ExportError(
            "unsupported opset", expected=f"{OLDEST_OPSET} to {newest}", found=f"{opset}"
        )
    if head not in FORMS:
        raise ExportError("unknown head format", expected=", ".join(FORMS), found=f"{head!r}")
    if isinstance(batch, int) and batch < 1:
        raise ExportError("the batch is too small", expected="1 or more", found=f"{batch}")
    options = ExportOptions(
        opset=opset,
        fold=fold,
        head=head,
        batch=None if batch == "any" else batch or model.network.time_steps,
        fixed_size=not any_size,
        half=half,
        threshold=model.dialect.detection_threshold if threshold is None else threshold,
        nms=nms,
    )
    return prepared_of(model, build_graph(model, options), options, Path(path), names)


def prepared_of(
    model: Model,
    made: ExportGraph,
    options: ExportOptions,
    target: Path,
    names: Sequence[str] | None,
) -> PreparedOnnx:
    """Make an ONNX file of a graph without writing it.

    Parameters
    ----------
    model : Model
    made : ExportGraph
        The graph of the model, and what more its file says; ``facts`` get the rest.
    options : ExportOptions
        What it was made with.
    target : Path
        The file.
    names : sequence of str or None
        The classes.
    """
    made.graph.facts |= _facts(model, made, options, names)
    files = onnx_files(made, target)
    exported = Exported(
        path=target,
        beside=next((each for each in files if each != target), None),
        opset=made.graph.opset,
        head=options.head,
        half=options.half,
        threshold=options.threshold,
        nms=options.nms,
        input=made.input,
        outputs=made.outputs,
        values=made.values,
        layers=made.layers,
        notes=made.notes,
    )
    return PreparedOnnx(exported, files, (model.cfg.file, model.file))


def _facts(
    model: Model, made: ExportGraph, options: ExportOptions, names: Sequence[str] | None
) -> dict[str, str]:
    """Return what the file says about itself, by key."""
    facts = {f"darknet_{key}": value for key, value in provenance(model).items()}
    facts["darknet_head"] = options.head if options.heads else "none"
    facts[LAYERS] = json.dumps(made.layers)
    facts |= {f"{ABOUT}{key}": value for key, value in preparation(model).items()}
    if options.head == "nms":
        facts["threshold"], facts["nms"] = repr(options.threshold), repr(options.nms)
    if made.notes:
        facts["darknet_notes"] = json.dumps(made.notes)
    facts |= _way_back(made)
    if names is not None:  # in the form that programs for YOLO read
        facts["names"] = repr(dict(enumerate(names)))
    return facts


def _way_back(made: ExportGraph) -> dict[str, str]:
    """Return what is needed to restore Darknet's two files; empty if arrays are changed."""
    network, scheme = made.model.network, SCHEMES["darknet"]
    places = scheme.places(network)
    if not {(layer, param.name) for layer, param in network.stored()} <= made.arrays.keys():
        return {}
    about = format_about(made.model, scheme.name)
    arrays = {key: made.arrays[place] for key, place in places.items() if place in made.arrays}
    facts = {f"{ABOUT}{key}": value for key, value in about.items()}
    return facts | {ARRAYS: json.dumps(arrays)}


def second_place(path: Path, target: Path) -> None:
    """Give a file a second name, or copy it if the file system does not support that.

    A symbolic link will not do: ONNX Runtime does not follow links out of a model's folder.  Nor
    will a second name on Windows: it could not be removed while the file is being written.
    """
    if not systems.WINDOWS:
        with suppress(OSError, AttributeError):
            os.link(path, target)
            return
    shutil.copyfile(path, target)
