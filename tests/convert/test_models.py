"""Which arrays a model needs under which keys, and that only what is proven equal appears."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert import SCHEMES, save_pair
from darknet_bn.convert.safetensors import write_safetensors
from darknet_bn.convert.schemes import detect_scheme
from tests.convert.cases import CFG, NAMES, small_model

KEYS = {
    "darknet": ("layer_000.weights", "layer_000.rolling_mean", "layer_002.biases"),
    "ultralytics": (
        "module_list.0.Conv2d.weight",
        "module_list.0.BatchNorm2d.running_mean",
        "module_list.2.Conv2d.bias",
    ),
    "eriklindernoren": (
        "module_list.0.conv_0.weight",
        "module_list.0.batch_norm_0.running_mean",
        "module_list.2.conv_2.bias",
    ),
    "tianxiaomo": (
        "models.0.conv1.weight",
        "models.0.bn1.running_mean",
        "models.2.conv2.bias",
    ),
}


def arrays_of(model: dn.Model, names: str = "darknet") -> dict[str, Any]:
    return {
        key: model.params[place.layer][place.name]
        for key, place in SCHEMES[names].places(model.network).items()
    }


def write(path: Path, arrays: Mapping[str, Any]) -> Path:
    with path.open("wb") as stream:
        write_safetensors(stream, arrays, {})
    return path


@pytest.mark.parametrize("names", NAMES)
def test_the_keys_of_a_scheme(names: str) -> None:
    network = small_model().network
    places = SCHEMES[names].places(network)
    weights, mean, biases = KEYS[names]
    assert places[weights] == (0, "weights")
    assert places[mean] == (0, "rolling_mean")
    assert places[biases] == (2, "biases")
    assert places["layer_003.weights"] == (3, "weights")
    assert len(places) == 9
    assert detect_scheme(places, network) == SCHEMES[names]
    assert SCHEMES[names].counters(network) == (
        () if names == "darknet" else (mean.replace("running_mean", "num_batches_tracked"),)
    )


@pytest.mark.parametrize("names", NAMES)
def test_the_scheme_is_recognised_or_given(names: str, tmp_path: Path) -> None:
    model = small_model()
    path = write(tmp_path / "a.safetensors", arrays_of(model, names))
    assert dn.load_arrays(path, CFG).params[0].keys() == model.params[0].keys()
    assert dn.load_arrays(path, CFG, names=names).header == dn.Header()
    other = NAMES[NAMES.index(names) - 1]
    with pytest.raises(dn.WeightsError, match=r"layer 0: .*: the .* are missing"):
        dn.load_arrays(path, CFG, names=other)


def without(arrays: dict[str, Any], key: str) -> dict[str, Any]:
    return {each: array for each, array in arrays.items() if each != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: without(arrays, "layer_000.weights"),
            "[convolutional] layer 0: layer_000.weights: the weights are missing (expected an "
            "array (4, 2, 3, 3), found 8 of 9 arrays of the scheme darknet); is this the cfg",
        ),
        (
            lambda arrays: without(arrays, "layer_003.biases") | {"fc.bias": np.zeros(5)},
            "[connected] layer 3: layer_003.biases: the biases are missing (expected an array "
            "(5,), found 8 of 9 arrays of the scheme darknet, and also fc.bias)",
        ),
        (
            lambda arrays: arrays | {"layer_007.weights": np.zeros(5, np.float32)},
            "layer_007.weights: the cfg has no place for this array (expected 9 arrays of the "
            "scheme darknet, found float32 (5,) as well)",
        ),
        (
            lambda arrays: arrays | {"layer_000.weights": np.zeros((4, 3, 3, 2), np.float32)},
            "[convolutional] layer 0: layer_000.weights: the weights do not have the shape "
            "that the cfg needs (expected (4, 2, 3, 3), found (4, 3, 3, 2)); is this the cfg",
        ),
        (
            lambda arrays: arrays | {"layer_000.scales": np.full(4, 0.1)},
            "[convolutional] layer 0: layer_000.scales: the values have more digits than a "
            ".weights file can hold (expected float32, found float64; 4 of 4 values would "
            "change); convert them",
        ),
        (
            lambda arrays: arrays | {"layer_000.scales": np.zeros(4, np.int8)},
            "[convolutional] layer 0: layer_000.scales: the values are not floating-point numbers "
            "(expected "
            "float32, or float16, bfloat16 or float64 if nothing is lost, found int8)",
        ),
        (
            lambda _: {"fc.weight": np.zeros(4, np.float32)},
            "the array names do not match a known scheme, or belong to a different cfg (expected "
            "layer_000.biases or module_list.0.BatchNorm2d.bias or "
            "module_list.0.batch_norm_0.bias or models.0.bn1.bias, found fc.weight)",
        ),
        (lambda _: {}, "the array names do not match a known scheme"),
    ],
    ids=range(8),
)
def test_arrays_that_do_not_fit(change: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", change(arrays_of(small_model())))
    with pytest.raises(dn.WeightsError) as caught:
        dn.load_arrays(path, CFG)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_arrays_that_no_weights_file_holds_may_be_missing(tmp_path: Path) -> None:
    cfg = b"[net]\nwidth=4\nheight=4\nchannels=3\n[batchnorm]\n"
    model = dn.load(cfg, None, dialect="pjreddie")
    arrays = without(arrays_of(model), "layer_000.biases")
    path = write(tmp_path / "a.safetensors", arrays)
    found = dn.load_arrays(path, cfg, dialect="pjreddie")
    np.testing.assert_array_equal(found.params[0]["biases"], np.zeros(3))
    with pytest.raises(dn.WeightsError, match="the biases are missing"):
        dn.load_arrays(path, cfg, dialect="alexeyab")


def test_float64_that_are_exact(tmp_path: Path) -> None:
    wide = {key: each.astype(np.float64) for key, each in arrays_of(small_model()).items()}
    wide["layer_002.biases"] = np.array([np.nan, -np.inf, 2.0**-149])
    model = dn.load_arrays(write(tmp_path / "a.safetensors", wide), CFG)
    np.testing.assert_array_equal(
        model.params[2]["biases"], np.array([np.nan, -np.inf, 2.0**-149], np.float32)
    )


@pytest.mark.parametrize("path", ["a.onnx", "a", "a.weights"])
def test_other_suffixes(path: str, tmp_path: Path) -> None:
    message = r"a.*: the suffix does not show .*\.safetensors"
    with pytest.raises(dn.DarknetError, match=message):
        dn.save_arrays(small_model(), path)
    if path != "a.onnx":
        with pytest.raises(dn.DarknetError, match=message):
            dn.load_arrays(path, CFG)


def test_other_schemes(tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match=r"unknown naming scheme .*found 'keras'"):
        dn.save_arrays(small_model(), tmp_path / "a.pt", names="keras")
    with pytest.raises(dn.DarknetError, match="unknown naming scheme"):
        dn.load_arrays(tmp_path / "a.pt", CFG, names="keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_file_that_is_not_there(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(dn.WeightsError, match=f"a{suffix}: cannot be read.*: No such file"):
        dn.load_arrays(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_what_does_not_read_back_equal_never_appears(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()

    def spoil(model: dn.Model, scheme: Any) -> dict[str, Any]:
        arrays = arrays_of(model)
        arrays["layer_003.biases"] = arrays["layer_003.biases"] + 1
        return arrays

    (tmp_path / f"a{suffix}").write_bytes(b"old")
    monkeypatch.setattr("darknet_bn.convert.models._named_arrays", spoil)
    with pytest.raises(dn.DarknetError, match="the biases of layer 3 read back differently"):
        dn.save_arrays(model, tmp_path / f"a{suffix}", force=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_weights_that_do_not_read_back_equal_never_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from darknet_bn.model.weights import write_weights

    def spoil(stream: BinaryIO, *args: Any) -> None:
        write_weights(stream, *args)
        stream.seek(-4, 2)
        stream.write(b"\1\2\3\4")

    monkeypatch.setattr("darknet_bn.model.model.write_weights", spoil)
    with pytest.raises(dn.DarknetError, match="the weights of layer 3 read back differently"):
        save_pair(small_model(), tmp_path / "a.cfg", tmp_path / "a.weights")
    assert not list(tmp_path.iterdir())


def test_a_model_whose_arrays_do_not_fit_its_cfg(tmp_path: Path) -> None:
    model = small_model()
    wrong = {**model.params[0], "scales": np.zeros(5, np.float32)}
    changed = dataclasses.replace(model, params=(wrong, *model.params[1:]))
    with pytest.raises(dn.ShapeError, match="layer 0: the scales do not have the shape"):
        dn.save_arrays(changed, tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("header", "00", r"header: the metadata is damaged \(expected the 16 or 20 bytes"),
        ("header", "zz" * 20, "header: the metadata is damaged"),
        ("dialect", "python", "dialect: the metadata is damaged .expected one of pjreddie"),
        ("files", "[1]", "files: the metadata is damaged"),
        ("files", '{"a": "é"}', "files: the metadata is damaged .expected base64"),
        ("cfg", "", "the file is empty"),
        ("cfg", "[net]\nwidth=1", "a.safetensors:1: .net.: the size of the input is missing"),
    ],
)
def test_metadata_that_are_damaged(
    name: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    about = {"cfg": CFG.decode(), "header": dn.Header().to_bytes().hex()} | {name: text}
    with path.open("wb") as stream:
        write_safetensors(stream, arrays_of(small_model()), about)
    with pytest.raises(dn.DarknetError, match=message):
        dn.load_arrays(path)


def test_oddities_of_the_cfg_are_warned_of(tmp_path: Path) -> None:
    with pytest.warns(dn.DarknetWarning):
        model = dn.load(CFG.replace(b"filters=4\n", b"filters=4\nfilters=4\n"), None)
    dn.save_arrays(model, tmp_path / "a.pt")
    with pytest.warns(dn.DarknetWarning, match="a.pt:8: .*occurs twice"):
        dn.load_arrays(tmp_path / "a.pt")
