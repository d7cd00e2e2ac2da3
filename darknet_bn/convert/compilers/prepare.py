"""Make the files that the compiler of a neural processor takes.

`export_for` in `checks` runs the model's file before it gets its name; nothing here could.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from typing import BinaryIO

from darknet_bn.convert.build import ExportGraph, ExportOptions, build_graph
from darknet_bn.convert.compilers.calibration import calibration_files
from darknet_bn.convert.compilers.rewriting import (
    Replaced,
    layer_of,
    respell,
    rewrite,
    sizes_of_graph,
)
from darknet_bn.convert.compilers.table import COMPILERS, Compiler
from darknet_bn.convert.onnx.export import PreparedOnnx, prepared_of
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import Writer, require_suffix
from darknet_bn.graph.graph import Op
from darknet_bn.model.model import Model
from darknet_bn.values import counted

_OPSET = 18  # in which layers are expressed, and some of them replaced
_OF_ACTIVATIONS = (
    "Mish",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Elu",
    "Selu",
    "Exp",
    "LeakyRelu",
    "Clip",
    "Floor",
)


@dataclass(frozen=True)
class PreparedFor:
    """The files for a compiler, which only have to be written.

    Attributes
    ----------
    onnx : PreparedOnnx
        The model.
    beside : mapping from path to function
        The functions that write the other files.
    replaced : tuple of Replaced
    end_nodes : mapping from layer number to str
        The node that gives the output of each layer before a head.
    commands : tuple of str
        How the compiler is called.
    calibration : Path or None
        The file of pictures, or their folder.
    """

    onnx: PreparedOnnx
    beside: Mapping[Path, Writer]
    replaced: tuple[Replaced, ...]
    end_nodes: Mapping[int, str]
    commands: tuple[str, ...]
    calibration: Path | None


def compiler_named(name: str) -> Compiler:
    """Return a compiler.

    Raises
    ------
    ExportError
        There is none of this name.
    """
    if name not in COMPILERS:
        raise ExportError(
            "unknown compiler", expected=f"one of {', '.join(COMPILERS)}", found=f"{name!r}"
        )
    return COMPILERS[name]


def prepare_for(
    model: Model,
    path: str | os.PathLike[str],
    name: str,
    *,
    pictures: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> PreparedFor:
    """Make the files for a compiler without writing them.  Nothing has run them.

    Parameters
    ----------
    model, path, name, pictures, names
        As in `export_for`, which proves the file.

    Returns
    -------
    prepared : PreparedFor

    Raises
    ------
    ExportError
        There is no such compiler, or it has nothing for a layer; the message names the layer.
    DarknetError
        The suffix is that of other files.
    """
    compiler = compiler_named(name)
    require_suffix(path, compiler.suffix)
    require_pictures(model)
    options = ExportOptions(_OPSET, heads=False)
    made = build_graph(model, options)
    replaced = rewrite(made, compiler.replacements)
    require_operators(model, made, name, compiler)
    respell(made.graph, compiler.opset)
    made.graph.facts["darknet_compiler"] = name
    said = [f"layer {each.layer}: {each.replacement.text}" for each in replaced]
    made.graph.facts["darknet_replaced"] = json.dumps(said)
    target = Path(path)
    onnx = prepared_of(model, made, options, target, names)
    ends = _end_nodes(model, made)
    arrays = calibration_files(model, compiler.calibration, pictures, _stem(target))
    calibration = next(iter(arrays), None)
    if calibration is not None and compiler.calibration.apart:
        calibration = calibration.parent
    fields = _fields(model, target, ends, tuple(onnx.exported.outputs), calibration)
    fields["pictures"] = "\n".join(os.path.abspath(each) for each in arrays)
    beside: dict[Path, Writer] = dict(arrays)
    more = compiler.calibration_files if pictures else {}
    for suffix, text in (*compiler.files.items(), *more.items()):
        content = Template(text).substitute(fields).encode()
        beside[target.with_name(_stem(target).name + suffix)] = partial(_write, content)
    quoted = {key: each if key == "nodes" else shlex.quote(each) for key, each in fields.items()}
    commands = compiler.calibrated if pictures else compiler.commands
    return PreparedFor(
        onnx,
        beside,
        replaced,
        ends,
        tuple(Template(each).substitute(quoted) for each in commands),
        calibration,
    )


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def _stem(target: Path) -> Path:
    return target.with_name(target.name[: -len(target.suffix)])


def _fields(
    model: Model,
    target: Path,
    ends: Mapping[int, str],
    outputs: Sequence[str],
    calibration: Path | None,
) -> dict[str, str]:
    """Return what the places in templates are filled with."""
    shape, stem = model.network.input, _stem(target)
    quantize = "false" if calibration is None else f"true\n    dataset: ./{stem.name}.dataset.txt"
    return {
        "onnx": str(target),
        "name": stem.name,
        "stem": str(stem),
        "folder": str(target.parent),
        "nodes": " ".join(shlex.quote(each) for each in ends.values()),
        "outputs": "\n".join(f"        - {each}" for each in outputs),
        "zeros": f"[{', '.join(['0.0'] * shape.c)}]",
        "levels": f"[{', '.join(['255.0'] * shape.c)}]",
        "dims": f"1,{shape.c},{shape.h},{shape.w}",
        "calibration": "" if calibration is None else str(calibration),
        "quantize": quantize,
    }


def _end_nodes(model: Model, made: ExportGraph) -> dict[int, str]:
    """Return the node that computes each output, by the layer."""
    layers: dict[str, int] = {}
    for number, name in made.layers.items():  # of layers that share a value, the first
        layers.setdefault(name, number)
    nodes = {}
    for value in made.graph.outputs:
        layer = layers[made.graph.name(value)]
        if value.op is None:
            raise ExportError(
                "the output does not depend on the picture", where=model.cfg.where(layer + 1)
            )
        nodes[layer] = value.op.name
    return nodes


def require_pictures(model: Model) -> None:
    """Refuse nets that are not for single pictures.

    Raises
    ------
    ExportError
        The net is not.
    """
    network = model.network
    if network.input.flat:
        raise ExportError("compilers of neural processors take nets for pictures")
    if network.time_steps > 1:
        (first, *_) = (i for i, node in enumerate(network.nodes) if node.layer.recurrent)
        raise ExportError(
            "compilers of neural processors take single pictures, not sequences",
            where=model.cfg.where(first + 1),
        )


def require_operators(model: Model, made: ExportGraph, name: str, compiler: Compiler) -> None:
    """Refuse a graph with an operator that the compiler does not have.

    Raises
    ------
    ExportError
        There is such an operator; the message names its layer.
    """
    sizes = sizes_of_graph(made)
    for op in made.graph.ops:
        limit = compiler.operators.get(op.kind)
        wrong = f"no {op.kind}" if limit is None else limit(op, sizes)
        if wrong is None:
            continue
        found = op.kind if limit is None else f"{op.kind} with {wrong}"
        raise ExportError(
            f"{name} has nothing for this layer",
            where=model.cfg.where(layer_of(op) + 1),
            expected=f"operators of {compiler.title}",
            found=found,
            hint=_hint(model, op),
        )


def _hint(model: Model, op: Op) -> str | None:
    """Say what helps if it is the activation that is in the way."""
    option = model.cfg.sections[layer_of(op) + 1].find("activation")
    if op.kind not in _OF_ACTIVATIONS or option is None:
        return None
    return f"train the net with leaky or relu, not {option.value}"


def described(replaced: Sequence[Replaced]) -> list[str]:
    """Return a line for each kind of replacement, and how many layers have it."""
    texts = [each.replacement.text for each in replaced]
    return [f"{text} ({counted(texts.count(text), 'layer')})" for text in dict.fromkeys(texts)]
