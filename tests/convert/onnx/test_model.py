"""From ONNX to Darknet: exported files to the bit, plain graphs so that they compute the same."""

from __future__ import annotations

import random
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.model.weights import Header
from tests.convert.cases import CFG, PAIRS, any_bits, load, load_arrays, small_model, weights_of
from tests.convert.graphs import GRAPHS, plain
from tests.support.builders import random_floats
from tests.support.onnx import write_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

MODELS = ("yolov3-tiny/yolov3-tiny", "yolo-fastest/yolo-fastest-1.1")


# -- exported files --------------------------------------------------------------------------


def exported(model: dn.Model, folder: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        write_onnx(model, folder / "x.onnx", **options, force=True)
    return folder / "x.onnx"


def assert_same_files(found: dn.Model, model: dn.Model, folder: Path) -> None:
    assert found.cfg.to_bytes() == model.cfg.to_bytes()
    assert found.dialect == model.dialect
    assert weights_of(found, folder) == weights_of(model, folder)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.parent.name}/{pair.stem}")
def test_an_exported_file_comes_back_to_the_byte_or_not_at_all(pair: Path, tmp_path: Path) -> None:
    model = load(pair)
    batch = model.network.time_steps
    try:
        sources = {True: dn.fold_batchnorm(model), False: model}
    except dn.FoldError:  # statistics that give no finite factor
        sources = {False: model}
    for fold, source in sources.items():
        path = exported(model, tmp_path, fold=fold, batch=batch)
        facts = {each.key for each in onnx.load(path).metadata_props}
        if "darknet_arrays" in facts:
            assert_same_files(load_arrays(path), source, tmp_path)
        else:
            with pytest.raises(dn.WeightsError, match="exported with arrays that Darknet's"):
                load_arrays(path)


@pytest.mark.parametrize("stem", MODELS)
@pytest.mark.parametrize("head", ["raw", "nms"])
def test_trained_models_come_back_folded(
    shared: Path, tmp_path: Path, stem: str, head: str
) -> None:
    model = load(shared / "models" / f"{stem}.weights")
    path = exported(model, tmp_path, head=head, batch="any")
    assert_same_files(load_arrays(path), dn.fold_batchnorm(model), tmp_path)


def test_batch_norm_comes_back_too_where_it_is_onnx_s(tmp_path: Path) -> None:
    model = dn.load(CFG, any_bits(), dialect="alexeyab")
    assert_same_files(load_arrays(exported(model, tmp_path, fold=False)), model, tmp_path)
    for dialect, options in (("pjreddie", {"fold": False}), ("alexeyab", {"half": True})):
        model = dn.load(CFG, None, dialect=dialect)
        with pytest.raises(dn.WeightsError, match=r"x\.onnx: the file was exported with arrays"):
            load_arrays(exported(model, tmp_path, **options))


def test_arrays_beside_the_file_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darknet_bn.convert.onnx.file._LARGEST", 1 << 24)
    monkeypatch.setattr("darknet_bn.convert.onnx.file._ALIGNED", 64)
    model = dn.load(CFG, any_bits())
    path = exported(model, tmp_path, fold=False)
    (beside,) = tmp_path.glob("x.onnx.*.data")
    assert_same_files(load_arrays(path), model, tmp_path)
    beside.unlink()
    with pytest.raises(dn.WeightsError, match=rf"x\.onnx: .*{re.escape(beside.name)}"):
        load_arrays(path)


def test_metadata_that_were_changed(tmp_path: Path) -> None:
    path = exported(dn.load(CFG, None), tmp_path)
    file = onnx.load(path)
    for text in ("[]", "{", '{"layer_000.weights": "no"}', '{"a": []}'):
        for each in file.metadata_props:
            if each.key == "darknet_arrays":
                each.value = text
        onnx.save(file, path)
        with pytest.raises(
            dn.WeightsError, match=r"x\.onnx: darknet_arrays: the metadata does not"
        ):
            load_arrays(path)


# -- laws ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_random_nets_as_plain_graphs(tmp_path: Path, seed: int) -> None:
    text = nets.random_cfg(
        seed, (*nets.PLAIN, nets.connected), ("linear", "leaky", "relu", "logistic", "tanh", "elu")
    )
    network = dn.build_network(dn.parse_cfg(text), dn.ALEXEYAB)
    weights = Header(revision=5).to_bytes() + random_floats(network, seed)
    model = dn.load(text, weights, dialect="alexeyab")
    path = exported(model, tmp_path, fold=seed % 2 == 0, opset=(13, 18)[seed % 2])
    file = onnx.load(path)
    del file.metadata_props[:]
    onnx.save(file, path)
    try:
        found = dn.load_arrays(path)
    except dn.WeightsError as error:
        assert "Darknet pads all sides equally" in str(error)  # a window larger than the image
        return
    x = np.random.default_rng(seed).random((1, *network.input.dims), np.float32)
    ours = [each.ravel() for each in dn.forward(model, x).values()]
    theirs = [each.ravel() for each in dn.forward(found, x).values()]
    assert len(ours) == len(theirs)
    for y in ours:  # outputs may have changed places; folding and rounding are as in an export
        assert any(
            len(y) == len(z) and np.abs(y - z).max() <= 1e-5 * np.abs(y).max() for z in theirs
        ), text.decode()


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_give_one_line(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = [exported(small_model(), tmp_path).read_bytes()]
    for name in ("classifier", "a shape that is computed"):
        nodes, constants, _ = GRAPHS[name]
        files.append(plain(tmp_path / "x.onnx", *nodes, **constants).read_bytes())
    refused = 0
    for number in range(120):
        data = bytearray(files[number % 3])
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "y.onnx").write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            load_arrays(tmp_path / "y.onnx")
        except dn.DarknetError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 60


def test_names_of_any_characters_stay_on_one_line(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.onnx", "y = Exp(x)")
    file = onnx.load(path)
    file.graph.node[0].name = "a\nb\x1b[31mé"
    onnx.save(file, path)
    with pytest.raises(
        dn.WeightsError, match=r"x\.onnx: a\\nb\\x1b\[31mé: Exp: Darknet has no section"
    ):
        dn.load_arrays(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    for data in (b"", b"\0" * 100, b"[net]\n"):
        (tmp_path / "x.onnx").write_bytes(data)
        with pytest.raises(dn.WeightsError, match=r"x\.onnx: "):
            dn.load_arrays(tmp_path / "x.onnx")
    with pytest.raises(dn.WeightsError, match=r"none\.onnx: "):
        dn.load_arrays(tmp_path / "none.onnx")
