"""``.npz``: what is malformed is refused, bombs take no memory, and numpy reads ours."""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.convert.cases import CFG, same_bits, small_model


def arrays_of(model: dn.Model) -> dict[str, Any]:
    return {
        f"layer_{layer:03d}.{name}": each
        for layer, params in enumerate(model.params)
        for name, each in params.items()
    }


def test_numpy_reads_ours(tmp_path: Path) -> None:
    model = small_model()
    dn.save_arrays(model, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert set(found.files) == {"darknet", *arrays_of(model)}
        assert json.loads(str(found["darknet"]))["cfg"] == CFG.decode()
        for key, each in arrays_of(model).items():
            np.testing.assert_array_equal(found[key], each)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saved_is_read(save: Any, tmp_path: Path) -> None:
    arrays = {
        key: np.asfortranarray(each).astype(">f4") for key, each in arrays_of(small_model()).items()
    }
    save(tmp_path / "a.npz", **arrays)
    assert same_bits(dn.load_arrays(tmp_path / "a.npz", CFG), small_model())


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    for key in ("layer_000.weights", "darknet", "more"):
        arrays = arrays_of(small_model()) | {key: np.array([Trap()], object)}
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(dn.WeightsError, match=f"{key}: the array holds Python objects"):
            dn.load_arrays(tmp_path / "a.npz", CFG)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (np.array("no JSON"), "darknet: the metadata does not consist of strings"),
        (np.array("[" * 100_000), "darknet: the metadata does not consist of strings"),
        (np.array('{"cfg": 1}'), "darknet: the metadata does not consist of strings"),
        (np.array(["{}"]), r"darknet: the metadata is not text \(found <U2 \(1,\)\)"),
        (np.zeros(3), "darknet: the metadata is not text"),
        (np.array("{}"), r"header: the metadata is damaged \(expected the 16 or 20 bytes"),
    ],
    ids=range(6),
)
def test_metadata_that_are_none(about: Any, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", darknet=about)
    with pytest.raises(dn.WeightsError, match=message):
        dn.load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"PK\3\4" + bytes(100)])
def test_a_file_of_another_kind(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(dn.WeightsError, match=r"a\.npz: cannot be read as \.npz"):
        dn.load_arrays(tmp_path / "a.npz", CFG)


def test_a_member_twice(tmp_path: Path) -> None:
    dn.save_arrays(small_model(), tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of the name
        stream = io.BytesIO()
        np.save(stream, np.zeros(4, np.float32))
        archive.writestr("layer_000.biases.npy", stream.getvalue())
    with pytest.raises(dn.WeightsError, match="biases: the archive has this member twice"):
        dn.load_arrays(tmp_path / "a.npz")


def test_an_array_under_both_of_its_names(tmp_path: Path) -> None:
    dn.save_arrays(small_model(), tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        stream = io.BytesIO()
        np.save(stream, np.zeros(4, np.float32))
        archive.writestr("layer_000.biases", stream.getvalue())
    with pytest.raises(dn.WeightsError, match="biases: the archive has this array twice"):
        dn.load_arrays(tmp_path / "a.npz")


def test_damage_is_found_when_the_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    dn.save_arrays(small_model(), path)
    data = bytearray(path.read_bytes())
    data[data.index(small_model().params[3]["weights"].tobytes()) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(dn.WeightsError, match=r"Bad CRC.*layer_003\.weights"):
        dn.load_arrays(path)


def test_an_array_that_promises_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays_of(small_model()))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 24,)}
    )
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bomb.npy", "w") as member,
    ):
        member.write(stream.getvalue())
        for _ in range(64):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(dn.WeightsError, match="bomb: the cfg has no place for this array"):
            dn.load_arrays(path, CFG)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
