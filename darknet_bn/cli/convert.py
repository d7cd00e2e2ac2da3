"""``darknet-bn convert``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, models, options, output, progress

_WEIGHTS = ".weights"


@click.command(short_help="Convert weights to and from .safetensors, .npz, .pt; from .onnx.")
@click.argument("words", nargs=-1, required=True, type=options.FILE, metavar="CFG [WEIGHTS] OUT")
@click.option(
    "--names",
    type=click.Choice(["auto", *choices.SCHEMES]),
    default="auto",
    show_default=True,
    help="Array names: Darknet's or a PyTorch port's.  auto writes Darknet's "
    "and detects the names in a file.",
)
@models.dialect
@models.partial
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@options.skip_proof
@options.tolerance("1e-5, or 4 times float32 rounding")
@options.json
@options.quiet("warnings and errors")
def convert(
    words: tuple[str, ...],
    names: str,
    dialect: str,
    partial: bool,
    force: bool,
    skip_proof: bool,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Convert weights to and from .safetensors, .npz and PyTorch state dicts (.pt, .pth).

    The suffix of OUT selects the format.  The file also stores the cfg and the header, so FILE
    alone can be converted back to identical OUT.weights and OUT.cfg.  Files of other programs do
    not contain a cfg: give CFG FILE OUT.weights.  Nothing in FILE is ever executed.  OUT is read
    back and compared before it appears.

    From .onnx: files written by `export` are converted back byte for byte.  For other graphs, a
    cfg is made if Darknet has all their operators.  ONNX Runtime runs the file before OUT appears.
    If any layer differs by more than the tolerance, nothing is written and the exit code is 1.
    The same happens if ONNX Runtime is not installed, unless --skip-proof is given.

    Example: darknet-bn convert yolov3.cfg yolov3.weights yolov3.safetensors

    Example: darknet-bn convert yolov3.safetensors yolov3.weights

    Example: darknet-bn convert yolov3.cfg best.pt yolov3-best.weights

    Example: darknet-bn convert classifier.onnx classifier.weights
    """
    from darknet_bn.checks.agreement import require_engine
    from darknet_bn.checks.convert import is_onnx
    from darknet_bn.convert import FORMATS, READERS

    if len(words) < 2:
        raise click.UsageError("missing argument: OUT")
    arguments.require_cfg_first(words)
    *sources, out = words
    suffix = Path(out).suffix.lower()
    if is_onnx(out):
        raise click.UsageError(f"use darknet-bn export to write {out}")
    if suffix not in (_WEIGHTS, *FORMATS):
        raise click.UsageError(
            f"the suffix of OUT, '{out}', is not one of {', '.join((_WEIGHTS, *FORMATS))}"
        )
    if len(sources) > 2:
        raise click.UsageError("too many arguments: expected CFG [WEIGHTS] OUT")
    from_file = Path(sources[-1]).suffix.lower() in READERS
    if not from_file and suffix == _WEIGHTS:
        raise click.UsageError("the model is already in Darknet's format; give OUT a different one")
    if (skip_proof or tolerance is not None) and not is_onnx(sources[-1]):
        raise click.UsageError("--skip-proof and --tolerance are for ONNX files only")
    if from_file and partial:
        raise click.UsageError("--partial is for .weights only; other formats name their arrays")
    # A file includes its cfg; a cfg that is given already exists.
    alone = from_file and len(sources) == 1
    cfg_out = str(Path(out).with_suffix(".cfg")) if alone and suffix == _WEIGHTS else None
    targets = [out] if cfg_out is None else [cfg_out, out]
    into = "darknet" if names == "auto" else names
    began = time.monotonic()
    with progress.stages() as stage:
        if from_file:
            options.require_free(targets, force=force, inputs=sources)
            if is_onnx(sources[-1]) and not skip_proof:
                require_engine()
            stage("reading the file", None)
            model, cfg, weights = _load(sources, dialect, names if suffix == _WEIGHTS else "auto")
        else:
            if len(sources) == 1:
                _require_no_source(out)
            source = models.Source(*models.find_files(sources), dialect, partial)
            options.require_free(targets, force=force, inputs=source.files)
            model, cfg, weights = source.load(), source.cfg, source.weights
        before = os.path.getsize(weights)
        report = dn.convert_file(
            model,
            out,
            cfg_out,
            names=into,
            prove=not skip_proof,
            tolerance=tolerance,
            force=force,
            stage=stage,
        )
    seconds = time.monotonic() - began
    arrays = [param.size for node in model.network.nodes for param in node.params]
    facts = output.about(model, cfg, weights) | {
        "scheme": None if suffix == _WEIGHTS else into,
        "arrays": len(arrays),
        "values": sum(arrays),
        "proof": None if report is None else report.json(),
        "written": {"file": out, "cfg": cfg_out},
        "bytes_before": before,
        "bytes_after": os.path.getsize(out),
        "seconds": seconds,
    }
    under = "" if suffix == _WEIGHTS else f", with {into} names"
    verdict = [] if report is None else report.verdict()
    lines = [
        output.dialect(model),
        output.header(model),
        f"converted: {len(arrays)} arrays with {sum(arrays)} values{under}",
        *(
            f"{label}{output.printable(line)}"
            for label, line in zip(("proven: ", ""), verdict, strict=False)
        ),
        "checked: the written file reads back bit for bit",
        f"written: {' and '.join(map(output.printable, targets))}, "
        f"{before} -> {facts['bytes_after']} bytes",
    ]
    output.show(facts, lines, as_json=as_json)
    output.took_long(seconds)


def _require_no_source(out: str) -> None:
    """Refuse to overwrite arrays of another program: they may be the source, and OUT forgotten.

    Raises
    ------
    click.UsageError
        They are in the place of OUT, and there are no weights that could be written to them.
    """
    from darknet_bn.convert import READERS

    try:
        foreign = READERS[Path(out).suffix.lower()](out).metadata is None
    except dn.DarknetError:  # there is no such file, or it does not hold arrays
        return
    if foreign:
        raise click.UsageError(
            f"missing argument: OUT, a name that ends in .weights, if {out} is to be converted; to "
            "write over it, give CFG and WEIGHTS too"
        )


def _load(sources: Sequence[str], dialect: str, names: str) -> tuple[dn.Model, str, str]:
    """Read a model from a file of arrays, after its cfg if that is given."""
    from darknet_bn.convert import READERS

    *cfgs, file = sources
    if not cfgs:
        return dn.load_arrays(file, dialect=dialect, names=names), file, file
    if Path(cfgs[0]).suffix.lower() in (_WEIGHTS, *READERS):
        raise click.UsageError(f"expected the cfg before {file}, not {cfgs[0]}")
    (cfg,) = cfgs
    if not os.path.exists(cfg) and os.path.exists(f"{cfg}.cfg"):
        cfg = f"{cfg}.cfg"
    return dn.load_arrays(file, cfg, dialect=dialect, names=names), cfg, file
