"""``.pt``: the archive and what is in it; PyTorch itself is asked in ``test_torch.py``."""

from __future__ import annotations

import random
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.pickle_stream import read_pickle
from darknet_bn.convert.state_dict import _integer, _pickle, read_state_dict
from darknet_bn.convert.zip_records import Records
from darknet_bn.formats.reading import StoredFile
from tests.convert.cases import load_arrays, same_bits, small_model

ONE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
VALUES = ONE["a.weight"].tobytes()


def archive(path: Path, records: dict[str, bytes], **options: int) -> Path:
    """Write an archive as a test wants it."""
    with zipfile.ZipFile(path, "w", **options) as target:  # type: ignore[arg-type]
        for name, data in records.items():
            target.writestr(f"any/{name}", data)
    return path


def records(**changes: bytes) -> dict[str, bytes]:
    return {"data.pkl": _pickle(ONE, {}), "data/0": VALUES, "version": b"3\n"} | changes


def test_records_lie_at_multiples_of_64_as_they_are(tmp_path: Path) -> None:
    model = small_model()
    dn.save_arrays(model, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pt") as found:
        assert found.testzip() is None
        names = [entry.filename for entry in found.infolist()]
        assert names[:3] == ["archive/data.pkl", "archive/byteorder", "archive/data/0"]
        assert names[-1] == "archive/version"
        assert found.read("archive/version") == b"3\n"
        assert found.read("archive/byteorder") == b"little"
        for entry in found.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            lengths = struct.unpack_from("<HH", data, entry.header_offset + 26)
            begin = entry.header_offset + 30 + sum(lengths)
            assert begin % 64 == 0
            assert data[begin : begin + entry.file_size] == found.read(entry)


def test_an_archive_of_others_is_read(tmp_path: Path) -> None:
    found = read_state_dict(archive(tmp_path / "a.pt", records(note=b"x")))
    assert found.metadata is None
    (entry,) = found.entries.values()
    assert (entry.kind, entry.shape) == ("float32", (2, 3))
    np.testing.assert_array_equal(entry.read(), ONE["a.weight"])


def test_the_other_order_of_bytes(tmp_path: Path) -> None:
    swapped = ONE["a.weight"].astype(">f4").tobytes()
    path = archive(tmp_path / "a.pt", records(byteorder=b"big") | {"data/0": swapped})
    (entry,) = read_state_dict(path).entries.values()
    np.testing.assert_array_equal(entry.read(), ONE["a.weight"])


def test_a_checksum_that_was_left_away(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", records())
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as found:
        for entry in found.infolist():
            crc = entry.CRC.to_bytes(4, "little")
            data = bytearray(bytes(data).replace(crc, bytes(4)))
    path.write_bytes(data)
    (entry,) = read_state_dict(path).entries.values()  # type: ignore[assignment]
    np.testing.assert_array_equal(entry.read(), ONE["a.weight"])  # type: ignore[attr-defined]


HUGE = b"\x80\x02" + b"N" * (17 << 20)
MALFORMED = {
    "no record": ({"version": b"3\n"}, "there is no data.pkl in the archive; is this a file that"),
    "no storage": (
        {"data.pkl": _pickle(ONE, {})},
        "a.weight: the size of the storage does not match the tensor "
        "(expected data/0 of 24 bytes, found no such record)",
    ),
    "short storage": (records() | {"data/0": VALUES[:20]}, "of 24 bytes, found 20 bytes)"),
    "order of bytes": (
        records(byteorder=b"middle"),
        "byteorder: the byte order is unknown (expected little or big, found 'middle')",
    ),
    "pickle": (records() | {"data.pkl": b"cos\nsystem\n."}, "the name 'os.system' is not needed"),
    "large pickle": (
        records() | {"data.pkl": HUGE},
        "the pickle inside is too large (expected at most 8 MiB, found 17825794",
    ),
    "metadata": (
        records() | {"data.pkl": _pickle(ONE, {"header": "00"}).replace(b"X\2\0\0\x0000", b"K\1")},
        "_metadata.darknet: the metadata does not consist of strings",
    ),
    "a list": (records() | {"data.pkl": b"]."}, "there is no state dict in the file (expected "),
    "a dict of others": (
        records() | {"data.pkl": b"}X\5\0\0\0epochK\3s."},
        "named tensors, at the top level or under model, state_dict, model_state_dict, ema, found "
        "a dict of epoch)",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_each_malformed_archive_causes_its_message(case: str, tmp_path: Path) -> None:
    content, message = MALFORMED[case]
    path = archive(tmp_path / "a.pt", content)
    with pytest.raises(dn.WeightsError) as caught:
        read_state_dict(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_folders_in_the_archive_are_passed_over(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", records() | {"data/": b"", ".data/more/": b""})
    assert list(read_state_dict(path).entries) == ["a.weight"]


@pytest.mark.parametrize(
    ("start", "at", "value", "message"),
    [
        (b"PK\1\2", 42, b"\1\0\0\0", "the record is not where the archive says it is"),
        (
            b"PK\1\2",
            42,
            b"\xff\xff\xff\x7f",
            "the record is not where the archive says it is",
        ),
        (b"PK\3\4", 28, b"\xff\xff", "the record is outside the file (expected 24 bytes from"),
        (b"PK\1\2", 10, b"\x08\0", "the record is compressed or encrypted"),
        (b"PK\1\2", 8, b"\1\0", "the record is compressed or encrypted"),
        (b"PK\1\2", 20, b"\x17\0\0\0", "the record is compressed or encrypted"),
        (b"PK\1\2", 16, b"\1\2\3\4", "the record is damaged: bad checksum"),
    ],
)
def test_a_record_that_is_damaged(
    start: bytes, at: int, value: bytes, message: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.pt", {"data/0": VALUES} | records())  # the storage comes first
    data = bytearray(path.read_bytes())
    place = data.index(start) + at
    data[place : place + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(dn.WeightsError) as caught:
        next(iter(read_state_dict(path).entries.values())).read()
    assert f"{path}: a.weight: data/0: {message}" in str(caught.value)


def test_a_record_is_read_once_however_many_tensors_are_in_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", records())
    archive_of = Records(StoredFile(path))
    assert archive_of.read("data/0") is archive_of.read("data/0")
    with pytest.raises(dn.WeightsError, match="data/1: the archive lacks a record"):
        archive_of.read("data/1")


def test_sizes_beyond_31_bits_are_written_so_that_they_come_back() -> None:
    for value in (0, (1 << 31) - 1, 1 << 31, (1 << 63) - 1):
        assert read_pickle(b"\x80\2" + _integer(value) + b".") == value


def test_a_state_dict_with_other_values(tmp_path: Path) -> None:
    data = _pickle(ONE, {})
    head, tail = data[:-1].rsplit(b"}X\x09\0\0\0_metadata", 1)
    mixed = head + b"X\5\0\0\0epochK\3s" + b"}X\x09\0\0\0_metadata" + tail + b"."
    path = archive(tmp_path / "a.pt", records() | {"data.pkl": mixed})
    with pytest.raises(
        dn.WeightsError, match="epoch: the state dict holds values that are not tensors"
    ):
        read_state_dict(path)


def test_compressed_records(tmp_path: Path) -> None:
    content = records() | {"data/0": VALUES}
    path = archive(tmp_path / "a.pt", content, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(dn.WeightsError, match=r"data\.pkl: the record is compressed or encrypted"):
        read_state_dict(path)


def test_a_record_twice(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", records())
    with zipfile.ZipFile(path, "a") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of the name
        target.writestr("any/data/0", VALUES)
    with pytest.raises(dn.WeightsError, match="data/0: the archive has this record twice"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is not a PyTorch file"),
        (b"x" * 100, "this is not a PyTorch file"),
        (b"PK\3\4" + bytes(100), "cannot be read as a zip archive"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.more", "before version 1.6; torch.save"),
    ],
    ids=range(4),
)
def test_a_file_of_another_kind(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(dn.WeightsError, match=message):
        dn.load_arrays(tmp_path / "a.pth")


def test_damage_is_found_when_the_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    dn.save_arrays(small_model(), path)
    data = bytearray(path.read_bytes())
    data[data.index(small_model().params[3]["weights"].tobytes()) + 100] ^= 1
    path.write_bytes(data)
    expected = r"a\.pt: layer_003\.weights: data/\d+: the record is damaged: bad checksum"
    with pytest.raises(dn.WeightsError, match=expected):
        dn.load_arrays(path)


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_gives_an_error_or_a_model(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    path = tmp_path / "a.pt"
    dn.save_arrays(small_model(), path, names="tianxiaomo")
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    broken = 0
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 4))):
            place = rng.choice((rng.randrange(len(data)), rng.randrange(directory, len(data))))
            data[place] = rng.randrange(256)
        path.write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            load_arrays(path)
        except dn.DarknetError as error:
            assert "\n" not in str(error)
            broken += 1
    assert broken > 20


def test_without_the_attributes_of_torch_the_cfg_is_needed(tmp_path: Path) -> None:
    model = small_model()
    arrays = {
        f"layer_{layer:03d}.{name}": each
        for layer, params in enumerate(model.params)
        for name, each in params.items()
    }
    content = {"data.pkl": _pickle(arrays, {})} | {
        f"data/{number}": each.tobytes() for number, each in enumerate(arrays.values())
    }
    path = archive(tmp_path / "a.pt", content)
    with pytest.raises(dn.WeightsError, match="the file does not contain a cfg"):
        dn.load_arrays(path)
    assert same_bits(dn.load_arrays(path, model.cfg.to_bytes()), model)
