"""``.safetensors``: what is malformed is refused, and the package of that name agrees."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.safetensors import read_safetensors
from tests.convert.cases import CFG, any_bits, load_arrays, same_bits, small_model


def file_of(head: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def array(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


GOOD = {"a": array(), "b": array("F16", [2, 2], [8, 16])}

MALFORMED = {
    "empty": (b"", "the file ends inside its header (expected at least 8 bytes, found 0 bytes)"),
    "short": (b"\1\0\0", "the file ends inside its header"),
    "length beyond the file": (
        file_of({}, length=1 << 63),
        "the file ends inside its header (expected at least 9223372036854775816 bytes",
    ),
    "length beyond sense": (
        (20 << 20).to_bytes(8, "little") + bytes(20 << 20),
        "the header is too large (expected at most 8 MiB, found 20971520 bytes)",
    ),
    "no JSON": (file_of(b"{'a': 1}"), "the header is not JSON: Expecting property name"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "the header is not JSON: 'utf-8' codec"),
    "too deep": (file_of(b"[" * 200_000), "the header is not JSON: nested too deeply"),
    "no object": (file_of([1]), "the header is not a JSON object"),
    "a key twice": (file_of(b'{"a": 1, "a": 1}'), "a: the header has this key twice"),
    "metadata": (
        file_of({"__metadata__": {"a": 1}}),
        "__metadata__: the metadata does not consist of strings",
    ),
    "no array": (file_of({"a": 5}), "a: the header does not describe an array"),
    "lacks": (file_of({"a": {"dtype": "F32"}}), "a: the header does not describe an array"),
    "type": (
        file_of({"a": array("F8_E4M3")}, bytes(8)),
        "a: the type of the values is not supported (expected F32, F64,",
    ),
    "type of a type": (
        file_of({"a": array([])}, bytes(8)),
        "a: the type of the values is not supported",
    ),
    "shape": (
        file_of({"a": array(shape=[-2])}, bytes(8)),
        "a: the shape is not valid (found [-2])",
    ),
    "shape of floats": (file_of({"a": array(shape=[2.0])}, bytes(8)), "a: the shape is not valid"),
    "shape of truth": (file_of({"a": array(shape=[True])}, bytes(8)), "a: the shape is not valid"),
    "many axes": (file_of({"a": array(shape=[1] * 99)}, bytes(8)), "a: the shape is not valid"),
    "huge shape": (
        file_of({"a": array(shape=[1 << 40, 1 << 40])}, bytes(8)),
        "a: the size of the array does not match its shape (expected 483570327845851669",
    ),
    "size": (
        file_of({"a": array(shape=[3])}, bytes(8)),
        "a: the size of the array does not match its shape "
        "(expected 12 bytes for F32 (3,), found 8 bytes)",
    ),
    "outside": (
        file_of({"a": array(offsets=[0, 8])}, bytes(4)),
        "a: the values are outside the file (expected two offsets, the first not above the "
        "second, up to 4, found [0, 8])",
    ),
    "negative": (file_of({"a": array(offsets=[-8, 0])}, bytes(8)), "are outside the file"),
    "backward": (file_of({"a": array(offsets=[8, 0])}, bytes(8)), "are outside the file"),
    "three offsets": (file_of({"a": array(offsets=[0, 8, 8])}, bytes(8)), "are outside the file"),
    "overlap": (
        file_of({"a": array(), "b": array(offsets=[4, 12])}, bytes(12)),
        "b: the values overlap with others (expected the values from offset 8 on, found 4)",
    ),
    "gap": (
        file_of({"a": array(offsets=[4, 12])}, bytes(12)),
        "a: there is a gap before them (expected the values from offset 0 on, found 4)",
    ),
    "more": (
        file_of({"a": array()}, bytes(12)),
        "the file continues after the last array (expected 8 bytes after the header, found 12)",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_each_malformed_file_causes_its_message(case: str, tmp_path: Path) -> None:
    data, message = MALFORMED[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    for read in (read_safetensors, dn.load_arrays):
        with pytest.raises(dn.WeightsError) as caught:
            read(path)
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_a_key_that_is_there_twice_is_found_in_linear_time(tmp_path: Path) -> None:
    """A search for each key would take hours."""
    head = b"{" + b",".join(b'"a%d":1' % number for number in range(300_000)) + b',"a299999":1}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(dn.WeightsError, match="a299999: the header has this key twice"):
        read_safetensors(path)


def test_a_good_head_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    values = np.array([1, 2], "<f4").tobytes() + np.arange(4, dtype="<f2").tobytes()
    path.write_bytes(file_of(GOOD, values))
    found = read_safetensors(path)
    assert found.metadata is None
    assert {key: (each.kind, each.shape) for key, each in found.entries.items()} == {
        "a": ("float32", (2,)),
        "b": ("float16", (2, 2)),
    }
    np.testing.assert_array_equal(found.entries["a"].read(), [1, 2])
    np.testing.assert_array_equal(found.entries["b"].read(), [[0, 1], [2, 3]])


@pytest.mark.parametrize("names", ["darknet", "ultralytics", "eriklindernoren", "tianxiaomo"])
def test_the_values_begin_at_a_multiple_of_64(names: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for length in range(1, 70, 7):
        cfg = CFG + b"#" * length + b"\n"
        dn.save_arrays(dn.load(cfg, any_bits()), path, names=names, force=True)
        data = path.read_bytes()
        head = int.from_bytes(data[:8], "little")
        assert (8 + head) % 64 == 0
        assert len(data[8 : 8 + head]) - len(data[8 : 8 + head].rstrip()) < 64


def test_the_largest_head(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of(b"{}".ljust(8 << 20)))
    assert read_safetensors(path).entries == {}
    path.write_bytes(file_of(b"{}".ljust((8 << 20) + 1)))
    with pytest.raises(dn.WeightsError, match=r"the header is too large .*8388609 bytes"):
        read_safetensors(path)


def test_the_most_axes_and_the_largest(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    largest = (1 << 63) - 1
    head = {"a": array(shape=[1] * 7 + [2]), "b": array(shape=[0, largest], offsets=(8, 8))}
    path.write_bytes(file_of(head, bytes(8)))
    entries = read_safetensors(path).entries
    assert entries["a"].read().shape == (1,) * 7 + (2,)
    assert (entries["b"].shape, entries["b"].size) == ((0, largest), 0)
    for shape in ([1] * 8 + [2], [0, largest + 1]):
        path.write_bytes(file_of({"a": array(shape=shape)}, bytes(8)))
        with pytest.raises(dn.WeightsError, match="a: the shape is not valid"):
            read_safetensors(path)


def test_an_array_without_values_may_lie_anywhere_between_others(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    nothing = array(shape=[0], offsets=(0, 0))
    path.write_bytes(
        file_of({"a": nothing, "b": array(), "c": array(shape=[0], offsets=(8, 8))}, bytes(8))
    )
    assert [each.read().size for each in read_safetensors(path).entries.values()] == [0, 2, 0]


def test_values_at_odd_places_are_aligned(tmp_path: Path) -> None:
    dn.save_arrays(small_model(), tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].rstrip()
    text += b" " * (-len(text) % 4 + 1)
    (tmp_path / "a.safetensors").write_bytes(file_of(text, data[8 + length :]))
    model = dn.load_arrays(tmp_path / "a.safetensors")
    assert all(each.flags.aligned for params in model.params for each in params.values())
    assert same_bits(model, small_model())


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_gives_an_error_or_a_model(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    path = tmp_path / "a.safetensors"
    dn.save_arrays(small_model(), path, names="ultralytics")
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    broken = 0
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(head)] = rng.choice((rng.randrange(256), *b'[]{}",019-'))
        path.write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            load_arrays(path)
        except dn.DarknetError as error:
            assert "\n" not in str(error)
            broken += 1
    assert broken > 60


class TestOtherPackage:
    """The package ``safetensors``, which others read and write such files with."""

    @pytest.fixture
    def numpy(self) -> Any:
        return pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")

    @pytest.mark.parametrize("names", ["darknet", "eriklindernoren"])
    def test_reads_our_files(self, numpy: Any, names: str, tmp_path: Path) -> None:
        model = dn.load(CFG, any_bits())
        dn.save_arrays(model, tmp_path / "a.safetensors", names=names)
        found = numpy.load_file(tmp_path / "a.safetensors")
        key = {"darknet": "layer_000.weights", "eriklindernoren": "module_list.0.conv_0.weight"}
        assert found[key[names]].tobytes() == model.params[0]["weights"].tobytes()
        counters = [each for each in found if each.endswith("num_batches_tracked")]
        assert len(counters) == (names != "darknet")
        assert all(found[each].dtype == np.int64 for each in counters)

    def test_keeps_our_metadata(self, numpy: Any, tmp_path: Path) -> None:
        from safetensors import safe_open

        path = tmp_path / "a.safetensors"
        dn.save_arrays(small_model(), path)
        with safe_open(path, "numpy") as file:
            metadata = file.metadata()
        assert metadata["darknet.cfg"] == CFG.decode()
        numpy.save_file(numpy.load_file(path), tmp_path / "b.safetensors", metadata)
        assert same_bits(dn.load_arrays(tmp_path / "b.safetensors"), small_model())

    @pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
    def test_writes_what_we_read(self, numpy: Any, kind: str, tmp_path: Path) -> None:
        model = small_model()
        widen: Callable[[Any], Any] = lambda each: each.astype(np.float16).astype(kind)  # noqa: E731
        arrays = {
            f"layer_{layer:03d}.{name}": widen(each)
            for layer, params in enumerate(model.params)
            for name, each in params.items()
        }
        numpy.save_file(arrays, tmp_path / "a.safetensors", {"format": "np"})
        with pytest.raises(dn.WeightsError, match="the file does not contain a cfg"):
            dn.load_arrays(tmp_path / "a.safetensors")
        found = dn.load_arrays(tmp_path / "a.safetensors", CFG)
        for key, each in arrays.items():
            now = found.params[int(key[6:9])][key[10:]]
            np.testing.assert_array_equal(now, each)
