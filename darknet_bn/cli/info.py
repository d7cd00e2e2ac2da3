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
    model = source.load() if with_weights else models.without_weights(source.cfg, source.dialect)
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
