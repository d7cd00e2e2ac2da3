"""Batch-norm statistics from pictures, as a step of another command."""

from __future__ import annotations

import functools
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.cli import batches, kinds
from darknet_bn.cli.choices import BATCH
from darknet_bn.cli.options import FILE, Command


def pictures_to_calibrate(command: Command) -> Command:
    """Pass ``pictures`` and ``images`` to a command."""

    @click.option(
        "--pictures",
        type=FILE,
        metavar="DATA",
        help="Then compute the statistics of batch norm again, from these pictures: a picture, a "
        "folder, a list, a .data file, or an .npz file with an array x.",
    )
    @click.option(
        "--images",
        type=click.IntRange(min=1),
        help="Use at most N of the pictures, evenly spaced.  [default: all]",
    )
    @functools.wraps(command)
    def wrapped(pictures: str | None, **rest: Any) -> Any:
        kinds.require_local(pictures)
        if pictures is not None:
            batches.require_kind(pictures)
        return command(pictures=pictures, **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with both options


def calibrated(model: dn.Model, data: str, images: int | None) -> tuple[dn.Model, str]:
    """Compute the statistics again; return the model, and a line that says so."""
    from darknet_bn.predictions.inputs import own_fit_for_tests

    inputs = batches.load(model, data, BATCH, images, "train", own_fit_for_tests(model))
    edited, report = dn.calibrate(model, inputs)
    done = sum(row.reason is None for row in report.layers)
    count = len(report.layers)
    many = f"{report.images} image{'s' * (report.images != 1)}"
    return edited, f"calibrated: {done} of {count} batch norms, with {many}"
