"""``darknet-bn record``."""

from __future__ import annotations

import os

import click

import darknet_bn as dn
from darknet_bn.cli import inputs, models, options, output, progress
from darknet_bn.run import Layers, layer_numbers


@click.command()
@models.model
@options.out("The fixture to write: OUT.npz.")
@click.option(
    "--input",
    "input_path",
    metavar="FILE",
    help="What to run on, as INPUT of the command run; else it is random.",
)
@options.layers("all")
@options.seed
@options.json
def record(
    source: models.Source,
    out: str,
    force: bool,
    input_path: str | None,
    layers: Layers,
    seed: int | None,
    as_json: bool,
) -> None:
    """Record what the layers compute, in Darknet's order of operations.

    The fixture holds the input and the outputs, and is what the command verify compares with.

    Example: darknet-bn record yolov3.cfg yolov3.weights -o yolov3.npz
    """
    target = options.npz(out, force=force, inputs=[*source.files, input_path])
    model = source.load()
    x, origin = inputs.read_input(input_path, seed, model.network)
    numbers = layer_numbers(model.network, layers)
    with progress.bar("recording", len(model.network.nodes)) as step:
        dn.record(model, target, x, numbers, force=force, after_layer=step)
    size = os.path.getsize(target)
    if as_json:
        facts = output.about(model, source.cfg, source.weights)
        output.as_json(
            facts | {"input": origin, "layers": numbers, "written": target, "bytes": size}
        )
        return
    output.text(output.dialect(model))
    output.text(f"input: {output.printable(origin)}")
    output.text(f"written: {output.printable(target)}, {len(numbers)} layers in {size} bytes")
