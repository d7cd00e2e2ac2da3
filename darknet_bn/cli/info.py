"""``darknet-bn info``."""

from __future__ import annotations

import os
import sys

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output
from darknet_bn.cli.terminal import width


@click.command()
@models.model
@options.json
@options.quiet("the table")
def info(source: models.Source, as_json: bool) -> None:
    """Show the layer table and the weights header.

    The columns are the ones that Darknet prints when it loads a network, followed by the parameters
    and bytes of every layer.  The cfg alone is enough.  On a narrow terminal some columns are left
    out.

    Example: darknet-bn info yolov3.cfg yolov3.weights
    """
    from darknet_bn.model.summary import summary_text

    with_weights = source.weights_named or os.path.exists(source.weights)
    model = source.load() if with_weights else _without_weights(source)
    network, header = model.network, model.header
    rows = dn.summarise(network)
    facts = output.about(model, source.cfg, source.weights if with_weights else None)
    facts["bflops"] = sum(row.bflops for row in rows)
    facts["parameters"] = network.stored_floats
    facts["bytes"] = header.size + 4 * network.stored_floats
    normalised = sum(node.layer.norm.batch_norm is not None for node in network.nodes)
    lines: output.Lines = [
        output.Line(summary_text(network, header, width(sys.stdout))),
        f"batch norm: {normalised} layers" if normalised else "batch norm: none",
        output.header(model)
        if with_weights
        else f"weights: none; {output.printable(source.weights)} does not exist",
        output.dialect(model),
    ]
    output.show(facts | {"layers": rows}, lines, as_json=as_json)


def _without_weights(source: models.Source) -> dn.Model:
    """Read only the cfg's facts; drawing initial parameters would take long for a large net."""
    from darknet_bn.model.network import build_network, detect_dialect

    cfg = dn.load_cfg(source.cfg)
    if source.dialect == "auto":
        dialect, reason = detect_dialect(cfg)
    else:
        dialect, reason = dn.DIALECTS[source.dialect], "given"
    network = build_network(cfg, dialect)
    for oddity in network.oddities:
        output.warning(oddity)
    oddities = (*cfg.oddities, *network.oddities)
    return dn.Model(cfg, network, (), dn.Header(), dialect, reason, 0, oddities)
