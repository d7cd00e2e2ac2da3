"""``darknet-bn edit rgbgr``, ``rescale`` and ``resize``."""

from __future__ import annotations

import warnings

import click

import darknet_bn as dn
from darknet_bn.cli.edited import More, Wanted, common, finish


@click.command("rgbgr")
@common
def edit_rgbgr(wanted: Wanted) -> None:
    """Exchange red and blue: a model for RGB becomes one for BGR, or the reverse.

    Twice is the identity.

    Example: darknet-bn edit rgbgr yolov3.cfg yolov3.weights -o yolov3-bgr
    """
    from darknet_bn.checks.edit_claims import of_swapped_colours

    wanted.targets()
    model = wanted.source.load()
    finish("rgbgr", wanted, model, dn.swap_red_blue(model), of_swapped_colours(model))


def _numbers(
    ctx: click.Context, param: click.Parameter, value: str
) -> float | tuple[float, ...] | None:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"'{value}' is not valid (expected one number, or one for each channel: 1,2,3)"
        ) from error
    return numbers[0] if len(numbers) == 1 else numbers


@click.command("rescale")
@click.option(
    "--scale",
    default="2",
    show_default=True,
    metavar="X|X,X,X",
    callback=_numbers,
    help="What to multiply the values by: one number, or one for each channel.",
)
@click.option(
    "--shift",
    default="-1",
    show_default=True,
    metavar="X|X,X,X",
    callback=_numbers,
    help="What to add then.",
)
@common
def edit_rescale(
    wanted: Wanted, scale: float | tuple[float, ...], shift: float | tuple[float, ...]
) -> None:
    """Scale and shift the values of the input.

    The new model takes x, and computes what the old one does with x * scale + shift.  The default
    is Darknet's: a model for values from -1 to 1 becomes one for 0 to 1.  If a first layer pads the
    input with zeros, a shift cannot be exact at the border: what no padding reaches is proven.

    Example: darknet-bn edit rescale net.cfg net.weights --scale 0.00392157 --shift 0 -o net-255
    """
    from darknet_bn.checks.edit_claims import of_rescaled_input

    wanted.targets()
    model = wanted.source.load()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", dn.DarknetWarning)
        edited = dn.rescale_input(model, scale, shift)
    notes = [str(each.message) for each in said]
    finish(
        "rescale", wanted, model, edited, of_rescaled_input(model, scale, shift), More(notes=notes)
    )


@click.command("resize")
@click.option("--width", type=click.IntRange(min=1), help="Pixels.  [default: as it is]")
@click.option("--height", type=click.IntRange(min=1), help="Pixels.  [default: as it is]")
@common
def edit_resize(wanted: Wanted, width: int | None, height: int | None) -> None:
    """Set the size of the input: width= and height= in the cfg.

    Anchors of [yolo] are in pixels of the input and stay, so what was 100 pixels wide at the old
    size is found best if it is 100 pixels wide at the new one.

    Example: darknet-bn edit resize yolov3.cfg yolov3.weights --width 608 --height 608 -o yolov3-608
    """
    from darknet_bn.checks.edit_claims import of_resized_input

    if width is None and height is None:
        raise click.UsageError("missing option: --width or --height")
    wanted.targets()
    model = wanted.source.load()
    size = model.network.input
    edited = model.resized(height or size.h, width or size.w)
    notes = []
    if any(head.anchor_sizes for head in edited.network.heads.values()):
        notes = ["the anchors stay; darknet-bn anchors fits them to pictures at the new size"]
    finish("resize", wanted, model, edited, of_resized_input(model), More(notes=notes))
