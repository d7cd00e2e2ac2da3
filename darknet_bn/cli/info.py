"""``darknet-bn info``."""

from __future__ import annotations

import os

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output
from darknet_bn.network import build_network, detect_dialect
from darknet_bn.summary import summary_text


@click.command()
@models.model
@options.json
def info(source: models.Source, as_json: bool) -> None:
    """Print the table of layers, and what the header says.

    The columns are those that Darknet prints when it loads a net, and the parameters of every
    layer with the bytes that they take.  The cfg alone will do.

    Example: darknet-bn info yolov3.cfg yolov3.weights
    """
    with_weights = source.weights_named or os.path.exists(source.weights)
    model = source.load() if with_weights else _without_weights(source)
    if as_json:
        rows = dn.summarise(model.network)
        facts = output.about(model, source.cfg, source.weights if with_weights else None)
        facts["bflops"] = sum(row.bflops for row in rows)
        facts["parameters"] = model.network.stored_floats
        facts["bytes"] = model.header.size + 4 * model.network.stored_floats
        output.as_json(facts | {"layers": rows})
        return
    normalised = sum(node.layer.batch_norm is not None for node in model.network.nodes)
    output.text(summary_text(model.network, model.header))
    output.text(f"batch norm: {normalised} layers" if normalised else "batch norm: none")
    if with_weights:
        output.text(output.header(model))
    else:
        output.text(f"weights: none; there is no file {output.printable(source.weights)}")
    output.text(output.dialect(model))


def _without_weights(source: models.Source) -> dn.Model:
    """Read what the cfg alone tells; to draw initial parameters would take long for a large net."""
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
