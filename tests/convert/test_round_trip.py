"""To every format and back: the same two files to the byte, and the same model to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.weights import release
from tests.convert.cases import (
    CFG,
    FIXTURES,
    NAMES,
    PAIRS,
    SUFFIXES,
    any_bits,
    load,
    load_arrays,
    same_bits,
    small_model,
    weights_of,
)

MODELS = (
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "yolov3-tiny/yolov3-tiny",
)


def check(pair: Path, folder: Path, suffix: str, names: str) -> None:
    model = load(pair)
    path = folder / f"model{suffix}"
    dn.save_arrays(model, path, names=names, force=True)
    found = load_arrays(path)
    assert found.dialect == model.dialect
    assert found.header == model.header
    assert found.loaded == len(model.network.nodes)
    assert same_bits(model, found)
    dn.save(found, folder / "b.cfg", folder / "b.weights", force=True)
    assert (folder / "b.weights").read_bytes() == pair.read_bytes()
    assert (folder / "b.cfg").read_bytes() == pair.with_suffix(".cfg").read_bytes()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.parent.name}/{pair.stem}")
def test_every_fixture_comes_back_to_the_byte(pair: Path, tmp_path: Path) -> None:
    for suffix in SUFFIXES[:3]:
        check(pair, tmp_path, suffix, "darknet")
    check(pair, tmp_path, ".safetensors", "tianxiaomo")


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stem", ["tiny/tiny", "digits/digits", "layers/conv_lstm/model"])
def test_every_format_and_scheme(stem: str, suffix: str, names: str, tmp_path: Path) -> None:
    check(FIXTURES / f"{stem}.weights", tmp_path, suffix, names)


@pytest.mark.parametrize(
    "names", [NAMES[0], *(pytest.param(each, marks=pytest.mark.exhaustive) for each in NAMES[1:])]
)
@pytest.mark.parametrize("stem", MODELS)
def test_published_models_come_back_to_the_byte(
    stem: str, names: str, shared: Path, tmp_path: Path
) -> None:
    pair = shared / "models" / f"{stem}.weights"
    for suffix in SUFFIXES[:3]:
        check(pair, tmp_path, suffix, names)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_bit_of_a_nan_comes_back(suffix: str, names: str, tmp_path: Path) -> None:
    weights = any_bits()
    model = dn.load(CFG, weights)
    assert np.isnan(model.params[0]["weights"]).any()
    dn.save_arrays(model, tmp_path / f"a{suffix}", names=names, force=True)
    found = dn.load_arrays(tmp_path / f"a{suffix}")
    assert found.header.seen == 12345678901
    assert weights_of(found, tmp_path) == weights


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "note", ["# é – \r\n".encode(), b"# \xff\xfe\x80 latin\n", b"\xef\xbb\xbf"]
)
def test_the_text_of_the_cfg_comes_back(note: bytes, suffix: str, tmp_path: Path) -> None:
    model = dn.load(note + CFG, any_bits())
    dn.save_arrays(model, tmp_path / f"a{suffix}", force=True)
    assert dn.load_arrays(tmp_path / f"a{suffix}").cfg.to_bytes() == note + CFG


@pytest.mark.parametrize(
    "header",
    [
        dn.Header(0, 1, 0, 2**32 - 1, 4),
        dn.Header(0, 2, 5, 2**64 - 1, 8),
        dn.Header(0, 2, 0, 7, 4),
        dn.Header(981668463, 1063675494, 973279855, 32, 4),
    ],
    ids=["0.1", "0.2", "0.2 with 32 bits", "legacy"],
)
def test_every_header_comes_back(header: dn.Header, tmp_path: Path) -> None:
    data = header.to_bytes() + any_bits()[20:]
    with pytest.warns(dn.DarknetWarning) if header.version == "0.2.0" else contextlib.nullcontext():
        model = dn.load(CFG, data, dialect="pjreddie")
    assert model.header == header
    dn.save_arrays(model, tmp_path / "a.pt", force=True)
    assert weights_of(dn.load_arrays(tmp_path / "a.pt"), tmp_path) == data


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_weights_file_does_not_hold_comes_back_too(suffix: str, tmp_path: Path) -> None:
    cfg = b"[net]\nwidth=4\nheight=4\nchannels=3\n[batchnorm]\n"  # pjreddie's stores no biases
    model = dn.load(cfg, dn.Header().to_bytes() + bytes(4 * 9), dialect="pjreddie")
    biases = np.array([1, 2, 3], np.float32)
    changed = dataclasses.replace(model, params=({**model.params[0], "biases": biases},))
    dn.save_arrays(changed, tmp_path / f"a{suffix}", force=True)
    found = dn.load_arrays(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(found.params[0]["biases"], biases)
    assert weights_of(found, tmp_path) == dn.Header().to_bytes() + bytes(4 * 9)


def test_the_first_filters_of_numload(tmp_path: Path) -> None:
    cfg = CFG.replace(b"filters=4\n", b"filters=4\nnumload=2\n")
    size = 20 + 4 * (2 * 4 + 2 * 2 * 9 + 3 + 3 * 4 + 5 + 5 * 27)
    weights = dn.Header().to_bytes() + np.arange((size - 20) // 4).astype("<f4").tobytes()
    model = dn.load(cfg, weights, dialect="pjreddie", seed=3)
    dn.save_arrays(model, tmp_path / "a.npz", force=True)
    found = dn.load_arrays(tmp_path / "a.npz")
    assert found.params[0]["weights"].shape == (4, 2, 3, 3)
    assert same_bits(model, found)
    assert weights_of(found, tmp_path) == weights


def test_a_file_that_the_cfg_names_comes_along(tmp_path: Path) -> None:
    pair = FIXTURES / "layers/softmax_tree/model.weights"
    model = load(pair)
    assert model.network.files
    dn.save_arrays(model, tmp_path / "a.safetensors", force=True)
    assert load_arrays(tmp_path / "a.safetensors").network.files == model.network.files


def test_a_dialect_of_ones_own_is_left_open(tmp_path: Path) -> None:
    own = dataclasses.replace(dn.ALEXEYAB, rolling_keep=0.5)
    model = dn.load(CFG, any_bits(), dialect=own)
    dn.save_arrays(model, tmp_path / "a.pt", force=True)
    assert dn.load_arrays(tmp_path / "a.pt").dialect == dn.ALEXEYAB  # by the header
    assert dn.load_arrays(tmp_path / "a.pt", dialect=own).dialect == own
    assert dn.load_arrays(tmp_path / "a.pt", dialect="opencv").dialect == dn.OPENCV


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        paths = [tmp_path / f"{stem}{suffix}" for stem in ("a", "another")]
        for path in paths:
            dn.save_arrays(small_model(), path, force=True)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_arrays_are_read_only_views_of_the_file_where_they_can_be(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pt"):
        dn.save_arrays(small_model(), tmp_path / f"a{suffix}", force=True)
        model = dn.load_arrays(tmp_path / f"a{suffix}")
        for params in model.params:
            for array in params.values():
                assert not array.flags.writeable
                assert not array.flags.owndata
                assert array.flags.aligned
                assert array.flags.c_contiguous
        release(model.params)
        assert same_bits(model, small_model())
