"""``darknet-bn run``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress, tables
from darknet_bn.engines.base import DEFAULT

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.run.run import Layers

_FIRST = 4  # values of each layer to print
_HEADINGS = (
    "layer",
    "section",
    "shape",
    "min",
    "mean",
    "max",
    "first values",
    *[""] * (_FIRST - 1),
)
_SPARE = (9, 8, 7, 6)  # columns that a narrow terminal leaves out: the first values


@dataclass(frozen=True)
class _Output:
    """The facts about a layer's output."""

    layer: int
    section: str
    shape: tuple[int, ...]
    min: float
    mean: float
    max: float
    first: tuple[float, ...]


@click.command()
@models.model_and_input
@options.out("Write input and outputs to OUT.npz, a test fixture.", required=False)
@options.layers("outputs")
@options.engine
@options.seed
@options.json
@options.quiet("the table of outputs")
def run(
    source: models.Source,
    input_path: str | None,
    out: str | None,
    force: bool,
    layers: Layers,
    engine: str,
    seed: int | None,
    as_json: bool,
) -> None:
    """Compute the outputs of a model.

    INPUT is a picture, which is letterboxed, stretched or cropped as the dialect's Darknet does; or
    an .npy file; or an .npz file with an array 'input' or a single array.  Arrays are float32
    (n, c, h, w): the RGB planes of n images with values from 0 to 1.  Without INPUT, the input is
    random.

    The outputs are computed by fast algorithms, with batch norm folded.  If --layers selects inner
    layers, Darknet's order of operations is kept.  Other engines may not show every layer; such
    layers are left out, or are an error if they are requested by number.

    Example: darknet-bn run yolov3.cfg yolov3.weights dog.jpg -o dog-outputs.npz
    """
    from darknet_bn.checks.fixture import save_fixture
    from darknet_bn.cli.inputs import read_input
    from darknet_bn.model.provenance import provenance
    from darknet_bn.run.outputs import compute_outputs

    began = time.monotonic()
    target = (
        None if out is None else options.npz(out, force=force, inputs=[*source.files, input_path])
    )
    model = source.load()
    given = read_input(input_path, seed, model)
    session = dn.open_session(model, engine)
    writes = target is not None  # one step more
    with progress.bar("running", len(model.network.nodes) + writes) as step:
        if engine == DEFAULT:
            outputs = dn.forward(model, given.x, layers, after_layer=step)
        else:
            outputs = compute_outputs(model, given.x, layers, session=session)
        if target is not None:
            origin = provenance(model)
            if engine != DEFAULT:
                origin["program"] = session.engine
            save_fixture(target, given.x, outputs, origin, force=force)
    rows = [_told(model, index, array) for index, array in outputs.items()]
    seconds = time.monotonic() - began
    facts = output.about(model, source.cfg, source.weights) | given.facts
    facts |= {"engine": session.engine, "outputs": rows}
    facts |= {"written": {"fixture": target}, "seconds": seconds}
    table = tables.aligned([_HEADINGS, *map(_cells, rows)], "><<>>>>>>>", spare=_SPARE)
    lines: output.Lines = [
        output.dialect(model),
        *given.lines(model, shape=True),
        *map(output.Line, table),
        *([] if target is None else [f"written: {output.printable(target)}"]),
    ]
    output.show(facts, lines, as_json=as_json)
    output.took_long(seconds)


def _cells(row: _Output) -> tuple[str, ...]:
    first = [f"{value:.6g}" for value in row.first]
    numbers = [f"{value:.4g}" for value in (row.min, row.mean, row.max)]
    rest = [""] * (_FIRST - len(first))
    return (f"{row.layer}", row.section, _times(row.shape), *numbers, *first, *rest)


def _told(model: dn.Model, index: int, array: F32) -> _Output:
    import numpy as np

    with np.errstate(invalid="ignore"):  # the mean of infinities
        mean = float(array.mean(dtype=np.float64))
    first = tuple(float(value) for value in array.flat[:_FIRST])
    name = model.network.nodes[index].layer.names[0]
    return _Output(index, name, array.shape, float(array.min()), mean, float(array.max()), first)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(each) for each in shape)
