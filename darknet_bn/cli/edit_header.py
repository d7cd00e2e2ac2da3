"""``darknet-bn edit header``, ``reset`` and ``partial``: what is in the file besides arrays."""

from __future__ import annotations

import click

import darknet_bn as dn
from darknet_bn.cli.edited import More, Wanted, common, finish


def _version(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, int, int] | None:
    if value is None:
        return None
    try:
        major, minor, revision = (int(part) for part in value.split("."))
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not valid (expected three numbers: 0.2.5)") from (
            error
        )
    return major, minor, revision


@click.command("header")
@click.option(
    "--version",
    metavar="X.Y.Z",
    callback=_version,
    help="The version: 0.2.5 is AlexeyAB's, 0.2.0 pjreddie's.  [default: as it is]",
)
@click.option("--seen", type=click.IntRange(min=0), help="Images seen.  [default: as it is]")
@common
def edit_header(wanted: Wanted, version: tuple[int, int, int] | None, seen: int | None) -> None:
    """Set the version and the number of images seen.

    A file with revision 5 is loaded with AlexeyAB's arithmetic unless --dialect is given, so the
    revision alone may change what is computed: darknet-bn edit dialect changes both.

    Example: darknet-bn edit header net.cfg net.weights --version 0.2.5 -o net-5
    """
    if version is None and seen is None:
        raise click.UsageError("missing option: --version or --seen")
    _finish("header", wanted, version, seen, [])


@click.command("reset")
@click.option("--seen", type=click.IntRange(min=0), default=0, show_default=True, help="Images.")
@common
def edit_reset(wanted: Wanted, seen: int) -> None:
    """Set the number of images seen to 0, so that training begins at its first step.

    Darknet's verb of this name does something else: it multiplies batch norm into the weights, and
    leaves scales of 1, means of 0 and variances of 1.  That is darknet-bn fold.

    Example: darknet-bn edit reset net.cfg net.weights -o net-new
    """
    text = "Darknet's verb reset folds batch norm instead: darknet-bn fold"
    _finish("reset", wanted, None, seen, [text])


@click.command("partial")
@click.option(
    "--layers",
    type=click.IntRange(min=1),
    required=True,
    help="How many, with those without weights.",
)
@common
def edit_partial(wanted: Wanted, layers: int) -> None:
    """Write the first layers, to start other trainings from: OUT.conv.LAYERS, a backbone file.

    The number of images seen becomes 0, as Darknet's verb does it.

    Example: darknet-bn edit partial yolov3.cfg yolov3.weights --layers 75 -o yolov3
    """
    from darknet_bn.checks.edit_claims import of_first_layers
    from darknet_bn.transforms.edit import require_first_layers

    wanted.targets(first=layers)
    model = wanted.source.load()
    count = len(model.network.nodes)
    require_first_layers(model, layers)
    edited = dn.with_header(model, seen=0)
    stored = [sum(each.stored_size for at, each in model.network.stored() if at < layers)]
    lines = [f"layers: 0 to {layers - 1} of {count - 1}, {stored[0]} parameters"]
    finish(
        "partial", wanted, model, edited, of_first_layers(layers), More(lines=lines), first=layers
    )


def _finish(
    verb: str,
    wanted: Wanted,
    version: tuple[int, int, int] | None,
    seen: int | None,
    notes: list[str],
) -> None:
    from darknet_bn.checks.edit_claims import of_another_header
    from darknet_bn.model.model import choose_dialect

    wanted.targets()
    model = wanted.source.load()
    edited = dn.with_header(model, version=version, seen=seen)
    chosen, _ = choose_dialect(edited.cfg, "auto", edited.header)
    if wanted.source.dialect == "auto" and chosen.name != model.dialect.name:
        notes = [
            *notes,
            f"without --dialect the new file is loaded with the arithmetic of {chosen.name}, "
            f"which this model does not have; darknet-bn edit dialect --to {chosen.name} keeps "
            "what is computed",
        ]
    old, new = (
        f"version {each.header.version}, {each.header.seen} images seen" for each in (model, edited)
    )
    line = f"header: {old} -> {new}"
    finish(verb, wanted, model, edited, of_another_header(model), More(notes=notes, lines=[line]))
