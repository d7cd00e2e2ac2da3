"""``darknet-bn edit``: a group of verbs."""

from __future__ import annotations

import click

from darknet_bn.cli import arguments, hints
from darknet_bn.cli.commands import Commands

_HOMES = {
    "average": "darknet_bn.cli.edit_weights.edit_average",
    "classes": "darknet_bn.cli.edit_classes.edit_classes",
    "dialect": "darknet_bn.cli.edit_weights.edit_dialect",
    "header": "darknet_bn.cli.edit_header.edit_header",
    "partial": "darknet_bn.cli.edit_header.edit_partial",
    "rescale": "darknet_bn.cli.edit_input.edit_rescale",
    "prune": "darknet_bn.cli.edit_prune.edit_prune",
    "reset": "darknet_bn.cli.edit_header.edit_reset",
    "resize": "darknet_bn.cli.edit_input.edit_resize",
    "rgbgr": "darknet_bn.cli.edit_input.edit_rgbgr",
}
_SHORT_HELP = {
    "average": "Average several weights files of one cfg.",
    "classes": "Keep some classes.",
    "dialect": "Rewrite a model so that another Darknet computes the same.",
    "header": "Set the version and the number of images seen.",
    "partial": "Write the first layers, to start other trainings from.",
    "rescale": "Scale and shift the values of the input.",
    "prune": "Remove the channels with the smallest scales in batch norm.",
    "reset": "Set the number of images seen to 0.",
    "resize": "Set the size of the input.",
    "rgbgr": "Exchange red and blue.",
}


class Edit(click.Group):
    """A group whose verbs answer as commands do."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(_SHORT_HELP.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say that the verb is missing if there is no word."""
        if not args and not ctx.resilient_parsing:
            ctx.fail("missing argument: VERB")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that the first word names."""
        if not ctx.resilient_parsing:
            command = self.get_command(ctx, args[0])
            if command is None and not args[0].startswith("-"):
                ctx.fail(hints.unknown_verb(args[0], self.commands))
            if command is not None:
                hints.refuse_glued(args[1:], click.Context(command, ctx, args[0]))
        name, found, rest = super().resolve_command(ctx, args)
        ctx.meta[arguments.TYPED] = tuple(rest)  # for messages that say what to type
        return name, found, rest


@click.group(
    cls=Edit,
    commands=Commands(_HOMES),
    short_help="Edit a model, and prove what stays the same.",
    subcommand_metavar="VERB CFG [WEIGHTS] [OPTIONS]",
)
def edit() -> None:
    """Edit a model, and prove what stays the same.

    Without -o, each verb says what it would change: lines of the cfg, layers, shapes, parameters.
    It runs the model before and after on random values, and on a picture if --picture names one;
    what has to be equal is compared.  With -o, OUT.cfg and OUT.weights are written, if they prove
    right; all other lines of the cfg stay as they are.

    Example: darknet-bn edit rgbgr yolov3.cfg yolov3.weights -o yolov3-bgr
    """
