"""Write a model as an ONNX file: checked, and complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from darknet_bn.convert.about import format_about
from darknet_bn.convert.names import SCHEMES
from darknet_bn.convert.onnx.build import ExportGraph, ExportOptions, Tensor, build_graph
from darknet_bn.convert.onnx.file import (
    ABOUT,
    ARRAYS,
    LAYERS,
    files_beside,
    is_own_name,
    newest_opset,
    onnx_files,
)
from darknet_bn.convert.onnx.heads import FORMS, Form
from darknet_bn.errors import ExportError
from darknet_bn.formats import systems
from darknet_bn.formats.writing import Writer, require_suffix, require_writable, write_files
from darknet_bn.model.model import Model
from darknet_bn.model.provenance import provenance
from darknet_bn.pictures.prepare import preparation
from darknet_bn.values import brief, file_name

T = TypeVar("T")

DEFAULT_OPSET = 18  # that ONNX Runtime, OpenVINO, TensorRT and OpenCV 5 all read
OLDEST_OPSET = 13


@dataclass(frozen=True)
class Exported:
    """An ONNX file that has been written.

    Attributes
    ----------
    path : Path
        The file.
    beside : Path or None
        The one with the arrays, where there is one.
    opset, head, half, threshold, nms : int, str, bool, float, float
        As they were asked for.
    input : Tensor
        Its type: dimensions are numbers, names for what is open, or None.
    outputs, values : mapping from name to Tensor
        What comes out of the file; what each layer gives.
    layers : mapping from layer number to name
        Where in the file the output of each layer is.
    notes : tuple of str
        In what the file differs from the program.
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

    def __repr__(self) -> str:
        """Return one line about it."""
        facts = f"opset {self.opset}, head {self.head}, outputs {', '.join(self.outputs)}"
        return brief(self, f"{file_name(self.path)}: {facts}")


def export_onnx(
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
    nms: float = 0.45,
    check: Callable[[Exported], Mapping[str, Any]] | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Exported:
    """Write a model as an ONNX file, complete or not at all.

    The file is written without a proof: nothing runs it.  `prove` does, also as ``check``, before
    the file has its name; the command ``export`` proves always.

    The input is called ``input``: (n, c, h, w), RGB planes from 0 to 1 as `prepare` makes them.
    The metadata say how pictures become that (``darknet_resize``, ``darknet_interpolation``,
    ``darknet_colours`` and ``darknet_range``, in the words of `preparation`), and name the classes
    if ``names`` are given.  Where the arrays are in the file as Darknet has them, it holds cfg and
    header too, and `load_arrays` makes the model of it again.

    Parameters
    ----------
    model : Model
    path : path
        The ``.onnx`` to write.  If the file would have more than 2 GB, the arrays are in a second
        one beside it, whose name ends in a hash of them and ``.data``.
    opset : int
        Of ONNX's operators, from 13 on.
    fold : bool
        Whether batch norm goes into the weights; else it is ``BatchNormalization``.
    head : "raw", "decoded", "yolov5", "yolov8" or "nms"
        What comes out.  ``raw``: ``layer_NNN``, what Darknet stores of each output layer.  Of a
        detector also, with k boxes in Darknet's order: ``decoded``, ``boxes`` (n, k, 4), left,
        top, right and bottom as parts of the input, and ``confs`` (n, k, classes), objectness
        times class; ``yolov5``, ``output0`` (n, k, 5 + classes), centre, size in pixels,
        objectness and classes; ``yolov8``, ``output0`` (n, 4 + classes, k), centre, size in
        pixels and objectness times class; ``nms``, ``detections`` (m, 7), number of the image,
        left, top, right, bottom, score and class of what non-maximum suppression leaves.
    batch : int or "any", optional
        How many images it takes; by default one, or one sequence.
    any_size : bool
        Whether it takes images of any size that the layers allow, not only of the cfg's.
    half : bool
        Whether it holds weights and computes in float16, but for detection heads; what goes in
        and out is float32.
    names : sequence of str, optional
        Of the classes, to be in the file.
    threshold, nms : float
        Of ``nms``: what a score must exceed, by default as in the dialect's program; and how much
        boxes may overlap.
    check : function, optional
        Called when the file is written but does not have its name yet: with where it is.  What it
        raises keeps the file from appearing.
    proof : path, optional
        A ``.json`` for what ``check`` returns.
    force : bool
        Whether to overwrite files that are there, though never one that the model was read from.

    Returns
    -------
    exported : Exported

    Raises
    ------
    ExportError
        The package onnx is not there, or does not know the opset; or a layer cannot be expressed,
        or not so.
    DarknetError
        The file exists already and ``force`` is off, or it cannot be written.
    """
    inputs = (model.cfg.file, model.file)
    require_suffix(path, ".onnx")
    if proof is not None:
        require_suffix(proof, ".json")
    require_writable([path, *([] if proof is None else [proof])], force=force, inputs=inputs)
    newest = newest_opset()
    if not OLDEST_OPSET <= opset <= newest:
        raise ExportError(
            "there is no such opset", expected=f"{OLDEST_OPSET} to {newest}", found=f"{opset}"
        )
    if head not in FORMS:
        raise ExportError("unknown form of a head", expected=", ".join(FORMS), found=f"{head!r}")
    if isinstance(batch, int) and batch < 1:
        raise ExportError("a batch has images", expected="1 or more", found=f"{batch}")
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
    made = build_graph(model, options)
    facts = _facts(model, made, options, names)
    target = Path(path)
    files = onnx_files(made, facts, target)
    *others, _ = files
    exported = Exported(
        target,
        others[0] if others else None,
        opset,
        head,
        half,
        options.threshold,
        options.nms,
        made.input,
        made.outputs,
        made.values,
        made.layers,
        made.notes,
    )
    if check is not None:
        files = _checked(files, exported, check, None if proof is None else Path(proof))
    write_files(files, force=force, inputs=inputs)
    for each in files_beside(target):  # of the file that was replaced
        if each != exported.beside and is_own_name(target, each):
            each.unlink(missing_ok=True)
    return exported


def _facts(
    model: Model, made: ExportGraph, options: ExportOptions, names: Sequence[str] | None
) -> dict[str, str]:
    """Return what the file says of itself, by key."""
    facts = {f"darknet_{key}": value for key, value in provenance(model).items()}
    facts["darknet_head"] = options.head
    facts[LAYERS] = json.dumps(made.layers)
    facts |= {f"{ABOUT}{key}": value for key, value in preparation(model).items()}
    if options.head == "nms":
        facts["threshold"], facts["nms"] = repr(options.threshold), repr(options.nms)
    if made.notes:
        facts["darknet_notes"] = json.dumps(made.notes)
    facts |= _way_back(made)
    if names is not None:  # as programs for YOLO read it
        facts["names"] = repr(dict(enumerate(names)))
    return facts


def _way_back(made: ExportGraph) -> dict[str, str]:
    """Return what makes Darknet's two files of the file again; nothing where arrays are changed."""
    network, scheme = made.model.network, SCHEMES["darknet"]
    places = scheme.places(network)
    if not {(layer, param.name) for layer, param in network.stored()} <= made.arrays.keys():
        return {}
    about = format_about(made.model, scheme.name)
    arrays = {key: made.arrays[place] for key, place in places.items() if place in made.arrays}
    facts = {f"{ABOUT}{key}": value for key, value in about.items()}
    return facts | {ARRAYS: json.dumps(arrays)}


def _checked(
    files: Mapping[Path, Writer],
    exported: Exported,
    check: Callable[[Exported], Mapping[str, Any]],
    proof: Path | None,
) -> dict[Path, Writer]:
    """Return what writes the files, with a check behind the last, and a file for its result."""
    written: dict[Path, Path] = {}
    facts: Mapping[str, Any] = {}

    def noted(name: Path, write: Writer) -> Writer:
        def write_and_check(stream: BinaryIO) -> None:
            nonlocal facts
            write(stream)
            stream.flush()
            written[name] = Path(stream.name)
            if len(written) == len(files):
                facts = _under_their_names(written, exported, check)

        return write_and_check

    def write_proof(stream: BinaryIO) -> None:
        stream.write(json.dumps(facts, indent=1).encode() + b"\n")

    checked = {name: noted(name, write) for name, write in files.items()}
    return checked if proof is None else checked | {proof: write_proof}


def _under_their_names(
    written: Mapping[Path, Path], exported: Exported, check: Callable[[Exported], T]
) -> T:
    """Call a function with a file that lies elsewhere still; it names the one beside it."""
    if exported.beside is None:
        return check(replace(exported, path=written[exported.path]))
    with tempfile.TemporaryDirectory(prefix=".", dir=exported.path.parent) as folder:
        for name, path in written.items():
            second_place(path, Path(folder) / name.name)
        return check(replace(exported, path=Path(folder) / exported.path.name))


def second_place(path: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system has no such thing.

    A symbolic link will not do: ONNX Runtime follows none out of the folder of a model.  Nor will a
    second name on Windows: it could not be taken away again while the file is being written.
    """
    if not systems.WINDOWS:
        with contextlib.suppress(OSError, AttributeError):
            os.link(path, target)
            return
    shutil.copyfile(path, target)
