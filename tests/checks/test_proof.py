"""A proof must fail if the file is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.heads import FORMS, Form
from darknet_bn.engines.onnxruntime import open_file
from darknet_bn.run.rounding import ROOM
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.detectors import CONV, detector, prove
from tests.support.onnx import write_onnx
from tests.support.paths import FIXTURES

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def damaged(model: dn.Model, layer: int, name: str) -> dn.Model:
    params = [dict(each) for each in model.params]
    params[layer][name] = params[layer][name] + np.float32(0.01)
    return replace(model, params=tuple(params))


@pytest.mark.parametrize("head", FORMS)
def test_another_model_s_file_is_no_proof(tmp_path: Path, head: Form) -> None:
    model = detector("yolo")
    path = tmp_path / "x.onnx"
    same = write_onnx(model, path, head=head, batch=2, threshold=0.2, force=True)
    assert prove(model, same).ok
    other = write_onnx(
        damaged(model, 0, "scales"), path, head=head, batch=2, threshold=0.2, force=True
    )
    assert not prove(model, other).ok


def test_layers_inside_are_looked_at_if_asked(tmp_path: Path) -> None:
    model = random_model(cfg_text(CONV, CONV, CONV))
    exported = write_onnx(damaged(model, 1, "rolling_mean"), tmp_path / "x.onnx", force=True)
    proof = prove(model, exported, layers=True)
    assert [(row.layer, row.is_inner, row.ok) for row in proof.differences] == [
        (2, False, False),
        (0, True, True),
        (1, True, False),
    ]
    assert proof.worst.layer in (1, 2)
    assert [row.layer for row in prove(model, exported).differences] == [2]


def test_what_was_proven_with_what(tmp_path: Path) -> None:
    model = detector("yolo")
    exported = write_onnx(model, tmp_path / "x.onnx", any_size=True, force=True)
    xs = {"one": random_input(model, 1), "larger": random_input(model.resized(10, 12), 1)}
    proof = dn.prove(model, exported, xs)
    assert proof.ok
    assert [(row.name, row.input, row.shape) for row in proof.differences] == [
        ("layer_002", "one", (1, 16, 8, 6)),
        ("layer_002", "larger", (1, 16, 10, 12)),
    ]
    assert proof.program == f"onnxruntime {ort.__version__}"
    assert all(len(digest) == 64 for digest in proof.inputs.values())


# -- how much is allowed ---------------------------------------------------------------------

NOISE = FIXTURES / "reports" / "export-float-noise"


def noisy() -> dn.Model:
    """A net in which two right orders of float32 sums differ by 1e-4."""
    return dn.load(NOISE / "net.cfg", NOISE / "net.weights", dialect="alexeyab")


def prove_as_commands_do(model: dn.Model, exported: dn.Exported, **options: Any) -> dn.Report:
    x = np.random.default_rng(0).random((1, *model.network.input.dims), np.float32)
    return dn.prove(model, exported, {"random": x}, **options)


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "kept"])
@pytest.mark.parametrize("head", FORMS)
def test_what_float32_itself_does_is_allowed(tmp_path: Path, head: Form, fold: bool) -> None:
    model = noisy()
    exported = write_onnx(model, tmp_path / "x.onnx", head=head, fold=fold, threshold=0.1)
    proof = prove_as_commands_do(model, exported)
    assert proof.ok, proof.worst
    for row in proof.differences:
        assert row.rounding is not None
        assert row.allowed == max(1e-5, ROOM * row.rounding)
        assert row.allowed < 1e-3
    strict = prove_as_commands_do(model, exported, tolerance=5e-6)
    assert not strict.ok
    assert {(row.allowed, row.rounding) for row in strict.differences} == {(5e-6, None)}


def test_noise_is_found_where_both_ways_here_are_one(tmp_path: Path) -> None:
    # Folded already, and too small for fast algorithms: only float64 shows how rough float32 is.
    model = dn.fold_batchnorm(noisy())
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    ways = [dn.forward(model, x, exact=exact)[2] for exact in (True, False)]
    np.testing.assert_array_equal(*ways)
    exported = write_onnx(model, tmp_path / "x.onnx")
    assert prove_as_commands_do(model, exported).ok


def test_rounding_is_looked_for_only_if_needed(tmp_path: Path) -> None:
    model = detector("yolo")
    exported = write_onnx(model, tmp_path / "x.onnx", batch=2)
    (row,) = prove(model, exported).differences
    assert (row.ok, row.rounding, row.allowed) == (True, None, 1e-5)


def test_a_wrong_file_is_refused_in_a_rough_net_too(tmp_path: Path) -> None:
    model = noisy()
    exported = write_onnx(damaged(model, 1, "rolling_mean"), tmp_path / "x.onnx", force=True)
    (row,) = prove_as_commands_do(model, exported).differences
    assert not row.ok
    assert row.rounding is not None
    assert row.relative > 10 * row.allowed


def test_a_net_rougher_than_the_most_is_refused(tmp_path: Path) -> None:
    model = noisy()
    params = [dict(each) for each in model.params]
    params[0]["biases"] = params[0]["biases"] * np.float32(100)
    params[1]["rolling_mean"] = params[1]["rolling_mean"] * np.float32(100)
    rough = replace(model, params=tuple(params))
    exported = write_onnx(rough, tmp_path / "x.onnx")
    (row,) = prove_as_commands_do(rough, exported).differences
    assert row.rounding is not None
    assert ROOM * row.rounding > row.allowed == 1e-3
    assert row.ok == (row.relative <= 1e-3) is False
    assert prove_as_commands_do(rough, exported, tolerance=0.1).ok


def test_float16_rounds_by_its_own_measure(tmp_path: Path) -> None:
    model = detector("yolo")
    exported = write_onnx(model, tmp_path / "x.onnx", batch=2, half=True)
    proof = prove(model, exported)
    assert (proof.ok, proof.precision, proof.tolerance) == (True, "float16", 2e-2)
    assert not prove(model, exported, tolerance=1e-5).ok


def test_deep_nets_of_float16_are_allowed_what_it_rounds(shared: Path, tmp_path: Path) -> None:
    stem = shared / "models/yolo-fastest/yolo-fastest-1.1"
    model = dn.load(f"{stem}.cfg", f"{stem}.weights")
    exported = write_onnx(model, tmp_path / "x.onnx", half=True)
    proof = prove_as_commands_do(model, exported)
    assert proof.ok, proof.worst
    assert proof.worst.relative > 2e-2  # so that rounding was looked for
    assert proof.worst.rounding is not None


# -- files that were changed -----------------------------------------------------------------

MODELS = {
    "digits": "digits/digits",
    "tiny": "tiny/tiny",
    "yolov3-tiny": "yolov3-tiny/yolov3-tiny",
    "yolo-fastest": "yolo-fastest/yolo-fastest-1.1",
    "yoloface": "yoloface-50k/yoloface-50k",
    "mobilenet": "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
}


def known_model(name: str, request: pytest.FixtureRequest) -> dn.Model:
    """The digits and the tiny model of the project, or a trained model of somebody else."""
    own = name in ("digits", "tiny")
    folder = NOISE.parents[1] if own else request.getfixturevalue("shared") / "models"
    return dn.load(folder / f"{MODELS[name]}.cfg", folder / f"{MODELS[name]}.weights")


def edited(exported: dn.Exported, edit: Callable[[Any], object]) -> dn.Exported:
    """Change the graph of an exported file."""
    file = onnx.load(exported.path)
    edit(file.graph)
    onnx.save(file, exported.path)
    return exported


def array_edit(name: str, change: Callable[[np.ndarray], None]) -> Callable[[Any], object]:
    """An edit of the array of that name, in place."""

    def edit(graph: Any) -> None:
        (stored,) = (each for each in graph.initializer if each.name == name)
        array = onnx.numpy_helper.to_array(stored).copy()
        change(array)
        stored.CopyFrom(onnx.numpy_helper.from_array(array, name))

    return edit


def attribute_edit(kind: str, key: str, change: Callable[[Any], Any]) -> Callable[[Any], object]:
    """An edit of an attribute of the first node of a kind that has more than one pixel."""

    def edit(graph: Any) -> None:
        for node in graph.node:
            for each in node.attribute:
                value = onnx.helper.get_attribute_value(each)
                if node.op_type == kind and each.name == key and value != [0] * 4:
                    each.CopyFrom(onnx.helper.make_attribute(key, change(value)))
                    return
        raise AssertionError(f"there is no {kind} with {key}")

    return edit


def grow(array: np.ndarray) -> None:
    """Make one scale larger by a thousandth of itself: the largest, since others may do nothing."""
    array[np.abs(array).argmax()] *= np.float32(1.001)


def swap(array: np.ndarray) -> None:
    """Exchange the last two filters: classes."""
    array[[-2, -1]] = array[[-1, -2]]


def last_convolution(model: dn.Model) -> int:
    return max(i for i, each in enumerate(model.params) if "weights" in each)


def often_enough(name: str, head: str, change: str) -> bool:
    """Whether other models show the same: with the head of a kind, and with the larger changes."""
    if name in ("yolov3-tiny", "yolo-fastest", "mobilenet") and change != "nothing":
        return head == "nms" or change != "scale"
    return name.startswith("yolo") and head == "nms"


CHANGES = [
    pytest.param(
        *(name, head, change),
        marks=pytest.mark.exhaustive if often_enough(name, head, change) else (),
    )
    for name in MODELS
    for head in (("raw", "nms") if name != "digits" else ("raw",))
    for change in ("nothing", "scale", "pads", "classes", "slope")
    if (name, change) != ("mobilenet", "slope")  # whose activation has none
]


@pytest.mark.parametrize(("name", "head", "change"), CHANGES)
def test_what_was_changed_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, head: Form, change: str
) -> None:
    model = known_model(name, request)
    exported = write_onnx(model, tmp_path / "x.onnx", fold=change != "scale", head=head)
    edits = {
        "nothing": lambda graph: None,
        "scale": array_edit("layer_000.scales", grow),
        "pads": attribute_edit("Conv", "pads", lambda pads: [0, 0, pads[2] * 2, pads[3] * 2]),
        "classes": array_edit(f"layer_{last_convolution(model):03d}.weights", swap),
        "slope": attribute_edit("LeakyRelu", "alpha", lambda alpha: alpha * 1.1),
    }
    proof = prove_as_commands_do(model, edited(exported, edits[change]))
    assert proof.ok == (change == "nothing"), proof.worst


@pytest.mark.parametrize("change", ["nothing", "order", "move", "drop", "double", "class", "score"])
def test_what_suppression_leaves_is_compared_as_a_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    model = detector("yolo")
    exported = write_onnx(model, tmp_path / "x.onnx", head="nms", batch=2, threshold=0.2)

    def changed(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        run = open_file(path)

        def altered(x: np.ndarray) -> dict[str, np.ndarray]:
            found = dict(run(x))
            rows = found["detections"].copy()
            assert len(rows) > 10
            if change == "order":
                rows = rows[::-1]
            elif change == "move":
                rows[4, 1:5] += 1e-3
            elif change == "drop":
                rows = np.delete(rows, 4, axis=0)
            elif change == "double":
                rows = np.concatenate((rows, rows[4:5]))
            elif change == "class":
                rows[4, 6] = (rows[4, 6] + 1) % 3
            elif change == "score":
                rows[4, 5] -= 1e-3
            return found | {"detections": rows}

        return altered

    monkeypatch.setattr("darknet_bn.checks.proof.open_file", changed)
    proof = prove(model, exported)
    row = next(each for each in proof.differences if each.name == "detections")
    assert row.ok == proof.ok == (change in ("nothing", "order"))
    if change in ("move", "score"):
        assert row.error == pytest.approx(1e-3, rel=1e-2)
    elif not row.ok:
        assert row.problem is not None or row.relative > 1e-3
        assert row.rounding is not None


def test_the_heads_are_compared_even_if_no_box_is_left(tmp_path: Path) -> None:
    model = detector("yolo")
    path = tmp_path / "x.onnx"
    other = write_onnx(damaged(model, 0, "scales"), path, head="nms", batch=2, threshold=0.99)
    boxes, head = prove(model, other).differences
    assert (boxes.name, boxes.shape, boxes.ok) == ("detections", (0, 7), True)
    assert (head.name, head.layer, head.is_inner, head.ok) == ("layer_002", 2, True, False)


def test_nothing_can_be_proven_without_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = detector("yolo")
    exported = write_onnx(model, tmp_path / "x.onnx", batch=2)
    exported.path.write_bytes(b"no such file")
    with pytest.raises(dn.ProofError, match="the file cannot be proven: onnxruntime cannot load"):
        prove(model, exported)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(dn.ProofError, match=r"onnxruntime is not installed; pip install onnxr"):
        prove(model, exported)
