"""Models in 8 bits: how much is lost, what is refused, and that nothing is left over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks import quantize as module
from darknet_bn.checks.loss import Loss, Meter
from tests.support.builders import cfg_text, random_model
from tests.support.paths import FIXTURES

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("sympy", reason="sympy is not installed")

DIGITS, TINY = FIXTURES / "digits" / "digits", FIXTURES / "tiny" / "tiny"


def load(stem: Path) -> dn.Model:
    return dn.load(stem.with_suffix(".cfg"), stem.with_suffix(".weights"))


@pytest.fixture(scope="module")
def digits() -> dn.Model:
    return load(DIGITS)


@pytest.fixture(scope="module")
def tiny() -> dn.Model:
    return load(TINY)


@pytest.fixture(scope="module")
def numbers() -> list[np.ndarray]:
    """Some digits to calibrate with."""
    with np.load(DIGITS.with_name("train.npz")) as archive:
        x = archive["x"][:96].astype(np.float32)
    return [x[:32], x[32:64], x[64:]]


def noise(model: dn.Model, count: int = 4) -> list[np.ndarray]:
    x = np.random.default_rng(0).random((count, *model.network.input.dims), np.float32)
    return [x[: count // 2], x[count // 2 :]]


def test_digits_lose_at_most_0_3_points(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    data = dn.load_dataset(DIGITS.with_name("test.npz"), digits, train=False)
    made = dn.quantize_onnx(digits, path, numbers, dataset=data)
    assert made.loss.measure == "top 1"
    assert made.loss.before == dn.evaluate(digits, data).top_1
    assert made.loss.points <= 0.3
    # What is said is what the file does, for anybody.
    after = dn.evaluate(digits, data, session=dn.OnnxFile(path, digits))
    assert isinstance(after, dn.Accuracy)
    assert after.top_1 == pytest.approx(made.loss.after, abs=1 / 360)
    assert made.bytes == path.stat().st_size < 36_000
    plain = dn.export_onnx(digits, tmp_path / "float.onnx", prove=False)
    # The name of the graph is that of the file.
    assert abs(made.float_bytes - plain.path.stat().st_size) < 10
    assert made.images == 96
    assert {each.method for each in made.tries} == {"min-max", "percentile", "entropy"}
    best = min(made.tries, key=lambda each: each.error)
    assert made.method == best.method
    assert made.kept == ()
    assert made.seconds > 0 and made.float_seconds > 0


def test_layers_are_compared_with_the_models(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    made = dn.quantize_onnx(digits, path, numbers[:1], batch="any", method="min-max")
    assert [row.layer for row in made.layers] == list(range(6))
    assert [row.numbers for row in made.layers] == ["int8"] * 4 + ["float32"] * 2
    assert made.layers[0].section == "convolutional"
    x = numbers[0][:8]
    ours, theirs = dn.forward(digits, x, "all"), dn.OnnxFile(path, digits).forward(x, "all")
    for row in made.layers:
        a, b = ours[row.layer].astype(np.float64), theirs[row.layer].astype(np.float64)
        apart = np.abs(a - b)
        assert row.relative == pytest.approx(apart.max() / np.abs(a).max(), rel=1e-3, abs=1e-5)
        assert row.error == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(a), rel=1e-2)
        assert row.cosine > 0.999
    # An 8-bit value is at most half a step, of 255 in the range, from the right one.
    first = made.layers[0]
    assert 1e-4 < first.relative < 3 / 255
    head, *lines = made.table()
    assert head.split() == ["layer", "section", "in", "max", "error", "error", "cosine"]
    assert lines[0].split()[:3] == ["0", "convolutional", "int8"]


def test_blocks_say_where_8_bits_cost_most(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path
) -> None:
    made = dn.quantize_onnx(digits, tmp_path / "a.onnx", numbers, method="min-max")
    assert sorted(block.layers for block in made.blocks) == [(0,), (1,), (2,), (3,)]
    errors = [block.error for block in made.blocks]
    assert errors == sorted(errors)
    best = made.blocks[0]
    kept = dn.quantize_onnx(
        digits, tmp_path / "b.onnx", numbers, method="min-max", keep=best.layers
    )
    assert kept.tries[0].error == pytest.approx(best.error)
    assert kept.kept == best.layers
    assert kept.layers[best.layers[0]].numbers == "float32"
    assert best.layers not in [block.layers for block in kept.blocks]


@pytest.mark.parametrize("batch", [None, 3, "any"])
def test_files_for_batches(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path, batch: Any
) -> None:
    path = tmp_path / "int8.onnx"
    made = dn.quantize_onnx(digits, path, numbers, batch=batch, method="min-max")
    assert made.input.dims[0] == {None: 1, 3: 3, "any": "batch"}[batch]
    assert (made.loss.measure, made.loss.images) == ("agreement", 96)
    assert made.loss.after > 0.97
    # The last batch is filled up, and the rest of it not shown.
    (found,) = dn.OnnxFile(path, digits).forward(numbers[0][:7]).values()
    (one,) = dn.OnnxFile(path, digits).forward(numbers[0][6:7]).values()
    assert len(found) == 7
    np.testing.assert_allclose(found[6], one[0], atol=1e-5)


@pytest.mark.parametrize("head", ["raw", "decoded", "yolov5", "yolov8", "nms"])
def test_boxes_and_scores_are_never_rounded(tiny: dn.Model, tmp_path: Path, head: Any) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "int8.onnx"
    made = dn.quantize_onnx(tiny, path, noise(tiny), head=head, method="min-max", threshold=0.3)
    assert made.loss.boxes and made.loss.found is not None
    assert made.loss.found > 0.9 * made.loss.boxes
    assert made.bytes < 0.6 * made.float_bytes
    graph = onnx.load(path).graph
    rounded = [each.output[0] for each in graph.node if each.op_type == "DequantizeLinear"]
    last = max(at for at, node in enumerate(graph.node) if node.op_type == "Conv")
    for node in graph.node[last + 1 :]:
        assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")
        assert not set(node.input) & set(rounded)
    assert set(made.outputs) == {each.name for each in graph.output}
    if head == "yolov5":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (rows,) = session.run(None, {"input": noise(tiny)[0][:1]})
        assert rows[..., 4:].min() >= 0 and rows[..., 4:].max() <= 1


class Preset(Meter):
    """Says what was given, one after the other."""

    def __init__(self, *lost: float) -> None:
        self.lost = list(lost)

    def measure(self, session: object) -> Loss:
        return Loss("top 1", 0.9, 0.9 - self.lost.pop(0) / 100, 10)


def preset(monkeypatch: pytest.MonkeyPatch, *lost: float) -> Preset:
    judge = Preset(*lost)
    monkeypatch.setattr(module, "meter", lambda *rest: judge)
    return judge


def test_more_is_left_in_float32_until_the_loss_is_small(
    tiny: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = preset(monkeypatch, 3, 2, 1, 1)
    made = dn.quantize_onnx(tiny, tmp_path / "a.onnx", noise(tiny), method="min-max", max_loss=1.5)
    assert judge.lost == []
    kept = [choice.kept for choice in made.choices]
    assert [len(each) for each in kept] == [0, 1, 2]
    assert set(kept[1]) < set(kept[2])
    assert made.kept == kept[-1]
    assert made.loss.points == pytest.approx(1)
    monkeypatch.undo()
    alone = dn.quantize_onnx(tiny, tmp_path / "b.onnx", noise(tiny), method="min-max")
    assert kept[1] == alone.blocks[0].layers


def test_nothing_is_tried_if_the_loss_is_small_at_once(
    tiny: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset(monkeypatch, 1, 1)
    made = dn.quantize_onnx(tiny, tmp_path / "a.onnx", noise(tiny), method="min-max", max_loss=1.5)
    assert [choice.kept for choice in made.choices] == [()]


def test_too_much_loss_is_refused(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset(monkeypatch, 5, 3, 4)
    with pytest.raises(dn.ProofError) as caught:
        dn.quantize_onnx(digits, tmp_path / "int8.onnx", numbers, max_loss=1, method="min-max")
    assert str(caught.value) == (
        f"{tmp_path / 'int8.onnx'}: 8 bits lose too much, even with 1 layer in float32; nothing "
        "was written (expected at most 1 points of top 1, found 3.00, from 90.00% to 87.00%); "
        "more images may help, or max_loss=3 allows it"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_file_itself_is_measured_before_it_appears(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset(monkeypatch, 0, 2)  # the same net, and then the file
    with pytest.raises(dn.ProofError, match="8 bits lose too much; nothing was written"):
        dn.quantize_onnx(digits, tmp_path / "int8.onnx", numbers, max_loss=1, method="min-max")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(b"old")
    with pytest.raises(dn.DarknetError, match="the file already exists; use force=True"):
        dn.quantize_onnx(digits, path, numbers)
    assert path.read_bytes() == b"old"
    dn.quantize_onnx(digits, path, numbers, method="min-max", force=True)
    assert len(path.read_bytes()) > 30_000
    for suffix in (".cfg", ".weights"):
        shutil.copy(DIGITS.with_suffix(suffix), tmp_path)
    mine = load(tmp_path / "digits")
    with pytest.raises(dn.DarknetError, match="the suffix of a different kind"):
        dn.quantize_onnx(mine, tmp_path / "digits.weights", numbers, force=True)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"batches": []}, dn.DarknetError, "there are no images to find the ranges of values with"),
        (
            {"batches": [np.zeros((1, 1, 9, 9), np.float32)]},
            dn.ShapeError,
            "the input does not fit",
        ),
        (
            {"batches": [np.full((1, 1, 8, 8), np.nan, np.float32)]},
            dn.DarknetError,
            "input has values that are not finite",
        ),
        ({"keep": [4]}, dn.DarknetError, "layer 4 cannot be kept in float32: it has no weights"),
        ({"keep": [0, 1, 2, 3]}, dn.DarknetError, "all layers are kept in float32"),
        ({"method": "best"}, dn.DarknetError, "unknown method"),
        ({"max_loss": -1}, dn.DarknetError, "the loss to allow is not below 0"),
        ({"max_loss": float("nan")}, dn.DarknetError, "the loss to allow is not below 0"),
        ({"opset": 12}, dn.ExportError, "unsupported opset"),
    ],
)
def test_what_is_refused(
    digits: dn.Model,
    numbers: list[np.ndarray],
    tmp_path: Path,
    change: dict[str, Any],
    kind: type[dn.DarknetError],
    message: str,
) -> None:
    options: dict[str, Any] = {"batches": numbers} | change
    with pytest.raises(kind, match=message):
        dn.quantize_onnx(digits, tmp_path / "int8.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_net_without_weights_is_refused(tmp_path: Path) -> None:
    model = random_model(cfg_text("[maxpool] size=2 stride=2"))
    with pytest.raises(dn.ExportError, match="no layer of this net can be in 8 bits"):
        dn.quantize_onnx(model, tmp_path / "int8.onnx", noise(model))


def test_levels_are_warned_of(digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path) -> None:
    levels = [np.round(255 * each) for each in numbers]
    with pytest.warns(dn.DarknetWarning, match="levels"):
        dn.quantize_onnx(digits, tmp_path / "int8.onnx", levels, method="min-max")


def test_images_are_looked_at_in_parts_that_fit(
    digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dn.quantize_onnx(digits, tmp_path / "a.onnx", numbers)
    monkeypatch.setattr(module, "_CHUNK", 60_000)  # 3 images of 18 kB
    parts = dn.quantize_onnx(digits, tmp_path / "b.onnx", numbers)
    for a, b in zip(whole.tries, parts.tries, strict=True):
        assert a.error == pytest.approx(b.error, rel=0.05)
    assert parts.images == 96


def test_json_is_plain(digits: dn.Model, numbers: list[np.ndarray], tmp_path: Path) -> None:
    made = dn.quantize_onnx(digits, tmp_path / "a.onnx", numbers, method="min-max")
    facts = json.loads(json.dumps(made.json()))
    assert facts["method"] == "min-max"
    assert facts["loss"]["measure"] == "agreement"
    assert facts["int8"]["bytes"] < facts["float32"]["bytes"]
    assert repr(made).startswith("<Quantized a.onnx: min-max, ")
