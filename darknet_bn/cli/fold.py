"""``darknet-bn fold``, which other programs call ``fuse`` and ``denormalize``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress


@click.command(short_help="Fold batch norm into the weights before it (also: fuse, denormalize).")
@models.model
@options.out("Write OUT.cfg and OUT.weights.")
@options.tolerance("1e-4, or 4 times float32 rounding")
@options.json
@options.quiet("the layers that keep their batch norm")
def fold(
    source: models.Source, out: str, force: bool, tolerance: float | None, as_json: bool
) -> None:
    """Fold batch norm into the weights before it.

    Before anything is written, the model and its folded form run on the same random image.  If a
    layer differs by more than the tolerance, nothing is written and the exit code is 1.  With
    --force, OUT may be the model itself.  The command is also known as fuse and denormalize.

    Example: darknet-bn fold yolov3.cfg yolov3.weights -o yolov3-folded
    """
    from darknet_bn.checks.fold import likely_cause

    began = time.monotonic()
    stem = options.stem(out, ".cfg", ".weights")
    cfg, weights = f"{stem}.cfg", f"{stem}.weights"
    options.require_free([cfg], force=force, inputs=[source.weights])
    options.require_free([weights], force=force, inputs=[source.cfg])
    model = source.load()
    before = os.path.getsize(source.weights)
    with progress.stages() as stage:
        report = dn.fold_files(model, cfg, tolerance=tolerance, force=force, stage=stage)
    after = os.path.getsize(weights)
    cause = likely_cause(model)
    if cause is not None:
        output.warning(cause)
    rows = dn.fold_report(model)
    seconds = time.monotonic() - began
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"batch_norms": rows, "proof": report.json()}
    facts |= {"written": {"cfg": cfg, "weights": weights}, "seconds": seconds}
    facts |= {"bytes_before": before, "bytes_after": after}
    lines = [
        output.dialect(model),
        *_lines(rows),
        *_checked(report),
        f"written: {output.printable(cfg)} and {output.printable(weights)}, "
        f"{before} -> {after} bytes",
    ]
    output.show(facts, lines, as_json=as_json)
    output.took_long(seconds)


def _lines(rows: Sequence[dn.FoldedLayer]) -> Iterator[output.Line | str]:
    for row in rows:
        if row.into is None:
            line = f"layer {row.layer} [{row.section}] keeps its batch norm: {row.reason}"
            yield output.Line(line)
    count = sum(row.into is not None for row in rows)
    yield (
        f"folded: the batch norm of {count} of {len(rows)} layers"
        if rows
        else "folded: nothing; the model has no batch norm and is written unchanged"
    )


def _checked(report: dn.Report) -> list[str]:
    worst = report.worst
    verdict = f"checked: relative difference at most {worst.relative:.2g}"
    limits = f"allowed {worst.allowed:.3g}; worst is layer {worst.layer}"
    because = worst.because(report.precision)
    return [verdict, f"  ({because}; {limits})"] if because else [f"{verdict} ({limits})"]
