"""Files of ncnn are there only if ncnn computes with them what the model does."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks import export_ncnn as module
from darknet_bn.convert.ncnn.net import NcnnNet
from darknet_bn.convert.prepared import PreparedFiles
from tests.support.builders import cfg_text, random_input, random_model, with_time_steps
from tests.support.detectors import HEADS, detector, v1_detector
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
NET = cfg_text(CONV, "[maxpool] size=2 stride=2", CONV)
TINY = FIXTURES / "tiny" / "tiny"

needs_ncnn = pytest.mark.usefixtures("ncnn")


@pytest.fixture
def ncnn() -> None:
    pytest.importorskip("ncnn", reason="ncnn is not installed")


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@needs_ncnn
def test_both_files_are_written_and_every_layer_is_proven(tmp_path: Path) -> None:
    model = random_model(NET)
    exported = dn.export_ncnn(model, tmp_path / "net.param", proof=tmp_path / "proof.json")
    assert names_in(tmp_path) == ["net.bin", "net.param", "proof.json"]
    assert exported.paths == (tmp_path / "net.param", tmp_path / "net.bin")
    assert (exported.target, exported.numbers) == ("ncnn", "float32")
    assert exported.outputs == {"layer_002": (4, 4, 4)}
    assert exported.layers == {layer: f"layer_{layer:03d}" for layer in range(3)}
    assert exported.proof is not None
    assert exported.proof.ok
    assert [each.layer for each in exported.proof.differences] == [0, 1, 2]
    assert json.loads((tmp_path / "proof.json").read_text())["ok"]
    lines = (tmp_path / "net.param").read_text().splitlines()
    assert lines == [
        "7767517",
        "4 4",
        "Input input 0 1 input 0=8 1=8 2=3",
        "Convolution layer_000 1 1 input layer_000 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,0.1",
        "Pooling layer_001 1 1 layer_000 layer_001 0=0 1=2 2=2 5=1 13=0 14=1 15=1",
        "Convolution layer_002 1 1 layer_001 layer_002 0=4 1=3 4=1 5=1 6=144 9=2 -23310=1,0.1",
    ]
    assert (tmp_path / "net.bin").stat().st_size == 4 * (1 + 108 + 4 + 1 + 144 + 4)


@needs_ncnn
def test_the_file_is_opened_again_and_pickled(tmp_path: Path) -> None:
    model = random_model(NET)
    dn.export_ncnn(model, tmp_path / "net.param")
    session = dn.NcnnFile(tmp_path / "net.param", model)
    assert session.layers == (0, 1, 2)
    x = random_input(model)
    found = session.forward(x, "all")
    again = pickle.loads(pickle.dumps(session)).forward(x, "all")
    assert all(np.array_equal(found[layer], again[layer]) for layer in range(3))
    assert dn.compare(model, session, x, tolerance=1e-5).ok


@needs_ncnn
@pytest.mark.parametrize("damage", ["bias", "pad", "slope"])
def test_nothing_is_kept_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    right = module.prepare_ncnn

    def wrong(model: dn.Model, path: Path, **options: object) -> PreparedFiles:
        """What is prepared, with one thing in the last layer changed."""
        prepared = right(model, path)
        made = prepared.files[Path(path)].__self__  # type: ignore[attr-defined]
        *front, last = made.layers
        if damage == "bias":
            weights, biases = last.weights
            more = replace(biases, array=biases.array + np.float32(0.1))
            last = replace(last, weights=(weights, more))
        else:
            change = {16: 0, 14: 2} if damage == "pad" else {10: [0.2]}
            last = replace(last, options={**last.options, **change})
        net = NcnnNet((*front, last))
        files = dict(zip(prepared.files, (net.write_param, net.write_bin), strict=True))
        return replace(prepared, files=files)

    monkeypatch.setattr(module, "prepare_ncnn", wrong)
    with pytest.raises(
        dn.ProofError, match="does not agree with the model; nothing was written"
    ) as caught:
        dn.export_ncnn(random_model(NET), tmp_path / "net.param")
    assert caught.value.where.layer == 2
    assert names_in(tmp_path) == []


@needs_ncnn
def test_half_is_half_the_size(tmp_path: Path) -> None:
    model = random_model(NET)
    exported = dn.export_ncnn(model, tmp_path / "net.param", half=True)
    assert exported.numbers == "float16"
    assert exported.proof is not None
    assert exported.proof.precision == "float16"
    assert exported.proof.worst.relative < 2e-3
    assert (tmp_path / "net.bin").stat().st_size == 2 * (108 + 144) + 4 * (1 + 4 + 1 + 4)


def test_weights_that_float16_does_not_hold_are_refused(tmp_path: Path) -> None:
    model = random_model(NET)
    model.params[2].update(scales=np.full(4, 1e6, np.float32))  # type: ignore[attr-defined]
    with pytest.raises(dn.ExportError, match="does not fit into float16") as caught:
        dn.export_ncnn(model, tmp_path / "net.param", half=True, prove=False)
    assert caught.value.where.layer == 2


@needs_ncnn
@pytest.mark.parametrize("name", HEADS)
def test_boxes_are_the_models_own(tmp_path: Path, name: str) -> None:
    model = detector(name)
    exported = dn.export_ncnn(model, tmp_path / "net.param", head="decoded")
    assert list(exported.outputs) == ["boxes", "confs"]
    assert exported.proof is not None
    assert {"boxes", "confs"} <= {each.name for each in exported.proof.differences}
    assert "DetectionOutput" not in (tmp_path / "net.param").read_text()


@needs_ncnn
def test_boxes_of_the_first_version_too(tmp_path: Path) -> None:
    exported = dn.export_ncnn(v1_detector(), tmp_path / "net.param", head="decoded")
    assert exported.proof is not None
    assert exported.proof.ok


@needs_ncnn
def test_wrong_boxes_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module.NcnnFile,
        "boxes",
        lambda self, x: {
            "boxes": np.zeros((1, 96, 4), np.float32),
            "confs": np.zeros((1, 96, 3), np.float32),
        },
    )
    with pytest.raises(dn.ProofError, match="boxes of the exported files does not agree"):
        dn.export_ncnn(detector("yolo"), tmp_path / "net.param", head="decoded")
    assert names_in(tmp_path) == []


def ranges_of(model: dn.Model) -> dn.ActivationRanges:
    return dn.activation_ranges(model, [random_input(model, 4)])


@needs_ncnn
@pytest.mark.parametrize("clip", ["minmax", "percentile", "entropy", "error"])
def test_int8_is_proven_in_the_same_steps_and_its_loss_is_measured(
    tmp_path: Path, clip: str
) -> None:
    model = dn.load(f"{TINY}.cfg", f"{TINY}.weights")
    x = np.random.default_rng(0).random((4, 3, 64, 64), np.float32)
    exported = dn.export_ncnn(
        model,
        tmp_path / "tiny.param",
        int8=dn.activation_ranges(model, [x]),
        clip=clip,  # type: ignore[arg-type]
        inputs={"images": x},
    )
    assert exported.numbers == "int8"
    assert exported.proof is not None
    assert exported.proof.ok
    assert exported.proof.precision == "int8"
    assert exported.proof.worst.relative < 2e-6
    assert {each.input for each in exported.proof.differences} == {"random", "images"}
    assert exported.loss is not None
    assert [each.layer for each in exported.loss.differences] == list(range(12))
    assert 0.01 < exported.loss.worst.relative < 0.5
    assert (tmp_path / "tiny.bin").stat().st_size < 84_080 / 3


@needs_ncnn
@pytest.mark.parametrize("damage", ["weight", "scale", "input scale"])
def test_int8_that_is_wrong_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    right = module.prepare_ncnn

    def wrong(model: dn.Model, path: Path, **options: object) -> PreparedFiles:
        """What is prepared, with one number of the last layer changed."""
        prepared = right(model, path, **options)  # type: ignore[arg-type]
        made = prepared.files[Path(path)].__self__  # type: ignore[attr-defined]
        *front, last = made.layers
        place = {"weight": 0, "scale": 2, "input scale": 3}[damage]
        weights = list(last.weights)
        array = weights[place].array.copy()
        array.flat[0] += 1
        weights[place] = replace(weights[place], array=array)
        net = NcnnNet((*front, replace(last, weights=tuple(weights))))
        files = dict(zip(prepared.files, (net.write_param, net.write_bin), strict=True))
        return replace(prepared, files=files)

    monkeypatch.setattr(module, "prepare_ncnn", wrong)
    model = random_model(NET)
    with pytest.raises(dn.ProofError, match="does not agree with the model") as caught:
        dn.export_ncnn(model, tmp_path / "net.param", int8=ranges_of(model))
    assert caught.value.where.layer == 2
    assert names_in(tmp_path) == []


@needs_ncnn
def test_digits_keep_their_accuracy(tmp_path: Path) -> None:
    folder = FIXTURES / "digits"
    model = dn.load(folder / "digits.cfg", folder / "digits.weights")
    with np.load(folder / "train.npz") as data:
        seen = data["x"][:256].astype(np.float32)
    with np.load(folder / "test.npz") as data:
        x, y = data["x"].astype(np.float32), data["y"]
    ranges = dn.activation_ranges(model, [seen])
    exported = dn.export_ncnn(
        model, tmp_path / "digits.param", int8=ranges, inputs={"digits": seen}
    )
    session = dn.NcnnFile(exported.paths[0], model)
    right = [
        np.mean(each.forward(x)[5].argmax(axis=1) == y)
        for each in (dn.open_session(model, "numpy"), session)
    ]
    assert right[0] == pytest.approx(0.9861, abs=1e-4)
    assert abs(right[1] - right[0]) <= 0.003
    assert exported.paths[1].stat().st_size == 25_196
    assert exported.loss is not None
    assert exported.loss.differences[-1].relative < 0.15


@needs_ncnn
def test_a_loss_above_what_is_allowed_keeps_nothing(tmp_path: Path) -> None:
    model = random_model(NET)
    with pytest.raises(dn.ProofError, match="layer_002 loses too much in int8") as caught:
        dn.export_ncnn(model, tmp_path / "net.param", int8=ranges_of(model), max_loss=1e-4)
    assert caught.value.where.layer == 2
    assert names_in(tmp_path) == []
    dn.export_ncnn(model, tmp_path / "net.param", int8=ranges_of(model), max_loss=0.5)
    assert names_in(tmp_path) == ["net.bin", "net.param"]


def test_int8_and_float16_exclude_each_other(tmp_path: Path) -> None:
    model = random_model(NET)
    for options, reason in (
        ({"half": True}, "cannot be used together"),
        ({"clip": "most"}, "unknown way"),
    ):
        with pytest.raises(dn.ExportError, match=reason):
            dn.export_ncnn(
                model,
                tmp_path / "net.param",
                int8=ranges_of(model),
                prove=False,
                **options,  # type: ignore[arg-type]
            )


@needs_ncnn
def test_time_steps_have_blobs_of_their_own(tmp_path: Path) -> None:
    cfg = with_time_steps(cfg_text("[rnn] output=4 hidden=5", width=2, height=1, channels=3), 3)
    model = random_model(cfg)
    exported = dn.export_ncnn(model, tmp_path / "net.param")
    assert list(exported.outputs) == ["layer_000_0", "layer_000_1", "layer_000_2"]
    assert exported.notes == ("the weights are stored once for each of the 3 time steps",)


@needs_ncnn
def test_files_of_another_net_are_refused(tmp_path: Path) -> None:
    dn.export_ncnn(random_model(NET), tmp_path / "net.param")
    other = random_model(cfg_text(CONV, width=9))
    with pytest.raises(dn.DarknetError, match="a different input") as caught:
        dn.NcnnFile(tmp_path / "net.param", other)
    assert "expected input 3 x 8 x 9, found input 3 x 8 x 8" in str(caught.value)


@needs_ncnn
@pytest.mark.parametrize(("name", "end"), [("net.param", 60), ("net.bin", 900)])
def test_files_that_end_early_are_refused(tmp_path: Path, name: str, end: int) -> None:
    model = random_model(NET)
    dn.export_ncnn(model, tmp_path / "net.param")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:end])
    with pytest.raises(dn.DarknetError, match="ncnn cannot load the file"):
        dn.NcnnFile(tmp_path / "net.param", model)


def test_what_is_there_stays_unless_forced(tmp_path: Path) -> None:
    model = random_model(NET)
    (tmp_path / "net.bin").write_bytes(b"old")
    with pytest.raises(dn.DarknetError, match="exists"):
        dn.export_ncnn(model, tmp_path / "net.param", prove=False)
    assert names_in(tmp_path) == ["net.bin"]
    dn.export_ncnn(model, tmp_path / "net.param", prove=False, force=True)
    assert names_in(tmp_path) == ["net.bin", "net.param"]


def test_without_ncnn_nothing_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(dn.ProofError) as caught:
        dn.export_ncnn(random_model(NET), tmp_path / "net.param")
    assert str(caught.value) == (
        "the result cannot be proven, so nothing was written: the package ncnn is not installed; "
        "pip install 'darknet-bn[ncnn]', or use prove=False"
    )
    assert dn.export_ncnn(random_model(NET), tmp_path / "net.param", prove=False).proof is None


@pytest.mark.parametrize("path", ["net.bin", "net"])
def test_another_suffix_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(dn.DarknetError, match=r"\.param"):
        dn.export_ncnn(random_model(NET), tmp_path / path)


def test_an_unknown_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dn.ExportError, match="unknown head format"):
        dn.export_ncnn(
            random_model(NET),
            tmp_path / "net.param",
            head="nms",  # type: ignore[arg-type]
            prove=False,
        )
