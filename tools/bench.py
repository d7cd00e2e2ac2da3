"""Measure speed against other engines: each in a process of its own, asked in turn.

The engines get the same input and the same number of threads, and their outputs are compared before
any time is believed.  OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, which can pin numpy to slow code, are
removed from the environment.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_forward
import bench_train
import click
from bench_asked import Asked, Rounds, environment, in_turn, machine, started, table

from darknet_bn.engines.base import ENGINES as OTHERS

ANSWERED = (*bench_forward.OURS, "onnxruntime", "openvino", "opencv", "torch")
WHOLE = {  # the models of `all`: cfg, weights, and whether Debian's darknet reads them
    "yolov3-tiny": ("cfg/pjreddie/yolov3-tiny.cfg", "models/yolov3-tiny/yolov3-tiny.weights", True),
    "yolov4-tiny": ("cfg/alexeyab/yolov4-tiny.cfg", None, False),
    "darknet19": ("cfg/pjreddie/darknet19.cfg", None, True),
    "yolov3-608": ("cfg/pjreddie/yolov3.cfg", None, True),
    "yolov4-608": ("cfg/alexeyab/yolov4.cfg", None, False),
    "yolo-fastest-1.1": (
        "models/yolo-fastest/yolo-fastest-1.1.cfg",
        "models/yolo-fastest/yolo-fastest-1.1.weights",
        False,
    ),
}


@click.group()
def main() -> None:
    """Measure speed against other engines: each in a process of its own, asked in turn."""


@main.command("all")
@click.argument("shared", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--case", "names", multiple=True, help="One of the table's; all by default.")
@click.option("--rounds", default=9, show_default=True, help="How often each engine is asked.")
def everything(shared: Path, names: tuple[str, ...], rounds: int) -> None:
    """Time all of it, and print one table: models of SHARED, batch norm, and training steps.

    Ours comes twice: in numpy, and compiled if numba is installed.  The others are ONNX Runtime,
    OpenVINO, OpenCV 4, PyTorch and Debian's darknet; those that are absent are left out, and named.

    Example: tools/bench.py all ../shared --case yolov3-tiny --case "step digits"
    """
    known = [*WHOLE, *bench_train.cases()]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.BadParameter(f"{unknown[0]}; the cases are {', '.join(known)}")
    wanted = [name for name in known if not names or name in names]
    found: dict[str, dict[str, Rounds]] = {}
    for name in wanted:
        if name in WHOLE:
            cfg, weights, readable = WHOLE[name]
            click.echo(f"{name}:")
            engines = ANSWERED + (("darknet",) if readable else ())
            given = shared / weights if weights else None
            found[name] = _forward(shared / cfg, given, engines, rounds)
    found |= _train(tuple(name for name in wanted if name not in WHOLE), rounds)
    click.echo(f"{machine()}, {rounds} rounds")
    for line in table(found, (*bench_forward.OURS, "on torch")):
        click.echo(line)


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(list(bench_forward.ENGINES)),
    help="Ours, OpenCV 4 and ONNX Runtime by default.",
)
@click.option("--rounds", default=15, show_default=True, help="How often each engine is asked.")
def forward(cfg: Path, weights: Path | None, engines: tuple[str, ...], rounds: int) -> None:
    """Time one image through CFG and WEIGHTS (random ones where there are none).

    Engines: numpy and compiled are ours, onnxruntime runs a hand-made folded ONNX, session and
    openvino what this program exports, opencv (4.x) and darknet (Debian's) the files themselves,
    torch the module of to_torch.

    Example: tools/bench.py forward yolov3-tiny.cfg yolov3-tiny.weights
    """
    times = _forward(cfg, weights, engines or DEFAULT, rounds)
    click.echo(f"{machine()}, {rounds} rounds")
    for line in table({cfg.name: times}, bench_forward.OURS):
        click.echo(line)


DEFAULT = (*bench_forward.OURS, "opencv", "onnxruntime")


def _forward(
    cfg: Path, weights: Path | None, engines: tuple[str, ...], rounds: int
) -> dict[str, Rounds]:
    with tempfile.TemporaryDirectory() as folder:
        if weights is None:
            weights = Path(folder) / "random.weights"
            _make_weights(cfg, weights)
        times, lines = bench_forward.measured(cfg, weights, Path(folder), engines, rounds)
        for line in lines:
            click.echo(f"  {line}")
    return times


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=5, show_default=True, help="How often each is done.")
def fold(cfg: Path, rounds: int) -> None:
    """Time `darknet-bn fold` of random weights for CFG against copying and starting.

    Example: tools/bench.py fold yolov3.cfg
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "random.weights"
        _make_weights(cfg, weights)
        size = weights.stat().st_size
        folding = [*_program(), "fold", str(cfg), str(weights), "-o", str(folder / "folded")]
        measured: dict[str, list[tuple[float, int]]] = {"fold": [], "cp": [], "start": []}
        for _ in range(rounds):
            measured["fold"].append(_timed([*folding, "--force"]))
            measured["cp"].append(_timed(["cp", str(weights), str(folder / "copy")]))
            measured["start"].append(_timed([*_program(), "--version"]))
        seconds = {key: statistics.median(t for t, _ in each) for key, each in measured.items()}
        peak = statistics.median(memory for _, memory in measured["fold"])
        base = seconds["cp"] + seconds["start"]
        click.echo(f"{cfg.name}: {size} bytes, median of {rounds}")
        for key, value in seconds.items():
            click.echo(f"  {key:<6} {value:6.3f} s")
        click.echo(f"  fold / (cp + start) = {seconds['fold'] / base:.2f}")
        click.echo(f"  peak memory {peak / 2**20:.0f} MiB = {peak / size:.2f} x the file")


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=5, show_default=True, help="How often it is done.")
def export(cfg: Path, rounds: int) -> None:
    """Time `darknet-bn export` of random weights for CFG, without the proof.

    Example: tools/bench.py export yolov3.cfg
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "random.weights"
        _make_weights(cfg, weights)
        size = weights.stat().st_size
        words = ["export", str(cfg), str(weights), str(folder / "x.onnx"), "--skip-proof"]
        measured = [_timed([*_program(), *words, "--force"]) for _ in range(rounds)]
        seconds = statistics.median(time for time, _ in measured)
        peak = statistics.median(memory for _, memory in measured)
        click.echo(f"{cfg.name}: {size} bytes, {seconds:.2f} s, median of {rounds}")
        click.echo(f"  peak memory {peak / 2**20:.0f} MiB = {peak / size:.2f} x the file")


@main.command()
@click.option("--case", "names", multiple=True, help="One of those below; all by default.")
@click.option("--rounds", default=9, show_default=True, help="How often each engine is asked.")
def train(names: tuple[str, ...], rounds: int) -> None:
    """Time batch norm, forward and backward, and whole training steps against PyTorch.

    Ours is timed with the kernels in numpy and, if numba is installed, with the compiled kernels,
    and on PyTorch.  "Copy" moves the bytes that batch norm has to read and write, on as many
    threads.

    Example: tools/bench.py train --case "step 6 layers"
    """
    found = _train(names or tuple(bench_train.cases()), rounds)
    click.echo(f"{machine()}, {rounds} rounds")
    for line in table(found, (*bench_forward.OURS, "on torch")):
        click.echo(line)


def _train(names: tuple[str, ...], rounds: int) -> dict[str, dict[str, Rounds]]:
    def make(kind: str) -> Callable[[], Asked]:
        program = str(Path(__file__).with_name("bench_train.py"))
        kernels = kind if kind == "compiled" else "numpy"
        return lambda: Asked(program, kind, *names, DARKNET_BN_KERNELS=kernels)

    if not names:
        return {}
    asked = started({kind: make(kind) for kind in bench_train.PREPARE})
    found = {}
    for name in names:
        click.echo(f"{name}", err=True)
        measuring = {kind: each for kind, each in asked.items() if bench_train.measures(kind, name)}
        found[name] = in_turn(measuring, rounds, name)
    for process in asked.values():
        process.close()
    return found


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=15, show_default=True, help="How often each way is timed.")
@click.option("--images", default=16, show_default=True, help="How many images in a round.")
@click.option("--calls", default=500, show_default=True, help="How many while memory is watched.")
def threads(cfg: Path, weights: Path, rounds: int, images: int, calls: int) -> None:
    """Time images from several threads of one process against the main thread; watch its memory.

    The main thread comes first, then the others in turn: from four threads, from four with a
    model of its own each, and from a fresh thread for each image.

    Example: tools/bench.py threads yolov3-tiny.cfg yolov3-tiny.weights
    """
    program = str(Path(__file__).with_name("bench_threads.py"))
    process = Asked(program, str(cfg), str(weights))
    names = process.first
    times: dict[str, list[float]] = {name: [] for name in names}
    for count in range(-1, rounds):
        for name in names:
            seconds, *_ = process.ask(f"{name} {images}")
            if count >= 0:  # before that, everything is created that is created once
                times[name].append(seconds)
    click.echo(f"{cfg.name}: {machine()}, {rounds} rounds of {images} images")
    click.echo(f"  {'':<22}{'median':>9}{'least':>9}{'ratios':>12}   MiB over {calls} calls")
    main, *_ = times.values()
    for name, values in times.items():
        _, before, after = process.ask(f"{name} {calls}")
        ratios = [find(values) / find(main) for find in (statistics.median, min)]
        click.echo(
            f"  {name:<22}{1e3 * statistics.median(values):>6.1f} ms{1e3 * min(values):>6.1f} ms"
            f"{ratios[0]:>7.2f}{ratios[1]:>5.2f}   {before:.1f} to {after:.1f}"
        )
    process.close()


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--engine", "engines", multiple=True, help="As of open_session; all by default.")
@click.option("--rounds", default=15, show_default=True, help="How often each engine is asked.")
@click.option("--images", default=5, show_default=True, help="How many images in a round.")
def engines(cfg: Path, weights: Path, engines: tuple[str, ...], rounds: int, images: int) -> None:
    """Time the outputs for one image in each engine: through a session, and called by hand.

    Both ways take turns in one process; the ratio is the median of the ratios of such pairs.  Start
    is the time from the files of the model to the first outputs, with the imports of the engine.

    Example: tools/bench.py engines yolov3-tiny.cfg yolov3-tiny.weights
    """
    program = str(Path(__file__).with_name("bench_engines.py"))

    def make(name: str) -> Callable[[], Asked]:
        return lambda: Asked(program, name, str(cfg), str(weights))

    asked = started({name: make(name) for name in engines or OTHERS})
    answers = in_turn(asked, rounds, f"{images}")
    click.echo(f"{cfg.name}: {machine()}, {rounds * images} pairs")
    found = {}
    for name, process in asked.items():
        program_name, seconds = process.first
        times: dict[str, Rounds] = {"start": [[seconds]]}
        for way, *parts in zip(("session", "by hand"), *answers[name], strict=False):
            times[way] = [[each] for part in parts for each in part]  # an image is a round
        found[program_name] = times
        process.close()
    for line in table(found, ("session",)):
        click.echo(line)


def _make_weights(cfg: Path, weights: Path) -> None:
    """Draw random weights in a process of its own: a child's peak memory begins at its parent's."""
    tool = Path(__file__).with_name("make_fixtures.py")
    command = [sys.executable, str(tool), "random", str(cfg), "-o", str(weights)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _program() -> list[str]:
    return [sys.executable, "-m", "darknet_bn"]


def _timed(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise click.ClickException(f"{' '.join(command)} failed")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
