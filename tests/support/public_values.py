"""An example of everything that the package hands out, and a comparison to the last bit."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import darknet_bn as dn
from darknet_bn.checks.loss import Loss
from darknet_bn.convert import load_arrays
from darknet_bn.data import array_dataset
from darknet_bn.pictures.opened_video import VideoFacts
from darknet_bn.pictures.video_files import WrittenVideo
from darknet_bn.predictions.tracks import Crossing
from darknet_bn.training import train
from tests.support.engines import INSTALLED
from tests.support.labelled import box_set, class_set
from tests.support.onnx import write_onnx
from tests.support.paths import FIXTURES
from tests.support.pictures import PNGS

TINY = FIXTURES / "tiny/tiny"
DIGITS = FIXTURES / "digits/digits"
TEST_SET = FIXTURES / "digits/test.npz"
CLASSIFIER = FIXTURES / "layers/avgpool_softmax/model"


def pair(stem: Path) -> dn.Model:
    """The model of two files; it is in a map of the second."""
    return dn.load(f"{stem}.cfg", f"{stem}.weights")


def digits_batch() -> tuple[np.ndarray, np.ndarray]:
    with np.load(TEST_SET) as data:
        return data["x"][:16], np.eye(10, dtype=np.float32)[data["y"][:16]]


def errors() -> Iterator[dn.DarknetError]:
    """Each of the family that is made like the others, with all that it may have."""
    where = dn.Where(file="a.cfg", line=3, section="convolutional", layer=0, key="size")
    kinds = [dn.DarknetError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__init__ is not dn.DarknetError.__init__:
            continue
        yield kind("it broke", where=where, expected="1", found="2", hint="do this")
        yield kind("it broke")


def examples(folder: Path) -> Iterator[object]:
    """Everything, at least once."""
    tiny, digits = pair(TINY), pair(DIGITS)
    x, truth = digits_batch()
    yield from (tiny, digits, dn.load(f"{TINY}.cfg", None), dn.fold_batchnorm(tiny))
    yield from (tiny.cfg, tiny.network, tiny.header, *dn.DIALECTS.values(), dn.ALEXEYAB.sound)
    yield from (*errors(), dn.Where(file="a.cfg", line=3, section="convolutional", key="size"))
    problems = [dn.DarknetError("no box", where=dn.Where(file=each)) for each in ("a.txt", "b.txt")]
    yield from (dn.DataError("no boxes", problems[:1]), dn.DataError("no boxes", problems))
    yield from (dn.DarknetWarning("odd"), dn.DataWarning("two are odd", problems))

    dn.record(digits, folder / "record.npz", x)
    yield from (dn.load_fixture(folder / "record.npz"), dn.load_fixture(f"{DIGITS}.npz"))
    yield from (dn.verify(digits, f"{DIGITS}.npz"), dn.verify(digits, f"{DIGITS}.npz", tolerance=0))
    yield from (dn.fold_report(tiny), dn.check_fold(tiny, dn.fold_batchnorm(tiny)))
    yield from (dn.summarise(tiny.network), dn.inspect(tiny))
    sizes = [[[0.5, 0.5, side / 9, 0.4, 0]] for side in range(1, 5)]
    labelled = array_dataset(np.zeros((4, 3, 64, 64), np.uint8), np.array(sizes), tiny)
    yield dn.fit_anchors(tiny, labelled)
    pruning = dn.prune_channels(tiny, keep=0.7)
    yield from (pruning, pruning.layers[0])
    yield dn.to_dialect(tiny, "alexeyab")[1][0]
    shutil.copy(f"{TINY}.cfg", folder / "one.cfg")
    shutil.copy(f"{TINY}.cfg", folder / "two.cfg")
    yield dn.diff_models(digits, tiny)
    yield dn.which_cfg(f"{TINY}.weights", folder, pictures=[str(PNGS[0])])
    yield dn.calibrate(digits, [x])
    yield (examined := dn.examine(digits, [255 * x]))
    yield from (examined.findings[0], examined.layers[0])
    yield (ranges := dn.activation_ranges(digits, [x]))
    yield ranges.input
    yield from (dn.forward(tiny, np.zeros((1, 3, 64, 64), np.float32)), dn.classify(digits, x))
    yield dn.Runner(digits)
    yield from (dn.Detector(TINY, threshold=0.3), dn.Classifier(digits))
    yield dn.PictureRows(dn.Detector(TINY, threshold=0.3), folder=folder)
    picture = dn.load_image(PNGS[0])
    found = dn.detections(tiny, dn.prepare(picture, tiny), threshold=0.01, names=("cat", "dog"))
    assert found[0]
    yield found
    tracker, counter = dn.Tracker(), dn.LineCounter((0, 5, 9, 5))
    tracks = tracker.update(found[0], 0.0)
    yield from (tracker, tracks, counter, Crossing(tracks[0], "up"))
    yield from (dn.Video("clip.mp4"), dn.VideoFrame(3, 0.1, np.zeros((2, 3, 3), np.uint8)))
    base = Fraction(1, 15360)
    yield VideoFacts(240, 320, 29.97, 60, 2.002, "h264", 90, "aac", base, Fraction(1))
    yield WrittenVideo(60, 1.9, "aac", None)
    yield dn.picture_batches(tiny, [str(path) for path in PNGS[:3]], 2)
    yield (net := dn.readNetFromDarknet(f"{TINY}.cfg", f"{TINY}.weights"))
    yield from (dn.DetectionModel(net), dn.ClassificationModel(net))

    for name in ("boxes", "kinds"):
        (folder / name).mkdir()
    boxes = box_set(folder / "boxes", {"gray_21x12": [(0, 0.5, 0.5, 0.2, 0.3)]})
    kinds = class_set(folder / "kinds", ("ant", "bee", "crab", "dog", "elk"), ("ant", "bee", "elk"))
    yield dn.load_data(boxes)
    for model, path in ((tiny, boxes), (pair(CLASSIFIER), kinds), (digits, TEST_SET)):
        data = dn.load_dataset(path, model, train=False)
        yield from (data, dn.evaluate(model, data))
    yield (findings := dn.find_boxes(tiny, dn.load_dataset(boxes, tiny, train=False)))
    yield dn.confusion(findings)
    yield dn.CocoNumbers(*(number / 12 for number in range(12)))

    state = dn.train_state(digits, seed=3)
    yield from (state, dn.train_step(state, x, truth))
    trained = train(state, dn.load_dataset(TEST_SET, digits, train=True), iterations=1201)
    yield next(iter(trained))
    passed = dn.kernels.make_batchnorm_layer(3)
    saved = dn.kernels.forward_batchnorm_layer(
        np.ones((2, 3, 4), np.float32), passed, train=True, dialect=dn.PJREDDIE
    )
    yield saved
    assert saved.saved is not None
    yield dn.kernels.backward_batchnorm_layer(
        np.ones((2, 3, 4), np.float32), passed, saved.saved, dialect=dn.PJREDDIE
    )

    dn.save_arrays(digits, folder / "digits.npz")
    yield load_arrays(folder / "digits.npz")
    exported = write_onnx(digits, folder / "digits.onnx")
    yield from (exported, dn.prove(digits, exported, {"test": x[:1]}))
    yield dn.OnnxFile(folder / "digits.onnx", digits)
    yield dn.export_ncnn(digits, folder / "digits.param", prove=False)
    yield dn.export_for(digits, folder / "dpu.onnx", "dpu", prove=False)
    yield dn.Quantized(
        path=folder / "int8.onnx",
        method="min-max",
        tries=(),
        blocks=(),
        images=8,
        kept=(0,),
        choices=(),
        layers=(),
        loss=Loss("top 1", 0.98, 0.97, 360),
        bytes=34_316,
        float_bytes=99_288,
        seconds=1e-4,
        float_seconds=2e-4,
        input=exported.input,
        outputs=exported.outputs,
        notes=(),
    )
    if "ncnn" in INSTALLED:
        yield dn.NcnnFile(folder / "digits.param", digits)
    if "litert" in INSTALLED:
        dn.export_tflite(digits, folder / "digits.tflite", prove=False)
        yield dn.LiteRtFile(folder / "digits.tflite", digits)
    for engine in INSTALLED:
        yield dn.open_session(digits, engine)


def reachable(value: object) -> Iterator[object]:
    """All values of this package in a value: itself, its fields, what is in its collections."""
    todo, seen = [value], set()
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, (str, bytes, int, float, np.ndarray, type)):
            continue
        seen.add(id(each))
        if type(each).__module__.partition(".")[0] == "darknet_bn":
            yield each
        if isinstance(each, Mapping):
            todo += each.values()
        elif isinstance(each, (tuple, list)):
            todo += each
        elif dataclasses.is_dataclass(each):
            names = [field.name for field in dataclasses.fields(each) if field.repr]
            todo += (getattr(each, name) for name in names)


def same(one: Any, other: Any) -> bool:
    """Whether two values hold the same, to the last bit; but for what is derived."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, Sequence) and not isinstance(one, (str, bytes)):
        return len(one) == len(other) and all(itertools.starmap(same, zip(one, other, strict=True)))
    if isinstance(one, BaseException):
        return (
            str(one) == str(other) and same(one.args, other.args) and same(vars(one), vars(other))
        )
    if dataclasses.is_dataclass(one):
        return all(
            same(getattr(one, field.name), getattr(other, field.name))
            for field in dataclasses.fields(one)
            if field.name != "arena"
        )
    if isinstance(one, float):
        return one.hex() == other.hex()
    if type(one).__module__.startswith("darknet_bn"):  # not a value, but something that computes
        return repr(one) == repr(other)
    return bool(one == other)
