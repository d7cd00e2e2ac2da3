"""Measure what a model is in other programs: size, speed and accuracy, for `docs/targets.json`.

Three networks: the digits of ``tests/fixtures/digits``, a detector of shapes that is trained here
on drawn pictures, and Yolo-Fastest 1.1.  Each in every target and number format.

Speed is the processor time of one thread for one image, in which other programs on the machine are
not counted.  The files take turns, round by round, and the median of all rounds is kept.  What
comes in is laid out before, and what comes out is left as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from targets_page import draw, with_lines

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.run.session import Session

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))  # for what tests draw
from tests.support.shapes import CFG, draw_pictures  # noqa: E402

DIGITS = PROJECT / "tests/fixtures/digits"
SEED = 7
LEARNT, HELD_OUT, NOISE = 240, 120, 30.0  # pictures of shapes
CALIBRATED = 200  # pictures of digits or shapes; of Yolo-Fastest there are two, and parts of them
PARTS = 40
THRESHOLD = 0.25  # of boxes of Yolo-Fastest
SAME = 0.3  # the overlap of boxes that are one object
ROUND = 0.02  # seconds that a file computes in each round, or one image
PROGRAMS = {"ONNX Runtime": "onnxruntime", "ncnn": "ncnn", "LiteRT": "ai-edge-litert"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A network, and how well a session does with it.

    Attributes
    ----------
    name, input, measure : str
        For people.
    model : Model
    pictures : float32 array (n, c, h, w)
        To calibrate 8 bits on.
    result : callable
        What a session does with it, or the model itself.
    """

    name: str
    input: str
    measure: str
    model: dn.Model
    pictures: F32
    result: Callable[[Session | None], Row]


@click.command()
@click.argument("shared", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rounds", default=25, show_default=True, help="How often each file has its turn.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=PROJECT / "docs",
    help="Where targets.json, targets.svg and reference/targets.md are.  [default: docs]",
)
def main(shared: Path, rounds: int, output: Path) -> None:
    """Measure all; SHARED has the folders models and images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = os.getloadavg()[0]
        cases = [digits(), shapes(folder), fastest(shared)]
        networks = [measured(case, folder, rounds) for case in cases]
    made = {
        "machine": machine(),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "rounds": rounds,
        "programs": {name: version(package) for name, package in PROGRAMS.items()},
        "networks": networks,
    }
    (output / "targets.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    (output / "targets.svg").write_text(draw(made), encoding="utf-8")
    page = output / "reference/targets.md"
    page.write_text(with_lines(page.read_text(encoding="utf-8"), made), encoding="utf-8")


def measured(case: Case, folder: Path, rounds: int) -> Row:
    """Return what is to be said of a network."""
    rows, runs = [], []
    for target, numbers, paths, session, run in files(case, folder):
        size = sum(path.stat().st_size for path in paths)
        rows.append({"target": target, "numbers": numbers, "bytes": size} | case.result(session))
        runs.append(run)
        click.echo(f"{case.name}: {rows[-1]}", err=True)
    for row, milliseconds in zip(rows, timed(runs, rounds), strict=True):
        row["ms"] = float(f"{milliseconds:.3g}")
        click.echo(f"{case.name}: {row['target']} {row['numbers']} {row['ms']} ms", err=True)
    own = case.result(None)
    return {"name": case.name, "input": case.input, "measure": case.measure, **own, "rows": rows}


# -- the networks --------------------------------------------------------------------------------


def digits() -> Case:
    """Return the classifier of handwritten digits."""
    model = dn.load(DIGITS / "digits")
    with np.load(DIGITS / "train.npz") as data:
        pictures = data["x"][:CALIBRATED].astype(np.float32)
    dataset = dn.load_dataset(DIGITS / "test.npz", model, train=False)

    def result(session: Session | None) -> Row:
        return {
            "percent": round(100 * dn.evaluate(model, dataset, batch=1, session=session).top_1, 2)
        }

    return Case("digits", "8 x 8", f"right of {len(dataset)} digits", model, pictures, result)


def shapes(folder: Path) -> Case:
    """Train the detector of shapes."""
    learnt, held_out = folder / "learnt", folder / "held"
    for place, count, seed in ((learnt, LEARNT, SEED), (held_out, HELD_OUT, SEED + 1)):
        place.mkdir()
        draw_pictures(place, count, seed, NOISE)
    cfg = CFG.replace("max_batches=350", "max_batches=600").replace("250,320", "450,560")
    model = dn.load(cfg.encode(), None, dialect="pjreddie", seed=SEED)
    examples = dn.load_dataset(learnt / "shapes.data", model, train=True)
    for progress in dn.train(dn.train_state(model, SEED), examples):
        state = progress.state
    trained = state.model
    files = sorted(learnt.glob("pictures/*.png"))[:CALIBRATED]
    pictures = np.concatenate([dn.prepare(dn.load_image(file), trained) for file in files])
    dataset = dn.load_dataset(held_out / "shapes.data", trained, train=False)

    def result(session: Session | None) -> Row:
        return {
            "percent": round(100 * dn.evaluate(trained, dataset, batch=1, session=session).mean, 2)
        }

    measure = f"mAP at IoU 0.5, {HELD_OUT} pictures"
    return Case("shapes", "64 x 64", measure, trained, pictures, result)


def fastest(shared: Path) -> Case:
    """Return Yolo-Fastest 1.1, which is compared with itself: there are no labels."""
    model = dn.load(shared / "models/yolo-fastest/yolo-fastest-1.1")
    images = [dn.load_image(shared / f"images/{name}.jpg") for name in ("dog", "person")]
    rng = np.random.default_rng(SEED)
    parts = [part_of(images[number % len(images)], rng) for number in range(PARTS)]
    pictures = np.concatenate([dn.prepare(each, model) for each in [*images, *parts]])

    def found(session: Session | None) -> list[list[dn.Detection]]:
        return [
            dn.detections(
                model,
                dn.prepare(each, model),
                image_sizes=each.shape[1:],
                threshold=THRESHOLD,
                session=session,
            )[0]
            for each in images
        ]

    truth = found(None)

    def result(session: Session | None) -> Row:
        theirs = found(session)
        pairs = [pair for both in zip(truth, theirs, strict=True) for pair in paired(*both)]
        moves = [moved(*pair) for pair in pairs]
        return {
            "boxes": sum(map(len, truth)),
            "kept": len(pairs),
            "more": sum(map(len, theirs)) - len(pairs),
            "moved": [round(100 * of(moves), 2) for of in (statistics.median, max)],
        }

    measure = f"boxes above {THRESHOLD} kept, 2 photos"
    return Case("Yolo-Fastest 1.1", "320 x 320", measure, model, pictures, result)


def part_of(image: F32, rng: np.random.Generator) -> F32:
    """Return a part of a picture: a third to all of each side, in the same proportions."""
    _, h, w = image.shape
    share = rng.uniform(1 / 3, 1)
    height, width = int(h * share), int(w * share)
    top, left = rng.integers(0, h - height + 1), rng.integers(0, w - width + 1)
    return np.ascontiguousarray(image[:, top : top + height, left : left + width])


def paired(
    ours: list[dn.Detection], theirs: list[dn.Detection]
) -> list[tuple[dn.Detection, dn.Detection]]:
    """Return pairs of boxes of one class, those that overlap most first; each box once."""
    left = list(theirs), list(ours)
    pairs = []
    for a, b in sorted(product(ours, theirs), key=lambda pair: -overlap(*pair)):
        is_same = label(a) == label(b) and overlap(a, b) > SAME
        if is_same and b in left[0] and a in left[1]:
            left[0].remove(b)
            left[1].remove(a)
            pairs.append((a, b))
    return pairs


def label(box: dn.Detection) -> int:
    """Return the best class."""
    return max(box.classes, key=lambda each: each.probability).class_id


def overlap(a: dn.Detection, b: dn.Detection) -> float:
    """Return the IoU."""
    return float(box_iou(np.float32([a.box]), np.float32([b.box])).ravel()[0])


def moved(a: dn.Detection, b: dn.Detection) -> float:
    """Return how far the centre moves or a side changes, at most, as a part of the side."""
    change = np.abs(np.subtract(a.box, b.box))
    return float((change / np.array([*a.box[2:], *a.box[2:]])).max())


# -- the files -----------------------------------------------------------------------------------


def files(
    case: Case, folder: Path
) -> Iterator[tuple[str, str, tuple[Path, ...], Session, Callable[[], object]]]:
    """Export to every target in every number format; how to open and to run each."""
    model, x = case.model, case.pictures[:1]
    stem = folder / case.name
    for numbers in ("float32", "float16", "int8"):
        path = stem.with_name(f"{case.name} {numbers}.onnx")
        if numbers == "int8":
            dn.quantize_onnx(model, path, np.array_split(case.pictures, 10))
        else:
            dn.export_onnx(model, path, half=numbers == "float16", prove=False)
        yield "ONNX", numbers, (path,), dn.OnnxFile(path, model), in_onnxruntime(path, x)
    for numbers in ("float32", "float16", "int8"):
        path = stem.with_name(f"{case.name} {numbers}.param")
        ranges = dn.activation_ranges(model, [case.pictures]) if numbers == "int8" else None
        made = dn.export_ncnn(model, path, half=numbers == "float16", int8=ranges, prove=False)
        yield "ncnn", numbers, made.paths, dn.NcnnFile(path, model), in_ncnn(path, x, made.outputs)
    for numbers in ("float32", "float16", "int8"):
        path = stem.with_name(f"{case.name} {numbers}.tflite")
        images = case.pictures if numbers == "int8" else None
        dn.export_tflite(model, path, half=numbers == "float16", int8=images, prove=False)
        yield "TFLite", numbers, (path,), dn.LiteRtFile(path, model), in_litert(path, x)


def in_onnxruntime(path: Path, x: F32) -> Callable[[], object]:
    """Return what runs a file on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def in_ncnn(path: Path, x: F32, outputs: Iterable[str]) -> Callable[[], object]:
    """Return what runs the files on one thread, in float32 where they are not in int8."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    image = ncnn.Mat(x[0]).clone()

    def run() -> object:
        extractor = net.create_extractor()
        extractor.input("input", image)
        return [extractor.extract(name) for name in outputs]

    return run


def in_litert(path: Path, x: F32) -> Callable[[], object]:
    """Return what runs a file on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def run() -> object:
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

    return run


def timed(runs: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the milliseconds of each: the median of rounds in which they take turns."""
    counts = [max(1, round(ROUND / max(seconds_of(run, 3), 1e-7))) for run in runs]
    found: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, count, times in zip(runs, counts, found, strict=True):
            times.append(seconds_of(run, count))
    return [1000 * statistics.median(times) for times in found]


def seconds_of(run: Callable[[], object], count: int) -> float:
    """Return the processor time of this thread for one image, after one that warms up the cache."""
    run()
    begun = time.thread_time()
    for _ in range(count):
        run()
    return (time.thread_time() - begun) / count


def machine() -> str:
    """Return the name of the processor, and how many there are."""
    found = None
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
