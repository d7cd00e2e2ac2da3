"""``darknet-bn train``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output
from darknet_bn.files import write_files
from darknet_bn.layers.head import Head
from darknet_bn.training.chart import loss_chart
from darknet_bn.training.checkpoint import due, final, stopped
from darknet_bn.training.log import Log, open_log

_PERIOD = 0.2  # seconds between two lines of progress


@click.command(short_help="Train a model with pictures and labels, or with arrays.")
@click.argument("cfg", type=options.FILE)
@click.argument("data", type=options.FILE)
@click.argument("weights", type=options.FILE, required=False)
@click.option("--iterations", type=click.IntRange(min=1), help="Updates to make in all.")
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes through the data."
)
@click.option("--batch", type=click.IntRange(min=1), help="Examples in a batch, not those of CFG.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of all that is random: first weights, order and changes of pictures, dropout.",
)
@click.option("--clear", is_flag=True, help="Begin to count anew with the weights given.")
@models.dialect
@models.partial
@click.option(
    "-o",
    "--output",
    "folder",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Where the weights, the log and the chart go; by default backup= of DATA, or here.",
)
@click.option("--force", is_flag=True, help="Overwrite the weights of a finished run, WEIGHTS too.")
@options.json
@options.quiet("warnings and errors")
def train(
    cfg: str,
    data: str,
    weights: str | None,
    iterations: int | None,
    epochs: float | None,
    batch: int | None,
    seed: int,
    clear: bool,
    dialect: str,
    partial: bool,
    folder: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a model with pictures and labels, or with arrays.

    DATA is a .data file of Darknet, with a list of pictures in train=, or an .npz with arrays x and
    y.  Without WEIGHTS, training begins with random ones; with the weights of a training that was
    broken off, it goes on as if it had not been: their state lies beside them.  Ctrl-C saves, and
    stops.  Weights are saved under the names that Darknet gives them.

    Example: darknet-bn train cfg/yolov3-tiny.cfg voc.data yolov3-tiny.conv.15 --partial
    """
    if iterations is not None and epochs is not None:
        raise click.UsageError("--iterations and --epochs exclude each other")
    if weights is None:
        model = dn.load(cfg, None, dialect=dialect, seed=seed)
    else:
        model = models.Source(cfg, weights, True, dialect, partial).load(seed)
    model = model if batch is None else model.with_batch(batch)
    state = _begin(model, weights, seed, clear=clear)
    examples = dn.load_dataset(data, state.model, train=True)
    base = _base(cfg, data, folder)
    detects = any(isinstance(node.layer, Head) for node in model.network.nodes)
    target = base + final(model, detects=detects)
    options.require_free([target], force=force, inputs=[cfg, data])
    if not as_json:
        output.note(output.dialect(model))
        going_on = f"goes on behind iteration {state.iteration}" if state.iteration else "begins"
        output.note(f"data: {len(examples)} examples; training {going_on}")
    with open_log(f"{base}_log.csv", state.iteration) as log:
        done = _run(state, examples, base, log, iterations, epochs, detects=detects)
        dn.save_checkpoint(done, target, force=True)  # asked for before it began
        _draw(base, log)
    last = log.averages[-1] if log.averages else float("nan")
    written = {"weights": target, "log": f"{base}_log.csv", "chart": f"{base}_chart.svg"}
    if as_json:
        output.as_json(
            output.about(done.model, cfg, weights)
            | {"iteration": done.iteration, "loss": last, "written": written}
        )
        return
    output.note(f"trained: {done.iteration} iterations, {done.seen} images; loss {last:.4g}")
    output.note(f"written: {', '.join(output.printable(each) for each in written.values())}")


def _begin(model: dn.Model, weights: str | None, seed: int, *, clear: bool) -> dn.TrainState:
    if weights is not None and not clear:
        state = dn.load_checkpoint(model, weights)
        if state is not None:
            return state
    if clear:
        model = replace(model, header=replace(model.header, seen=0))
    return dn.train_state(model, seed)


def _base(cfg: str, data: str, folder: str | None) -> str:
    """Return what the names of all files begin with, as Darknet's: folder and name of the cfg."""
    if folder is None and not data.lower().endswith(".npz"):
        folder = dn.load_data(data).options.get("backup")
    place = Path(folder or ".")
    if not place.is_dir():
        raise dn.DarknetError("there is no such folder", where=dn.Where(file=str(place)))
    return str(place / Path(cfg).name.partition(".")[0])


def _run(
    state: dn.TrainState,
    examples: dn.Dataset,
    base: str,
    log: Log,
    iterations: int | None,
    epochs: float | None,
    *,
    detects: bool,
) -> dn.TrainState:
    """Train to the end, and save on the way; save too where it is broken off."""
    try:
        with _line() as show:
            before = log.averages[-1] if log.averages else None
            for now in dn.train(
                state, examples, iterations=iterations, epochs=epochs, average=before
            ):
                ended = int(now.epoch) if int(now.epoch) > _epoch(state, examples) else None
                state = now.state
                log.add(now)
                show(now)
                for name in due(now.iteration, ended, state.model, detects=detects):
                    dn.save_checkpoint(state, base + name, force=True)  # its own
                    _draw(base, log)
    except (KeyboardInterrupt, dn.TrainingError) as error:
        place = base + stopped(state.model)
        dn.save_checkpoint(state, place, force=True)
        _draw(base, log)
        if isinstance(error, dn.TrainingError):
            raise
        output.aside(
            f"stopped behind iteration {state.iteration}; {output.printable(place)} as the weights "
            "goes on from there"
        )
        raise click.Abort from error
    return state


def _epoch(state: dn.TrainState, examples: dn.Dataset) -> int:
    """Return how many epochs are over."""
    images = state.model.network.net.batch * state.model.network.time_steps
    return state.iteration * images // len(examples)


def _draw(base: str, log: Log) -> None:
    if log.iterations:
        chart = loss_chart(Path(base).name, log.iterations, log.losses, log.averages)
        place = Path(f"{base}_chart.svg")
        write_files({place: lambda stream: stream.write(chart.encode())}, force=True)


@contextmanager
def _line() -> Iterator[Callable[[dn.Progress], None]]:
    """Show how far training is, in one line of a terminal that goes away at the end."""
    shown, due_at = "", 0.0
    on = sys.stderr is not None and sys.stderr.isatty()

    def show(now: dn.Progress) -> None:
        nonlocal shown, due_at
        if on and (time.monotonic() >= due_at or now.done):
            due_at = time.monotonic() + _PERIOD
            text = progress_text(now)
            click.echo(f"\r{text:<{len(shown)}}", nl=False, err=True)
            shown = text

    try:
        yield show
    finally:
        if shown:
            click.echo(f"\r{' ' * len(shown)}\r", nl=False, err=True)


def progress_text(now: dn.Progress) -> str:
    """Return a line that tells how far training is."""
    left = round(now.seconds_left)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
    return (
        f"{now.iteration}: loss {now.loss:.4f}, average {now.average:.4f}, rate {now.rate:.3g}, "
        f"{now.images_per_second:.1f} images/s, epoch {now.epoch:.2f}, {clock} left"
    )
