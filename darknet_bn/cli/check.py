"""``darknet-bn check``."""

from __future__ import annotations

from collections.abc import Iterable

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output
from darknet_bn.summary import Finding


@click.command()
@models.model
@options.json
@click.pass_context
def check(ctx: click.Context, source: models.Source, as_json: bool) -> None:
    """Check that the files fit each other, and all values.

    Exits with 1 where they do not fit, or where the outputs cannot be right: a value is NaN or
    infinite, or a variance is negative.

    Example: darknet-bn check yolov3.cfg yolov3.weights
    """
    model = source.load()
    findings = dn.inspect(model)
    bad = any(finding.fatal for finding in findings)
    if as_json:
        facts = output.about(model, source.cfg, source.weights)
        facts["parameters"] = model.network.stored_floats
        output.as_json(facts | {"ok": not bad, "findings": findings})
    else:
        output.text(output.header(model))
        output.text(output.dialect(model))
        count = len(model.network.nodes)
        if model.loaded == count:
            floats = model.network.stored_floats
            output.text(f"size: fits to the byte, {count} layers with {floats} parameters")
        else:
            output.text(f"size: fits the layers 0 to {model.loaded - 1} of {count} to the byte")
        for line in _grouped(findings) or ["values: all are finite, no variance is negative"]:
            output.text(line)
    ctx.exit(1 if bad else 0)


def _grouped(findings: Iterable[Finding]) -> list[str]:
    """Put findings into words; of what many layers have in common, once."""
    groups: dict[tuple[bool, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.fatal, finding.what), []).append(finding)
    lines = []
    for (fatal, what), (first, *others) in groups.items():
        place = f"layer {first.layer} [{first.section}]"
        if others:
            place = f"{1 + len(others)} layers from {first.layer} to {others[-1].layer}"
        lines.append(f"{'wrong' if fatal else 'odd'}: {place}: {what}")
    return lines
