"""Fixtures: what they hold is known before it is read, and nothing in them can do harm."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.fixture import save_fixture

X = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
FLAT = np.arange(10, dtype=np.float32).reshape(2, 5)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        for name, data in members.items():
            stream.writestr(f"{name}.npy", data)
    return path


class TestRoundTrip:
    def test_what_was_saved_is_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        record = {"program": "x", "nested": {"é": [1, None]}}
        save_fixture(path, X, {0: X, 1200: FLAT, 7: FLAT}, record)
        fixture = dn.load_fixture(path)
        assert fixture.path == str(path)
        assert fixture.layers == (0, 7, 1200)
        assert fixture.provenance == record
        assert fixture.shapes == {
            "input": (2, 3, 2, 2),
            "layer_000": (2, 3, 2, 2),
            "layer_007": (2, 5),
            "layer_1200": (2, 5),
        }
        np.testing.assert_array_equal(fixture.input((3, 2, 2)), X)
        np.testing.assert_array_equal(fixture.layer(1200, (5,)), FLAT)

    def test_numpy_reads_it_too(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        save_fixture(path, X, {0: FLAT}, {"a": 1})
        with np.load(path, allow_pickle=False) as found:
            assert sorted(found.files) == ["input", "layer_000", "provenance"]
            np.testing.assert_array_equal(found["layer_000"], FLAT)
            assert json.loads(str(found["provenance"])) == {"a": 1}

    def test_every_value_comes_back_with_its_bits(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        bits = np.random.default_rng(1).integers(0, 2**32, (2, 3, 2, 2), np.uint32)
        save_fixture(path, bits.view(np.float32), {}, {})
        found = dn.load_fixture(path).input((3, 2, 2))
        np.testing.assert_array_equal(found.view(np.uint32), bits)

    def test_it_is_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(dn.DarknetError, match="the folder does not exist"):
            save_fixture(tmp_path / "missing" / "a.npz", X, {}, {})
        assert not list(tmp_path.iterdir())

    def test_what_numpy_saved_is_loaded(self, tmp_path: Path) -> None:
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "a.npz", input=X, layer_000=np.asfortranarray(X), note=np.arange(3))
            fixture = dn.load_fixture(tmp_path / "a.npz")
            assert fixture.provenance == {}
            np.testing.assert_array_equal(fixture.layer(0, (3, 2, 2)), X)
            assert fixture.layer(0, (3, 2, 2)).flags.c_contiguous

    def test_members_of_other_names_are_passed_over(self, tmp_path: Path) -> None:
        names = ("layer_0", "layer_0001", "layer_abc", "x", "input.npy", "layer_٠٠٠")
        path = archive(tmp_path / "a.npz", input=npy(X), **dict.fromkeys(names, b"no array"))
        with zipfile.ZipFile(path, "a") as stream:
            stream.writestr("layer_000", b"no array")  # no .npy
        fixture = dn.load_fixture(path)
        assert fixture.layers == ()
        assert list(fixture.shapes) == ["input"]


class TestRefusals:
    def refused(self, path: Path, match: str) -> None:
        with pytest.raises(dn.FixtureError, match=match) as caught:
            dn.load_fixture(path)
        assert str(caught.value).startswith(str(path))

    @pytest.mark.parametrize("name", ["absent.npz", "."])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, name: str) -> None:
        self.refused(tmp_path / name, "cannot be read as .npz")

    @pytest.mark.parametrize("data", [b"", b"x" * 100, b"PK\x03\x04" + b"x" * 100, npy(X)])
    def test_a_file_of_another_kind(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "a.npz"
        path.write_bytes(data)
        self.refused(path, "cannot be read as .npz")

    def test_no_input(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "a.npz", layer_000=npy(X))
        self.refused(path, "the array 'input' is missing.*found layer_000")
        self.refused(archive(tmp_path / "b.npz"), "found no such arrays")

    @pytest.mark.parametrize(
        ("array", "found"),
        [
            (X.astype(np.float64), "float64"),
            (X.astype(np.int32), "int32"),
            (X.astype(">f4"), ">f4"),
            (np.array(["a"]), "<U1"),
        ],
    )
    def test_other_types(self, tmp_path: Path, array: np.ndarray, found: str) -> None:
        path = archive(tmp_path / "a.npz", input=npy(X), layer_000=npy(array))
        self.refused(path, f"layer_000: .*expected float32, found .*{found}")

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (tmp_path / "sprung",))

        for name in ("layer_000", "provenance"):
            members = {"input": npy(X), name: npy(np.array([Trap()], object))}
            path = archive(tmp_path / "a.npz", **members)
            self.refused(path, f"{name}: .*object")
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("shape", [(2, 3, 2, 3), (1 << 40,), (-1, 3), (2, 3, 2, 1), ()])
    def test_shapes_that_are_not_the_data_s(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        stream = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        path = archive(tmp_path / "a.npz", input=stream.getvalue() + X.tobytes())
        self.refused(path, "input: the size of the array does not match its shape")

    def test_a_shape_that_promises_gigabytes_takes_no_memory(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 28)}
        np.lib.format.write_array_header_1_0(stream, header)
        path = tmp_path / "bomb.npz"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
            target.open("input.npy", "w", force_zip64=True) as member,
        ):
            member.write(stream.getvalue())
            for _ in range(16):
                member.write(bytes(1 << 20))
        tracemalloc.start()
        try:
            self.refused(path, "does not match its shape")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20

    def test_another_shape_than_the_net_s(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "a.npz", input=npy(X), layer_000=npy(FLAT))
        fixture = dn.load_fixture(path)
        with pytest.raises(dn.FixtureError) as caught:
            fixture.layer(0, (4,))
        assert str(caught.value) == (
            f"{path}: layer_000: the array does not have the shape that the network needs "
            "(expected (2, 4), found (2, 5))"
        )
        with pytest.raises(dn.FixtureError, match=r"input: .*expected \(2, 12\)"):
            fixture.input((12,))

    @pytest.mark.parametrize(
        "value",
        ['["no object"]', "{broken", "3", "[" * 100_000, '{"a": "\\ud800"}x'],
    )
    def test_provenance_that_is_no_json_object(self, tmp_path: Path, value: str) -> None:
        path = archive(tmp_path / "a.npz", input=npy(X), provenance=npy(np.array(value)))
        self.refused(path, "cannot be read as .npz|the provenance is no")

    def test_provenance_without_end(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "a.npz", input=npy(X), provenance=npy(np.array("x" * 300_000)))
        self.refused(path, "the provenance is not text")

    def test_damage_is_found_at_the_latest_when_the_array_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        large = np.random.default_rng(0).random((2, 9999), np.float32)
        np.savez(path, input=X, layer_000=large)
        data = bytearray(path.read_bytes())
        data[data.rindex(large.tobytes()) + 70_000] ^= 1
        path.write_bytes(data)
        fixture = dn.load_fixture(path)
        np.testing.assert_array_equal(fixture.input((3, 2, 2)), X)
        with pytest.raises(dn.FixtureError, match="layer_000: the array cannot be read: Bad CRC"):
            fixture.layer(0, (9999,))

    @pytest.mark.parametrize("seed", range(4))
    def test_any_damage_gives_an_error_or_the_same_shapes(self, tmp_path: Path, seed: int) -> None:
        rng = random.Random(seed)
        path = tmp_path / "a.npz"
        members = {"input": npy(X), "layer_000": npy(X), "provenance": npy(np.array("{}"))}
        archive(path, **members)
        whole = path.read_bytes()
        broken = 0
        for _ in range(250):
            if rng.random() < 0.5:  # of the archive
                data = bytearray(whole)
                for _ in range(rng.choice((1, 1, 3))):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
            else:  # of the heads of arrays, under a checksum that is right
                changed = {}
                for name, member in members.items():
                    head = bytearray(member)
                    head[rng.randrange(128)] = rng.choice((rng.randrange(256), *b"(,'}9\n\0"))
                    changed[name] = bytes(head)
                archive(path, **changed)
            try:
                fixture = dn.load_fixture(path)
                fixture.input((3, 2, 2))
                for index in fixture.layers:
                    fixture.layer(index, (3, 2, 2))
            except dn.FixtureError:
                broken += 1
        assert broken > 100
