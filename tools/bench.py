"""Measure speed against other engines: each in a process of its own, asked in turn, medians.

The engines get the same input and the same number of threads, and their outputs are compared before
any time is believed.  OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, which can pin numpy to slow code, are
removed from the environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_train import LEFT_OUT, cases, is_step

import darknet_bn as dn
from darknet_bn.engines.base import ENGINES as OTHERS

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PAUSE = 0.1  # seconds in which the threads of the previous engine go to sleep
PASSES = 3  # timed each time an engine is asked, after one pass that warms the caches up again


@click.group()
def main() -> None:
    """Measure speed against other engines: each in a process of its own, asked in turn, medians."""


@main.command()
@click.argument("cfg", type=click.Path(path_type=Path, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--engine", "engines", multiple=True, help="One of those below; the first three by default."
)
@click.option("--rounds", default=15, show_default=True, help="How often each engine is asked.")
def forward(cfg: Path, weights: Path | None, engines: tuple[str, ...], rounds: int) -> None:
    """Time one image through CFG and WEIGHTS (random ones where there are none).

    Engines: darknet_bn, opencv (4.x), onnxruntime (a hand-made folded ONNX), session (ONNX Runtime
    on what this program exports), openvino (the same in OpenVINO).

    Example: tools/bench.py forward yolov3-tiny.cfg yolov3-tiny.weights
    """
    with tempfile.TemporaryDirectory() as folder:
        if weights is None:
            weights = Path(folder) / "random.weights"
            _make_weights(cfg, weights)
        asked = {
            name: _Engine(__file__, "engine", name, str(cfg), str(weights), folder)
            for name in engines or DEFAULT
        }
        times: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(rounds):
            for name, engine in asked.items():
                times[name] += engine.ask()
                time.sleep(PAUSE)
        click.echo(f"{cfg.name}: {THREADS} threads, BLAS {_blas()}, median of {rounds * PASSES}")
        ours = statistics.median(times["darknet_bn"]) if "darknet_bn" in times else None
        for name, values in times.items():
            median = statistics.median(values)
            ratio = f"  {ours / median:5.2f} = ours / theirs" if ours else ""
            spread = f"{1e3 * min(values):.1f} to {1e3 * max(values):.1f}"
            click.echo(f"  {name:<12} {1e3 * median:8.1f} ms ({spread}){ratio}")
        for engine in asked.values():
            engine.close()
        _compare({name: _outputs(Path(folder) / f"{name}.npz") for name in asked})


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

    Ours is timed with the kernels in numpy and, if numba is installed, with the compiled kernels;
    the ratios are medians of the ratios of a round.  "Copy" moves the bytes that batch norm has to
    read and write, on as many threads.

    Example: tools/bench.py train --case "step 6 layers"
    """
    program = str(Path(__file__).with_name("bench_train.py"))
    names = names or tuple(cases())
    kinds = ["numpy", "compiled", "on torch", "torch", "copy"]
    if importlib.util.find_spec("numba") is None:
        kinds.remove("compiled")
    asked = {
        kind: _Engine(
            program, kind, *names, DARKNET_BN_KERNELS=kind if kind == "compiled" else "numpy"
        )
        for kind in kinds
    }
    click.echo(f"{THREADS} threads, BLAS {_blas()}, median of {rounds} medians, in ms")
    heading = "".join(f"{kind:>10}" for kind in kinds)
    click.echo(f"  {'case':<28}{heading}   of PyTorch  of copy")
    for name in names:
        times: dict[str, list[float]] = {
            kind: [] for kind in kinds if LEFT_OUT.get(kind) is not is_step(name)
        }
        for _ in range(rounds):
            for kind in times:
                times[kind].append(asked[kind].ask(name))
                time.sleep(PAUSE)
        line = "".join(
            f"{1e3 * statistics.median(times[kind]):>10.3f}" if kind in times else f"{'':>10}"
            for kind in kinds
        )
        for other in ("torch", "copy"):
            for kind in kinds[:-2]:
                if other in times and kind in times:
                    pairs = zip(times[kind], times[other], strict=True)
                    line += f"{statistics.median(one / two for one, two in pairs):>7.2f}"
        click.echo(f"  {name:<28}{line}")
    for process in asked.values():
        process.close()


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
    process = _Engine(program, str(cfg), str(weights))
    names = process.first
    times: dict[str, list[float]] = {name: [] for name in names}
    for count in range(-1, rounds):
        for name in names:
            seconds, *_ = process.ask(f"{name} {images}")
            if count >= 0:  # before that, everything is created that is created once
                times[name].append(seconds)
    click.echo(f"{cfg.name}: {THREADS} cores, BLAS {_blas()}, {rounds} rounds of {images} images")
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

    Both ways take turns in one process; the ratio is the median of the ratios of such pairs.  The
    start is from the files of the model to the first outputs, with the imports of the engine.

    Example: tools/bench.py engines yolov3-tiny.cfg yolov3-tiny.weights
    """
    program = str(Path(__file__).with_name("bench_engines.py"))
    asked = {}
    for name in engines or OTHERS:
        try:
            asked[name] = _Engine(program, name, str(cfg), str(weights))
        except click.ClickException:
            click.echo(f"  {name} is left out")
    pairs: dict[str, list[list[float]]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, process in asked.items():
            pairs[name] += zip(*process.ask(f"{images}"), strict=True)
            time.sleep(PAUSE)
    click.echo(f"{cfg.name}: {THREADS} threads, BLAS {_blas()}, median of {rounds * images}")
    click.echo(f"  {'':<34}{'start':>9}{'session':>11}{'by hand':>11}   ratio   images/s")
    for name, process in asked.items():
        program_name, start = process.first
        session, *rest = (statistics.median(each) for each in zip(*pairs[name], strict=True))
        hand = f"{1e3 * rest[0]:>8.2f} ms" if rest else f"{'-':>11}"
        ratio = f"{statistics.median(one / two for one, two in pairs[name]):>8.3f}" if rest else ""
        click.echo(
            f"  {program_name[:33]:<34}{start:>7.2f} s{1e3 * session:>8.2f} ms{hand}{ratio:>8}"
            f"{1 / session:>11.1f}"
        )
        process.close()


@main.command(hidden=True)
@click.argument("name")
@click.argument("cfg", type=click.Path(path_type=Path))
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def engine(name: str, cfg: Path, weights: Path, folder: Path) -> None:
    """Be an engine: time some forward passes for every line of input, then save the outputs."""
    x = np.random.default_rng(0).random((1, *_input_dims(cfg)), np.float32)
    run = ENGINES[name](cfg, weights, folder, x)
    outputs = run()
    run()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        run()
        seconds = []
        for _ in range(PASSES):
            start = time.perf_counter()
            outputs = run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)
    np.savez(folder / f"{name}.npz", *outputs)


class _Engine:
    """A process that answers a line with a line of JSON, once it is ready."""

    def __init__(self, *command: str, **variables: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment() | variables,
        )
        self.first = self._answer()  # it is ready

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("an engine stopped; its message is above")
        return json.loads(line)

    def ask(self, what: str = "") -> Any:
        """Return the answer to a line."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


Run = Callable[[], list[np.ndarray]]


def _darknet_bn(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    model = dn.load(cfg, weights)
    return lambda: list(dn.forward(model, x).values())


def _session(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    session = dn.open_session(dn.load(cfg, weights), "onnxruntime")
    return lambda: list(session.forward(x).values())


def _openvino(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    session = dn.open_session(dn.load(cfg, weights), "openvino")
    return lambda: list(session.forward(x).values())


def _opencv(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    import cv2

    cv2.setNumThreads(THREADS)
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    names = net.getUnconnectedOutLayersNames()

    def run() -> list[np.ndarray]:
        net.setInput(x)
        return list(net.forward(names))

    return run


def _onnxruntime(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    import onnxruntime
    from bench_onnx import write_onnx

    path = folder / "model.onnx"
    write_onnx(dn.load(cfg, weights), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


ENGINES = {
    "darknet_bn": _darknet_bn,
    "opencv": _opencv,
    "onnxruntime": _onnxruntime,
    "session": _session,
    "openvino": _openvino,
}
DEFAULT = ("darknet_bn", "opencv", "onnxruntime")


def _outputs(path: Path) -> list[np.ndarray]:
    with np.load(path) as archive:
        return [archive[key] for key in archive.files]


def _compare(outputs: dict[str, list[np.ndarray]]) -> None:
    """Print how far the engines' outputs are apart, if they give the same arrays."""
    ours = outputs.get("darknet_bn")
    for name, theirs in outputs.items():
        if ours is None or name == "darknet_bn":
            continue
        same = [a for a in ours for b in theirs if a.shape == b.shape]
        if len(same) != len(ours):
            click.echo(f"  {name} gives decoded boxes, which are not compared here")
            continue
        error = max(
            np.abs(a - b).max() / np.abs(a).max() for a, b in zip(ours, theirs, strict=True)
        )
        click.echo(f"  {name} differs by {error:.1e} of the largest value")


def _input_dims(cfg: Path) -> tuple[int, ...]:
    return dn.build_network(dn.load_cfg(cfg), dn.ALEXEYAB).input.dims


def _make_weights(cfg: Path, weights: Path) -> None:
    """Draw random weights in a process of its own: a child's peak memory begins at its parent's."""
    tool = Path(__file__).with_name("make_fixtures.py")
    command = [sys.executable, str(tool), "random", str(cfg), "-o", str(weights)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _program() -> list[str]:
    return [sys.executable, "-m", "darknet_bn"]


def _environment() -> dict[str, str]:
    pinned = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    return {key: value for key, value in os.environ.items() if key not in pinned}


def _blas() -> str:
    code = (
        "import numpy, threadpoolctl;"
        "print(*{i.get('architecture') for i in threadpoolctl.threadpool_info()})"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=_environment()
    ).stdout.strip()


def _timed(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment())
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise click.ClickException(f"{' '.join(command)} failed")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
