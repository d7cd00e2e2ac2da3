"""``darknet-bn fold``, which other programs call ``fuse`` and ``denormalize``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress, proofs

if TYPE_CHECKING:
    from darknet_bn.transforms.fold import Agreement


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
    began = time.monotonic()
    stem = options.stem(out, ".cfg", ".weights")
    cfg, weights = f"{stem}.cfg", f"{stem}.weights"
    options.require_free([cfg], force=force, inputs=[source.weights])
    options.require_free([weights], force=force, inputs=[source.cfg])
    model = source.load()
    folded = dn.fold_batchnorm(model)
    before = os.path.getsize(source.weights)
    agreements: list[Agreement] = []

    def check() -> None:
        agreements.extend(dn.check_fold(model, folded, after_layer=step))
        _require_agreement(model, agreements, tolerance)

    layers = len(model.network.nodes) + len(folded.network.nodes)
    with progress.bar("folding", layers + 1) as step:  # the last is to write
        dn.save(folded, cfg, weights, force=force, check=check)
    seconds = time.monotonic() - began
    cause = _cause(model)
    if cause is not None:
        output.warning(cause)
    after = os.path.getsize(weights)
    rows = dn.fold_report(model)
    worst = max(agreements, key=lambda each: each.relative)
    allowed = worst.allowed if tolerance is None else tolerance
    if as_json:
        output.print_json(
            output.about(model, source.cfg, source.weights)
            | {
                "batch_norms": rows,
                "tolerance": allowed,
                "worst": {
                    "layer": worst.layer,
                    "difference": worst.relative,
                    "rounding": worst.rounding,
                },
                "written": {"cfg": cfg, "weights": weights},
                "bytes_before": before,
                "bytes_after": after,
                "seconds": seconds,
            }
        )
        return
    output.note(output.dialect(model))
    for row in rows:
        if row.into is None:
            output.text(f"layer {row.layer} [{row.section}] keeps its batch norm: {row.reason}")
    count = sum(row.into is not None for row in rows)
    output.note(
        f"folded: the batch norm of {count} of {len(rows)} layers"
        if rows
        else "folded: nothing; there is no batch norm, and the model is written as it is"
    )
    verdict = f"checked: relative difference at most {worst.relative:.2g}"
    limits = f"allowed {allowed:.3g}; worst is layer {worst.layer}"
    if worst.rounding is None:
        output.note(f"{verdict} ({limits})")
    else:
        output.note(verdict)
        output.note(f"  ({_because(worst)}; {limits})")
    output.note(
        f"written: {output.printable(cfg)} and {output.printable(weights)}, "
        f"{before} -> {after} bytes"
    )
    output.took_long(seconds)


def _require_agreement(
    model: dn.Model, agreements: Sequence[Agreement], tolerance: float | None
) -> None:
    """Refuse to go on where the folded model computes something else."""
    for each in agreements:
        allowed = each.allowed if tolerance is None else tolerance
        if not each.relative <= allowed:
            why = "" if each.rounding is None else f" ({_because(each)})"
            raise dn.ProofError(
                "the folded model does not agree; nothing was written",
                where=model.cfg.where(each.layer + 1),
                expected=f"a difference of at most {allowed:.3g} of the largest value, "
                f"{each.largest:.4g}{why}",
                found=f"{each.relative:.2g} of it",
                hint=_cause(model)
                or proofs.tolerance_hint(max(each.relative for each in agreements)),
            )


def _because(agreement: Agreement) -> str:
    return f"float32 rounding alone makes {agreement.rounding:.2g}"


def _cause(model: dn.Model) -> str | None:
    """Say what is odd about the values of a model, as the command check does; None if nothing."""
    known = [finding for finding in dn.inspect(model) if finding.layer < model.loaded]
    findings = sorted(known, key=lambda finding: not finding.fatal)
    if not findings:
        return None
    first = findings[0]
    others = sum(finding.what == first.what for finding in findings) - 1
    place = f"layer {first.layer} [{first.section}]"
    if others:
        place += f" and {others} other{'s' * (others != 1)}"
    return f"{place}: {first.what}"
