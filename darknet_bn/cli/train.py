"""``darknet-bn train``."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, kinds, models, options, output


@click.command(short_help="Train a model with pictures and labels, or with arrays.")
@click.argument("cfg", type=options.FILE)
@click.argument("data", type=options.FILE)
@click.argument("weights", type=options.FILE, required=False)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help="Total number of updates, including the earlier updates of WEIGHTS.  [default: "
    "max_batches of CFG]",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Number of epochs, instead of --iterations.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Examples per batch.  [default: batch= of CFG]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Random seed (initial weights, shuffling, augmentation, dropout).",
)
@click.option(
    "--engine",
    type=click.Choice(choices.TRAINERS),
    default="numpy",
    show_default=True,
    help="What runs the net: numpy is our own code.",
)
@click.option("--device", help="Where PyTorch runs it: cpu, cuda:0 ...  [default: cpu]")
@click.option(
    "--sync-batch-norm",
    is_flag=True,
    help="Under torchrun, take the statistics of batch norm over all processes.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Threads that prepare the next batches while a step runs, one batch each.",
)
@click.option(
    "--log",
    type=click.Choice(choices.LOGS),
    default="csv",
    show_default=True,
    help="What else than the CSV, which is always written: tensorboard adds event files.",
)
@click.option("--clear", is_flag=True, help="Reset the iteration counter of WEIGHTS.")
@models.dialect
@models.partial
@click.option(
    "-o",
    "--output",
    "folder",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Folder for the weights, the log and the chart.  [default: backup= of DATA, or .]",
)
@click.option(
    "--force", is_flag=True, help="Overwrite the weights of a finished or interrupted run."
)
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
    engine: str,
    device: str | None,
    sync_batch_norm: bool,
    workers: int,
    log: str,
    clear: bool,
    dialect: str,
    partial: bool,
    folder: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a model with pictures and labels, or with arrays.

    DATA is a Darknet .data file, whose train= names a list of pictures; a data.yaml, a COCO .json
    or a folder of labels, as in 'darknet-bn labels'; or an .npz file with arrays x and y.  Without
    WEIGHTS, training starts with random weights; give a .backup file to resume an interrupted run
    exactly.  Ctrl-C saves and stops.  Weights are saved under the names that Darknet uses.

    Example: darknet-bn train cfg/yolov3-tiny.cfg voc.data yolov3-tiny.conv.15 --partial
    """
    from darknet_bn.cli.training_run import TrainingRun
    from darknet_bn.data.base import many
    from darknet_bn.data.kinds import require_kind
    from darknet_bn.engines.torch_processes import is_first
    from darknet_bn.engines.training import step_of
    from darknet_bn.training.loop import last_iteration
    from darknet_bn.training.loop import train as train_with

    typed = [word for word in (cfg, data, weights) if word is not None]
    arguments.require_order(typed, (arguments.CFG, arguments.DATA, arguments.WEIGHTS))
    kinds.require_local(cfg, weights)
    if device is not None and engine != "torch":
        raise click.UsageError("--device is for --engine torch")
    if sync_batch_norm and engine != "torch":
        raise click.UsageError("--sync-batch-norm is for --engine torch")
    if iterations is not None and epochs is not None:
        raise click.UsageError("--iterations and --epochs cannot be used together")
    require_kind(data)
    if weights is None:
        model = dn.load(cfg, None, dialect=dialect, seed=seed)
    else:
        model = models.Source(cfg, weights, True, dialect, partial).load(seed)
    model = model if batch is None else model.with_batch(batch)
    state = _begin(model, weights, seed, clear=clear)
    examples = dn.load_dataset(data, state.model, train=True)
    step = step_of(engine, device, sync_batch_norm=sync_batch_norm)
    last_iteration(state, len(examples), iterations=iterations, epochs=epochs)
    if not is_first():
        for _ in train_with(
            state, examples, iterations=iterations, epochs=epochs, step=step, workers=workers
        ):
            pass
        return
    run = TrainingRun(
        _base(cfg, data, folder), model, weights, force=force, tensorboard=log == "tensorboard"
    )
    run.require_free([cfg, data], begins=state.iteration == 0)
    if not as_json:
        output.note(output.dialect(model))
        start = f"resumes after iteration {state.iteration}" if state.iteration else "begins"
        output.note(f"data: {many(len(examples), 'example')}; training {start}")
        for note in examples.notes:
            output.note(output.printable(note))
    started, first = time.monotonic(), state.iteration
    try:
        done = run.train(state, examples, iterations, epochs, step, workers)
    except KeyboardInterrupt as error:
        run.tell_written()
        given = {"--iterations": iterations, "--batch": batch, "-o": folder}
        given["--epochs"] = None if epochs is None else f"{epochs:g}"
        given["--engine"] = None if engine == "numpy" else engine
        given |= {"--device": device, "--workers": None if workers == 1 else workers}
        given["--log"] = None if log == "csv" else log
        given["--dialect"] = None if dialect == "auto" else dialect
        command = ["darknet-bn", "train", cfg, data, run.interrupted, *_words(given)]
        command += (
            ["--sync-batch-norm"] * sync_batch_norm + ["--force"] * force + ["--json"] * as_json
        )
        output.aside(run.stopped_line(shlex.join(command)))
        raise click.Abort from error
    except dn.TrainingError:
        run.tell_written()
        raise
    seconds, loss = time.monotonic() - started, run.loss
    facts = output.about(done.model, cfg, weights)
    facts |= {"iteration": done.iteration, "loss": loss, "seconds": seconds}
    facts |= output.about_labels(examples) | {"written": run.written()}
    made, seen = many(done.iteration, "iteration"), many(done.seen, "image")
    lines = [f"trained: {made}, {seen}; loss {loss:.4g}", run.written_line()]
    output.show(facts, lines, as_json=as_json)
    output.took(seconds, done.iteration - first, "iteration")


def _words(options: Mapping[str, object]) -> list[str]:
    """Return the options that were given, as they are typed."""
    given = {name: str(value) for name, value in options.items() if value is not None}
    return [word for pair in given.items() for word in pair]


def _begin(model: dn.Model, weights: str | None, seed: int, *, clear: bool) -> dn.TrainState:
    if weights is not None and not clear:
        state = dn.load_checkpoint(model, weights)
        if state is not None:
            return state
    if clear:
        model = replace(model, header=replace(model.header, seen=0))
    return dn.train_state(model, seed)


def _base(cfg: str, data: str, folder: str | None) -> str:
    """Return the beginning of all file names, as in Darknet: folder and name of the cfg."""
    from darknet_bn.data.labelled import data_file

    place = Path(folder or ".")
    file = data_file(data)
    if folder is None and file is not None:
        place = Path(dn.load_data(file).options.get("backup", "."))
        if not place.is_dir():
            raise dn.DarknetError(
                "the folder does not exist",
                where=dn.Where(file=file, key="backup"),
                found=str(place),
                hint="create it, or choose another with -o",
            )
    return str(place / Path(cfg).name.partition(".")[0])
