"""``darknet-bn compare``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress
from darknet_bn.engines.base import ENGINES

if TYPE_CHECKING:
    from darknet_bn.arrays import F32

_RECORDED = 1e-4  # the tolerance for a recording


class _Other(options.Name):
    """An engine or a file; shells complete both."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return that it may be a file, and the engines that begin with the text."""
        engines = [CompletionItem(name) for name in ENGINES if name.startswith(incomplete)]
        return [*super().shell_complete(ctx, param, incomplete), *engines]


@click.command()
@models.model_other_and_input
@click.option(
    "--with",
    "other",
    type=_Other(),
    metavar="OTHER",
    help=f"{', '.join(ENGINES)}; an .onnx or .param file; a recording (.npz); or "
    "another model: OTHER.cfg [OTHER.weights].",
)
@options.seed
@options.tolerance("1e-4, or 4 times float32 rounding")
@options.json
@options.quiet("the layers that differ")
@click.pass_context
def compare(
    ctx: click.Context,
    source: models.Source,
    other: str | None,
    other_weights: str | None,
    input_path: str | None,
    seed: int | None,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Find the first layer where two models or engines disagree.

    The model runs here, in Darknet's order of operations, and in the other program, on the same
    input: INPUT, as for darknet-bn run, or random values.  Every layer that both of them show is
    compared.  If a layer differs, the first such layer is named and the exit code is 1.

    Example: darknet-bn compare yolov3.cfg yolov3.weights --with onnxruntime
    """
    from darknet_bn.cli.inputs import read_input
    from darknet_bn.engines.opencv import OpenCvReader

    if other is None:
        raise click.UsageError(f"missing option: --with, one of {', '.join(ENGINES)}, or a file")
    model = source.load()
    hint = None
    with progress.bar("comparing", len(model.network.nodes)) as step:
        if other.endswith(".npz"):
            if input_path is not None or seed is not None:
                raise click.UsageError("a recording contains its own input")
            least = _RECORDED if tolerance is None else tolerance
            report = dn.verify(model, other, tolerance=least, after_layer=step)
            given = None
        else:
            given = read_input(input_path, seed, model)
            theirs = _other(other, other_weights, model, source)
            report = dn.compare(model, theirs, given.x, tolerance=tolerance, after_layer=step)
            if not report.ok and isinstance(theirs, OpenCvReader):
                hint = _opencv_hint(model, source, theirs, given.x, tolerance)
    facts = output.about(model, source.cfg, source.weights) | {"with": other, "hint": hint}
    facts |= {"input": other, "fit": None} if given is None else given.facts
    who = report.program or "a recording of unknown origin"
    lines: output.Lines = [
        output.dialect(model),
        *([f"input: {output.printable(other)}"] if given is None else given.lines(model)),
        f"with: {output.printable(who)}",
        *output.report_lines(report),
        *([output.Line(hint)] if hint is not None else []),
    ]
    output.show(facts | report.json(), lines, as_json=as_json)
    ctx.exit(0 if report.ok else 1)


def _other(
    name: str, weights: str | None, model: dn.Model, source: models.Source
) -> dn.Model | dn.Session:
    if weights is None and name in ENGINES:
        return dn.open_session(model, name)
    if weights is None and name.endswith(".onnx"):
        return dn.OnnxFile(name, model)
    if weights is None and name.endswith(".param"):
        return dn.NcnnFile(name, model)
    found = models.find_files([name] if weights is None else [name, weights])
    if not os.path.exists(found[0]):
        raise click.UsageError(
            f"--with {name}: no such engine, file or model (engines: {', '.join(ENGINES)})"
        )
    return models.Source(*found, source.dialect, source.partial).load()


def _opencv_hint(
    model: dn.Model,
    source: models.Source,
    opencv: dn.Session,
    x: F32,
    tolerance: float | None,
) -> str | None:
    """Say that OpenCV 4 computes differently, if that explains the whole difference."""
    as_opencv = replace(source, dialect=dn.OPENCV.name).load()
    if not dn.compare(as_opencv, opencv, x, tolerance=tolerance).ok:
        return None
    sigmas = {(each.eps, each.eps_inside_sqrt) for each in (model.dialect, dn.OPENCV)}
    why = "OpenCV 4 always computes σ = √(v + 1e-6); " if len(sigmas) > 1 else ""
    return f"{why}--dialect opencv agrees"
