"""``darknet-bn convert``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, models, options, output, progress, proofs

if TYPE_CHECKING:
    from darknet_bn.checks.proof import Stage

_WEIGHTS = ".weights"


@click.command(short_help="Convert weights to and from .safetensors, .npz, .pt; from .onnx.")
@click.argument("words", nargs=-1, required=True, type=options.FILE, metavar="CFG [WEIGHTS] OUT")
@click.option(
    "--names",
    type=click.Choice(["auto", *choices.SCHEMES]),
    default="auto",
    show_default=True,
    help="Array names: Darknet's, or those of a PyTorch port.  auto writes Darknet's, and "
    "recognises those of a file.",
)
@models.dialect
@models.partial
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@proofs.skip_proof
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

    The suffix of OUT says what is written.  The cfg and the header go into the file too, so that
    FILE alone becomes OUT.weights again, with OUT.cfg beside it, to the byte.  A file of another
    program has no cfg in it: give CFG FILE OUT.weights.  Nothing in FILE is ever executed.  Before
    OUT appears it is read again and compared.

    From .onnx too: what `export` wrote comes back to the byte.  Of another graph a cfg is made, if
    it consists of what Darknet has.  ONNX Runtime runs the file before OUT appears.  If any layer
    differs by more than the tolerance, nothing is written and the exit code is 1.  The same if ONNX
    Runtime is not installed, unless --skip-proof is given.

    Example: darknet-bn convert yolov3.cfg yolov3.weights yolov3.safetensors

    Example: darknet-bn convert yolov3.safetensors yolov3.weights

    Example: darknet-bn convert yolov3.cfg best.pt yolov3-best.weights

    Example: darknet-bn convert classifier.onnx classifier.weights
    """
    from darknet_bn.convert import FORMATS, READERS, save_pair

    if len(words) < 2:
        raise click.UsageError("missing argument: OUT")
    arguments.require_cfg_first(words)
    *sources, out = words
    suffix = Path(out).suffix.lower()
    if _is_onnx(out):
        raise click.UsageError(f"darknet-bn export writes {out}, and proves it")
    if suffix not in (_WEIGHTS, *FORMATS):
        raise click.UsageError(
            f"the suffix of OUT, '{out}', is none of {', '.join((_WEIGHTS, *FORMATS))}"
        )
    if len(sources) > 2:
        raise click.UsageError("there are too many arguments: expected CFG [WEIGHTS] OUT")
    proof: Sequence[str] = ()
    from_file = Path(sources[-1]).suffix.lower() in READERS
    if not from_file and suffix == _WEIGHTS:
        raise click.UsageError("the model is of Darknet already: OUT is to be of another format")
    if (skip_proof or tolerance is not None) and not _is_onnx(sources[-1]):
        raise click.UsageError("--skip-proof and --tolerance are for files of ONNX")
    if from_file and partial:
        raise click.UsageError("--partial is for .weights: the arrays of a file have names")
    # A file brings its cfg along; one that is given is there already.
    alone = from_file and len(sources) == 1
    cfg_out = str(Path(out).with_suffix(".cfg")) if alone and suffix == _WEIGHTS else None
    targets = [out] if cfg_out is None else [cfg_out, out]
    into = "darknet" if names == "auto" else names
    began = time.monotonic()
    if from_file:
        options.require_free(targets, force=force, inputs=sources)
        scheme = names if suffix == _WEIGHTS else "auto"
        proves = _is_onnx(sources[-1]) and not skip_proof
        if proves:
            proofs.require_engine()
        with progress.stages() as stage:
            stage("reading the file", None)
            model, cfg, weights = _load(sources, dialect, scheme)
            if proves:
                proof = _proof(model, weights, tolerance, stage)
    else:
        if len(sources) == 1:
            _require_no_source(out)
        source = models.Source(*models.find_files(sources), dialect, partial)
        options.require_free(targets, force=force, inputs=source.files)
        model, cfg, weights = source.load(), source.cfg, source.weights
    before = os.path.getsize(weights)
    if suffix == _WEIGHTS:
        save_pair(model, cfg_out, out, force=force)
    else:
        dn.save_arrays(model, out, names=into, force=force)
    facts: dict[str, Any] = {
        "names": None if suffix == _WEIGHTS else into,
        "arrays": sum(len(node.params) for node in model.network.nodes),
        "values": sum(param.size for node in model.network.nodes for param in node.params),
        "proof": " ".join(each.strip() for each in proof) or None,
        "written": {"file": out, "cfg": cfg_out},
        "bytes_before": before,
        "bytes_after": os.path.getsize(out),
        "seconds": time.monotonic() - began,
    }
    if as_json:
        output.print_json(output.about(model, cfg, weights) | facts)
    else:
        _as_text(model, facts, proof, targets)
        output.took_long(facts["seconds"])


def _as_text(
    model: dn.Model, facts: Mapping[str, Any], proof: Sequence[str], targets: Sequence[str]
) -> None:
    output.note(output.dialect(model))
    output.note(output.header(model))
    names = "" if facts["names"] is None else f", under names of {facts['names']}"
    output.note(f"converted: {facts['arrays']} arrays with {facts['values']} values{names}")
    for label, line in zip(("proven: ", ""), proof, strict=False):
        output.note(f"{label}{output.printable(line)}")
    output.note("checked: what was written reads back equal to the bit")
    output.note(
        f"written: {' and '.join(map(output.printable, targets))}, "
        f"{facts['bytes_before']} -> {facts['bytes_after']} bytes"
    )


def _require_no_source(out: str) -> None:
    """Refuse to write over arrays of another program: they may be the source, and OUT forgotten.

    Raises
    ------
    click.UsageError
        They stand in the place of OUT, and no weights do that could be written there.
    """
    from darknet_bn.convert import READERS

    try:
        foreign = READERS[Path(out).suffix.lower()](out).metadata is None
    except dn.DarknetError:  # there is no file, or none with arrays
        return
    if foreign:
        raise click.UsageError(
            f"missing argument: OUT, a name that ends in .weights, if {out} is to be converted; to "
            "write over it, give CFG and WEIGHTS too"
        )


def _is_onnx(file: str) -> bool:
    return Path(file).suffix.lower() == ".onnx"


def _proof(model: dn.Model, file: str, tolerance: float | None, stage: Stage) -> Sequence[str]:
    """Run the ONNX file beside the model, and refuse what differs."""
    from darknet_bn.checks.proof import prove_file

    with proofs.or_skipped():
        proof = prove_file(model, file, tolerance=tolerance, stage=stage)
    proofs.require(proof, lambda row: dn.Where(file=file, layer=row.layer), "the file")
    return proofs.agreement(proof)


def _load(sources: Sequence[str], dialect: str, names: str) -> tuple[dn.Model, str, str]:
    """Read a model from a file of arrays, behind its cfg where that is given."""
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
