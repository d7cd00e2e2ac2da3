"""``darknet-bn check``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output
from darknet_bn.cli.terminal import ODD, WRONG

if TYPE_CHECKING:
    from darknet_bn.model.summary import Finding


@click.command()
@models.model
@options.json
@options.quiet("the errors and notes")
@click.pass_context
def check(ctx: click.Context, source: models.Source, as_json: bool) -> None:
    """Check that the cfg and weights match and all values are finite.

    The exit code is 1 if the outputs cannot be right because a value is NaN or infinite or a
    variance is negative, and 2 if the weights do not match the cfg.

    Example: darknet-bn check yolov3.cfg yolov3.weights
    """
    model = source.load()
    findings = dn.inspect(model)
    bad = any(finding.fatal for finding in findings)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"parameters": model.network.stored_floats, "ok": not bad, "findings": findings}
    lines: output.Lines = [
        output.header(model),
        output.dialect(model),
        _size(model),
        *grouped(findings),
    ]
    if not findings:
        lines.append("values: all finite, no negative variance")
    output.show(facts, lines, as_json=as_json)
    ctx.exit(1 if bad else 0)


def _size(model: dn.Model) -> str:
    count = len(model.network.nodes)
    if model.loaded < count:
        return f"size: fits layers 0 to {model.loaded - 1} of {count} to the byte"
    floats = model.network.stored_floats
    return f"size: fits to the byte, {count} layers with {floats} parameters"


def grouped(findings: Iterable[Finding]) -> Iterator[output.Line]:
    """Yield findings in words, each only once for all layers that share it."""
    groups: dict[tuple[bool, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.fatal, finding.what), []).append(finding)
    for (fatal, what), found in groups.items():
        place = place_of([(each.layer, each.section) for each in found])
        line = f"{'wrong' if fatal else 'note'}: {place}: {what}"
        yield output.Line(line, WRONG if fatal else ODD)


def place_of(layers: Sequence[tuple[int, str]]) -> str:
    """Return what names some layers, in order, of which the number and the section are given."""
    (first, section), (last, _) = layers[0], layers[-1]
    many = len(layers)
    return f"layer {first} [{section}]" if many == 1 else f"{many} layers from {first} to {last}"
