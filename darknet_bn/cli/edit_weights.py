"""``darknet-bn edit average`` and ``dialect``: other values in the same layers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import click

import darknet_bn as dn
from darknet_bn.cli import choices, models, options
from darknet_bn.cli.calibrated import calibrated, pictures_to_calibrate
from darknet_bn.cli.edited import More, Wanted, common, finish

_STATISTICS = ("rolling_mean", "rolling_variance")


@click.command("average")
@pictures_to_calibrate
@functools.partial(common, named=models.model_and_weights)
def edit_average(
    wanted: Wanted, more_weights: Sequence[str], pictures: str | None, images: int | None
) -> None:
    """Average several weights files of one cfg, such as the last checkpoints of a training.

    Each value becomes the mean of those in the files.  What batch norm sees with such weights is
    not the mean of what it saw before: with --pictures its statistics are computed again.

    Example: darknet-bn edit average net.cfg net_8000.weights net_9000.weights net_10000.weights
    --pictures photos -o net-mean
    """
    from darknet_bn.checks.edit_claims import of_a_mean

    targets = wanted.targets() or []
    options.require_free(targets, force=wanted.force, inputs=[*more_weights, pictures])
    source = wanted.source
    found = [source.load()] + [
        models.Source(source.cfg, each, True, source.dialect, source.partial).load()
        for each in more_weights
    ]
    edited = dn.average_models(found)
    lines = [f"averaged: {len(found)} file{'s' * (len(found) != 1)}"]
    if pictures is not None:
        edited, line = calibrated(edited, pictures, images)
        lines.append(line)
    claim = of_a_mean(found, () if pictures is None else _STATISTICS)
    facts = {"averaged": [source.weights, *more_weights]}
    finish("average", wanted, found[0], edited, claim, More(facts=facts, lines=lines))


@click.command("dialect")
@click.option(
    "--to",
    type=click.Choice(choices.DIALECTS),
    help="The Darknet that is to compute the same; it must be given.",
)
@common
def edit_dialect(wanted: Wanted, to: str | None) -> None:
    """Rewrite a model so that another Darknet computes the same.

    pjreddie's program divides by sqrt(variance) + 0.000001 in batch norm, AlexeyAB's by
    sqrt(variance + 0.00001): channels with a small variance come out different.  The new variances
    give the old divisors in the other program.  Where no variance does, the scale changes too.  The
    header gets the revision by which the other program is recognised.

    Example: darknet-bn edit dialect net.cfg net.weights --to alexeyab -o net-alexeyab
    """
    from darknet_bn.checks.edit_claims import of_another_dialect

    if to is None:
        raise click.UsageError("missing option: --to")
    wanted.targets()
    model = wanted.source.load()
    edited, rows = dn.to_dialect(model, to)
    channels, scaled = sum(row.channels for row in rows), sum(row.scaled for row in rows)
    off = max((row.largest_change for row in rows), default=0.0)
    lines = [
        f"rewritten: {channels} channels of {len(rows)} batch norms from {model.dialect.name} to "
        f"{edited.dialect.name}; in {scaled} of them the scale changes too",
        f"without it, their divisors would be off by up to {off:.2g} of their value",
    ]
    facts = {"to": edited.dialect.name, "batch_norms": rows}
    finish(
        "dialect",
        wanted,
        model,
        edited,
        of_another_dialect(model, edited),
        More(facts=facts, lines=lines),
    )
