"""``darknet-bn verify``."""

from __future__ import annotations

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, progress


@click.command()
@models.model_and_fixture
@options.tolerance(1e-5)
@click.option(
    "--fast",
    is_flag=True,
    help="Check the fast algorithms that darknet-bn run uses, not Darknet's order of operations.",
)
@options.json
@options.quiet("the layers that differ")
@click.pass_context
def verify(
    ctx: click.Context,
    source: models.Source,
    fixture: str,
    tolerance: float,
    fast: bool,
    as_json: bool,
) -> None:
    """Compare every layer of a model with a recording.

    FIXTURE is an .npz file with the input and the outputs of layers, from darknet-bn record or from
    Darknet itself.  If a layer differs, the first such layer is named and the exit code is 1.

    Example: darknet-bn verify yolov3.cfg yolov3.weights yolov3.npz
    """
    recording = dn.load_fixture(fixture)
    model = source.load()
    _warn_of_dialect(model, recording)
    with progress.bar("verifying", len(model.network.nodes)) as step:
        report = dn.verify(model, recording, tolerance=tolerance, exact=not fast, after_layer=step)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"fixture": fixture, "fast": fast} | report.json()
    lines = [output.dialect(model), f"fixture: {output.printable(fixture)}", *_maker(recording)]
    output.show(facts, [*lines, *output.report_lines(report)], as_json=as_json)
    ctx.exit(0 if report.ok else 1)


def _warn_of_dialect(model: dn.Model, recording: dn.Fixture) -> None:
    theirs = recording.provenance.get("dialect")
    if theirs not in (None, model.dialect.name):
        output.warning(f"the fixture uses the dialect {theirs}, but {model.dialect.name} is in use")


def _maker(recording: dn.Fixture) -> list[str]:
    """Say who made a fixture, as far as it records that."""
    program, version, dialect = (
        output.printable(str(recording.provenance.get(key, "")))
        for key in ("program", "version", "dialect")
    )
    if not program:
        return ["made by: unknown; the fixture does not say"]
    lines = [f"made by: {program}, dialect {dialect}" if dialect else f"made by: {program}"]
    return [*lines, f"version: {version}"] if version else lines
