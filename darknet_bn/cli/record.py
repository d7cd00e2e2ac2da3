"""``darknet-bn record``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress

if TYPE_CHECKING:
    from darknet_bn.run.run import Layers


@click.command()
@models.model
@options.out("Write the fixture OUT.npz.")
@click.option(
    "--input",
    "input_path",
    type=options.FILE,
    metavar="FILE",
    help="Input file, as for darknet-bn run (default: random).",
)
@options.layers("all")
@options.seed
@options.json
@options.quiet("warnings and errors")
def record(
    source: models.Source,
    out: str,
    force: bool,
    input_path: str | None,
    layers: Layers,
    seed: int | None,
    as_json: bool,
) -> None:
    """Record layer outputs as a test fixture.

    The fixture holds the input and the outputs, computed in Darknet's order of operations.  Use
    darknet-bn verify to compare a model with it.

    Example: darknet-bn record yolov3.cfg yolov3.weights -o yolov3.npz
    """
    from darknet_bn.cli.inputs import read_input
    from darknet_bn.run.run import layer_numbers

    target = options.npz(out, force=force, inputs=[*source.files, input_path])
    model = source.load()
    given = read_input(input_path, seed, model)
    numbers = layer_numbers(model.network, layers)
    with progress.bar("recording", len(model.network.nodes) + 1) as step:  # the last is to write
        dn.record(model, target, given.x, numbers, force=force, after_layer=step)
    size = os.path.getsize(target)
    facts = output.about(model, source.cfg, source.weights) | given.facts
    facts |= {"layers": numbers, "written": {"fixture": target}, "bytes": size}
    written = f"written: {output.printable(target)}, {len(numbers)} layers in {size} bytes"
    output.show(facts, [output.dialect(model), *given.lines(model), written], as_json=as_json)
