"""``darknet-bn export --for``: files for the compiler of a neural processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from darknet_bn.cli import choices, options, output
from darknet_bn.cli.export_files import Made

if TYPE_CHECKING:
    from darknet_bn.checks.export_for import ExportedFor, LayerReplaced

Command = TypeVar("Command", bound=Callable[..., Any])

EDGETPU = "edgetpu"
"""The one that takes TensorFlow Lite."""
# The options whose values the compiler decides.
_EXCLUDED = (
    *("opset", "head", "keep_batch_norm", "batch", "any_size", "half", "thresh", "nms", "layers"),
)


def compiler(command: Command) -> Command:
    """Add ``--for`` and ``--calibration``."""
    name = click.option(
        "--for",
        "target",
        type=click.Choice(choices.COMPILERS),
        help="Write files for this compiler of a neural processor: without heads, and with "
        "operators that it has.  The compiler itself is not run.",
    )
    calibration = click.option(
        "--calibration",
        multiple=True,
        type=options.FILE,
        metavar="PICTURES",
        help="With --for: pictures to write as the compiler wants them, a file, a folder or a "
        "pattern; may be repeated.",
    )
    return name(calibration(command))


def require_alone(target: str | None, pictures: Sequence[str], out: str) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    click.UsageError
        ``--calibration`` without ``--for``, ``--for`` with an option that it decides, or a file of
        another kind than the compiler takes.
    """
    if target is not None:
        suffix = ".tflite" if target == EDGETPU else ".onnx"
        if Path(out).suffix.lower() != suffix:
            raise click.UsageError(f"--for {target} needs OUT to end in {suffix}, not {out}")
    if target == EDGETPU and not pictures:
        raise click.UsageError("--for edgetpu needs --calibration PICTURES")
    if target is None and pictures:
        raise click.UsageError("--calibration needs --for")
    context = click.get_current_context()
    for param in context.command.params if target is not None else ():
        given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name in _EXCLUDED:
            raise click.UsageError(f"--for decides what {param.opts[0]} would")


def found_pictures(words: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of pictures.

    Raises
    ------
    DarknetError
        A word leads to no picture.
    """
    from darknet_bn.cli import pictures

    found = pictures.find(words) if words else None
    if found is None:
        return ()
    for problem in found.problems:
        raise problem.error
    return found.paths


def completed(made: Made, exported: ExportedFor, pictures: Sequence[str]) -> Made:
    """Add what is said about a compiler's files to what is said about the ONNX file."""
    *before, last = made.lines
    lines = [*before, *_lines(exported, pictures), last, *_closing(exported)]
    facts = made.facts | {"compiler": _facts(exported, pictures)}
    return made._replace(facts=facts, lines=lines)


def completed_edgetpu(made: Made) -> Made:
    """Say in the words of the other compilers what the notes of `export_edgetpu` say."""
    *replaced, command = made.notes
    *before, last = made.lines
    lines = [*before, *(f"replaced: {text}" for text in replaced), last]
    lines += ["next, with Edge TPU compiler (not run here):", f"  {command.partition(': ')[2]}"]
    return made._replace(notes=(), lines=lines)


def _facts(exported: ExportedFor, pictures: Sequence[str]) -> dict[str, Any]:
    """Return the facts about a compiler's files for JSON."""
    from darknet_bn.convert.compilers.table import COMPILERS

    form = COMPILERS[exported.compiler].calibration
    calibration = {
        "path": str(exported.calibration),
        "pictures": len(pictures),
        "layout": form.layout[1:] if form.apart else form.layout,
        "range": _range(exported.compiler),
    }
    return {
        "name": exported.compiler,
        "title": exported.title,
        "files": [str(path) for path in exported.paths],
        "end_nodes": {str(layer): node for layer, node in exported.end_nodes.items()},
        "replaced": [
            {
                "layer": each.layer,
                "section": each.section,
                "text": each.text,
                "exact": each.exact,
                "error": each.error,
            }
            for each in exported.replaced
        ],
        "output_changes": {str(layer): each for layer, each in exported.output_changes.items()},
        "calibration": None if exported.calibration is None else calibration,
        "commands": list(exported.commands),
        "run_here": False,
    }


def _lines(exported: ExportedFor, pictures: Sequence[str]) -> Iterator[str]:
    """Yield what is said about a compiler's files, but for the proof."""
    for layer, node in exported.end_nodes.items():
        yield f"end node: {node}, the output of layer {layer}"
    yield from _replaced(exported.replaced)
    for layer, change in exported.output_changes.items():
        yield f"changed: the output of layer {layer} by at most {change:.2g} of its largest value"
    if exported.calibration is not None:
        from darknet_bn.convert.compilers.table import COMPILERS
        from darknet_bn.values import counted

        form = COMPILERS[exported.compiler].calibration
        what = counted(len(pictures), "picture")
        layout = form.layout[1:] if form.apart else form.layout
        yield (
            f"calibration: {output.printable(str(exported.calibration))}, {what}, {layout}, "
            f"{_range(exported.compiler)}"
        )


def _closing(exported: ExportedFor) -> Iterator[str]:
    """Yield what to do next."""
    beside = [str(path) for path in exported.paths if path.parent == exported.onnx.path.parent]
    more = ", ".join(each for each in beside if each != str(exported.onnx.path))
    if more:
        yield f"written with it: {output.printable(more)}"
    yield f"next, with {exported.title} (not run here):"
    for command in exported.commands:
        yield f"  {output.printable(command)}"
    if not exported.commands:
        yield "  --calibration PICTURES gives what its quantiser needs"
    given = ", ".join(f"{layer}: ..." for layer in exported.end_nodes)
    yield f"what it computes becomes the model's output by dn.run_heads(model, {{{given}}})"


def _range(name: str) -> str:
    from darknet_bn.convert.compilers.table import COMPILERS

    levels = COMPILERS[name].calibration.levels
    return "0..255 in uint8" if levels else "0..1 in float32"


def _replaced(replaced: Iterable[LayerReplaced]) -> Iterator[str]:
    """Yield a line for each kind of replacement: how often, and the largest error."""
    kinds: dict[str, list[LayerReplaced]] = {}
    for each in replaced:
        kinds.setdefault(each.text, []).append(each)
    for text, layers in kinds.items():
        many = f"{len(layers)} layers" if len(layers) > 1 else f"layer {layers[0].layer}"
        errors = [(each.error, each.layer) for each in layers if each.error is not None]
        said = f"replaced: {text}; {many}"
        if errors:
            error, layer = max(errors)
            place = f" in layer {layer}" if len(layers) > 1 else ""
            said += f", error on the same input at most {error:.2g}{place}"
        yield said
