"""``.npy`` and ``.npz``: what numpy writes is read, the limits hold, nothing else is raised."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.errors import DarknetError
from darknet_bn.formats.npz import (
    Archive,
    ArrayHeader,
    open_archive,
    read_head,
    read_npy,
    read_npz,
    read_values,
    text_of,
)

ARRAYS: list[npt.NDArray[np.generic]] = [
    np.array(2.5),
    np.ones((2, 3), np.float32),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.zeros((0, 3), ">f4"),
    np.arange(5) > 2,
    np.arange(3, dtype=">i2"),
    np.array(["a", "bc"]),
    np.array([1 + 2j]),
]
PLAIN = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"


def npy(head: str | bytes, values: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = head if isinstance(head, bytes) else head.encode("latin-1")
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text)) + text + values


def head_of(data: bytes) -> ArrayHeader:
    return read_head(io.BytesIO(data))


def packed(path: Path, how: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


class TestHeads:
    @pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}")
    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    def test_what_numpy_writes(
        self, array: npt.NDArray[np.generic], version: tuple[int, int], tmp_path: Path
    ) -> None:
        path = tmp_path / "a.npy"
        with path.open("wb") as stream:
            np.lib.format.write_array(stream, array, version)
        found = read_npy(path)
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.flags.f_contiguous == array.flags.f_contiguous
        np.testing.assert_array_equal(found, array)

    @pytest.mark.parametrize(
        ("text", "shape", "fortran"),
        [
            (PLAIN % ("'<f4'", "(2, 3)"), (2, 3), False),
            (PLAIN % ("'<f4'", "(2,)") + " " * 50 + "\n", (2,), False),
            (PLAIN % ("'<f4'", "()"), (), False),
            ('{"shape":(3L,2L),"descr":"<f4","fortran_order":True}', (3, 2), True),  # Python 2
            ("{ 'fortran_order' : True , 'shape' : ( 7 ,) ,'descr' : '<f4' }", (7,), True),
        ],
    )
    def test_other_ways_to_write_one(
        self, text: str, shape: tuple[int, ...], fortran: bool
    ) -> None:
        data = npy(text)
        assert head_of(data) == ArrayHeader(shape, np.dtype("<f4"), len(data), fortran)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "{}", "[]", "{[]: 1}", "[" * 9999, "-" * 9999, "{'descr': '<f4'}", "\0\xff"),
            PLAIN % ("[('a', '<f4')]", "(1,)"),
            PLAIN % ("[('a',)]", "(1,)"),
            PLAIN % ("'<f4'", "(2, 3)") + "x",
            PLAIN % ("'<f4'", "2"),
            PLAIN % ("'x4'", "(2,)"),
            PLAIN % ("'a4'", "(2,)"),  # which numpy warns of
            PLAIN % ("'<f4'", "(2 3)"),
            PLAIN % ("'<f4'", "(,)"),
            PLAIN % ("'<f4'", "(" + "9" * 21 + ",)"),
            PLAIN % ("'<f4'", "(1<<40,)"),
            PLAIN % ("'<f4'", "True"),
            PLAIN % ("True", "(2,)"),
            "{'descr': '<f4', 'fortran_order': '<f4', 'shape': (2,), }",
            "{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }",
        ],
    )
    def test_what_is_not_understood(self, text: str) -> None:
        with pytest.raises(ValueError, match="the header of the array is not valid"):
            head_of(npy(text))

    @pytest.mark.parametrize("kind", ["<f3", "c0", "<U999999999", "<U536870912", "m3"])
    def test_types_that_there_are_not(self, kind: str) -> None:
        with pytest.raises(ValueError, match=f"the type {kind} is unknown"):
            head_of(npy(PLAIN % (f"'{kind}'", "(2,)")))

    def test_the_start(self) -> None:
        good = npy(PLAIN % ("'<f4'", "(2,)"))
        for data in (b"", b"\x93NUMPY\1", b"\x93NUMPX" + good[6:]):
            with pytest.raises(ValueError, match="not a NumPy array"):
                head_of(data)
        for version in (b"\0\0", b"\1\1", b"\4\0"):
            with pytest.raises(ValueError, match="unknown version"):
                head_of(good[:6] + version + good[8:])
        for data in (good[:-1], good[:10]):
            with pytest.raises(ValueError, match="ends early"):
                head_of(data)

    def test_the_most_bytes_of_a_head(self) -> None:
        text = PLAIN % ("'<f4'", "(2,)")
        assert head_of(npy(text.ljust(10_000), version=(2, 0))).shape == (2,)
        with pytest.raises(ValueError, match="the header of the array has 10001 bytes"):
            head_of(npy(text.ljust(10_001), version=(2, 0)))
        with pytest.raises(ValueError, match="has 4294967295 bytes"):
            head_of(b"\x93NUMPY\2\0" + b"\xff" * 4)

    def test_the_most_axes(self) -> None:
        assert len(head_of(npy(PLAIN % ("'<f4'", f"({'1, ' * 32})"))).shape) == 32
        with pytest.raises(ValueError, match="no array can have the shape"):
            head_of(npy(PLAIN % ("'<f4'", f"({'1, ' * 33})")))

    def test_the_most_values(self) -> None:
        almost = (1 << 63) - 1
        assert head_of(npy(PLAIN % ("'|b1'", f"({almost}, 0)"))).shape == (almost, 0)
        for shape in (
            f"({1 << 63}, 0)",
            f"({-1 << 63}, 0)",
            f"({1 << 61},)",
            f"({1 << 32}, {1 << 32})",
        ):
            with pytest.raises(ValueError, match="no array can have the shape"):
                head_of(npy(PLAIN % ("'<f4'", shape)))


class TestValues:
    def test_objects_are_none(self) -> None:
        head = head_of(npy(PLAIN % ("'|O'", "(1,)")))
        with pytest.raises(ValueError, match="values of type object are not supported"):
            read_values(io.BytesIO(b"cos\nsystem\n(S'x'\ntR."), head)
        with pytest.raises(ValueError, match="are not supported"):
            read_values(io.BytesIO(), ArrayHeader((1 << 40,), np.dtype("V0"), 0))

    def test_values_that_end_early(self) -> None:
        head = head_of(npy(PLAIN % ("'<f4'", "(5,)")))
        with pytest.raises(ValueError, match="the array ends 13 bytes early"):
            read_values(io.BytesIO(bytes(7)), head)

    def test_a_text_may_have_any_characters_but_no_others(self) -> None:
        for order in "<>":
            stream = io.BytesIO()
            np.save(stream, np.array("é\n😀").astype(f"{order}U4"))
            stream.seek(0)
            assert text_of(stream, read_head(stream)) == "é\n😀"
        stream = io.BytesIO()
        np.save(stream, np.array(""))
        stream.seek(0)
        assert text_of(stream, read_head(stream)) == ""
        with pytest.raises(ValueError, match="codec"):
            text_of(io.BytesIO(b"\xff" * 4), ArrayHeader((), np.dtype("<U1"), 0))
        for head in (ArrayHeader((1,), np.dtype("<U1"), 0), ArrayHeader((), np.dtype("<f4"), 0)):
            with pytest.raises(ValueError, match="is not text"):
                text_of(io.BytesIO(bytes(4)), head)


class TestFilesOfOneArray:
    def test_a_large_one(self, tmp_path: Path) -> None:
        values = np.arange(3_000_000, dtype=np.uint8)  # in several pieces
        np.save(tmp_path / "a.npy", values)
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), values)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"x" * 99,
            npy(PLAIN % ("'<f4'", "(3,)"), bytes(11)),
            npy(PLAIN % ("'<f4'", "(-1,)"), bytes(8)),
            npy(PLAIN % ("'<f4'", f"({1 << 64},)")),
            npy(PLAIN % ("'|O'", "(1,)"), bytes(8)),
        ],
    )
    def test_what_is_refused(self, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(DarknetError, match=r"a\.npy: cannot be read as \.npy: "):
            read_npy(tmp_path / "a.npy")

    def test_a_head_that_promises_too_much_takes_no_memory(self, tmp_path: Path) -> None:
        (tmp_path / "a.npy").write_bytes(npy(PLAIN % ("'<f4'", f"({1 << 30},)"), bytes(99)))
        tracemalloc.start()
        with pytest.raises(DarknetError, match="4294967"):
            read_npy(tmp_path / "a.npy")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


class TestArchives:
    def test_ways_to_pack_a_member(self, tmp_path: Path) -> None:
        data = npy(PLAIN % ("'<f4'", "(500,)"), bytes(2000))
        for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            found = read_npz(packed(tmp_path / "a.npz", how, x=data), lambda name, head: True)
            assert found["x"].shape == (500,)
        for how in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
            packed(tmp_path / "a.npz", how, x=data)
            with pytest.raises(DarknetError, match=r"x\.npy is neither stored nor deflated"):
                read_npz(tmp_path / "a.npz", lambda name, head: True)

    def test_an_encrypted_member(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "a.npz", x=npy(PLAIN % ("'<f4'", "()"), bytes(4)))
        data = bytearray(path.read_bytes())
        for start, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            data[data.index(start) + flags] |= 1
        path.write_bytes(data)
        with pytest.raises(DarknetError, match=r"x\.npy is encrypted"):
            read_npz(path, lambda name, head: True)
        for length, cut in ((56, False), (57, True)):
            packed(path, **{"x" * length: npy(PLAIN % ("'<f4'", "()"), bytes(4))})
            data = bytearray(path.read_bytes())
            for start, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
                data[data.index(start) + flags] |= 1
            path.write_bytes(data)
            with pytest.raises(DarknetError, match="encrypted") as caught:
                read_npz(path, lambda name, head: True)
            assert ("…" in caught.value.problem) == cut

    @pytest.mark.parametrize(("how", "times"), [(0, 1), (8, 1032)])
    def test_a_member_is_no_larger_than_it_can_be(
        self, how: int, times: int, tmp_path: Path
    ) -> None:
        path = packed(tmp_path / "a.npz", how, x=npy(PLAIN % ("'<f4'", "()"), bytes(4)))
        archive = Archive(path)
        entry = archive.entries["x.npy"]
        entry.file_size = times * entry.compress_size
        with archive.open("x.npy"):
            pass
        entry.file_size += 1
        with (
            pytest.raises(ValueError, match=f"cannot have {entry.file_size} bytes"),
            archive.open("x.npy"),
        ):
            pass

    def test_deflate_s_best_is_read(self, tmp_path: Path) -> None:
        """The factor is the real one: zeros come near it."""
        data = npy(PLAIN % ("'|b1'", f"({16 << 20},)"), bytes(16 << 20))
        path = packed(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, x=data)
        assert len(data) / path.stat().st_size > 950
        assert read_npz(path, lambda name, head: True)["x"].size == 16 << 20

    def test_a_list_of_members_that_is_too_long(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(70):
                archive.writestr(f"{number:065000}.npy", b"")
        with pytest.raises(DarknetError, match="its list of members has more than 4 MiB"):
            open_archive(path)
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(60):
                archive.writestr(f"{number:065000}.npy", b"")
        assert len(open_archive(path).entries) == 60

    def test_a_name_that_is_there_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"")
            archive.writestr("x.npy", b"")
            archive.writestr("y.npy", b"")
            archive.writestr("y.npy", b"")
        assert Archive(path).twice == "x.npy"
        assert Archive(packed(tmp_path / "b.npz", x=b"", y=b"")).twice is None

    def test_an_archive_of_nothing(self, tmp_path: Path) -> None:
        assert read_npz(packed(tmp_path / "a.npz"), lambda name, head: True) == {}

    def test_a_text_comes_back(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", note=np.array("é"))
        found = read_npz(tmp_path / "a.npz", lambda name, head: True)["note"]
        assert (str(found), found.shape) == ("é", ())

    def test_a_text_of_what_is_no_character_is_an_error(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "a.npz", note=npy(PLAIN % ("'<U1'", "()"), b"\xff" * 4))
        with pytest.raises(DarknetError, match=r"a\.npz: cannot be read as \.npz: .*codec"):
            read_npz(path, lambda name, head: True)

    def test_objects_and_sizes_that_are_not_there(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "a.npz", x=npy(PLAIN % ("'|O'", "(1,)"), bytes(8)))
        with pytest.raises(DarknetError, match=r"a\.npz: x: the array holds Python objects"):
            read_npz(path, lambda name, head: True)
        for shape in ("(3,)", "(1,)", "(-2,)"):
            packed(path, x=npy(PLAIN % ("'<f4'", shape), bytes(8)))
            with pytest.raises(
                DarknetError, match="the size of the array does not match its shape"
            ):
                read_npz(path, lambda name, head: True)

    def test_what_is_not_wanted_is_not_read(self, tmp_path: Path) -> None:
        member = npy(PLAIN % ("'<f4'", "(9999,)"), bytes(4 * 9998) + b"last")
        path = packed(tmp_path / "a.npz", x=member, y=npy(PLAIN % ("'<f4'", "()"), bytes(4)))
        path.write_bytes(path.read_bytes().replace(b"last", b"lost", 1))
        assert list(read_npz(path, lambda name, head: name == "y")) == ["y"]

    def test_arrays_of_no_values(self, tmp_path: Path) -> None:
        for shape in ("(0, 3)", "(3, 0)"):
            path = packed(tmp_path / "a.npz", x=npy(PLAIN % ("'<f4'", shape)))
            assert read_npz(path, lambda name, head: True)["x"].size == 0

    def test_a_long_name_is_cut(self, tmp_path: Path) -> None:
        for length, cut in ((56, False), (57, True)):
            name = "x" * length
            path = packed(tmp_path / "a.npz", zipfile.ZIP_BZIP2, **{name: b"x" * 999})
            with pytest.raises(DarknetError) as caught:
                read_npz(path, lambda name, head: True)
            assert ("…" in caught.value.problem) == cut

    def test_damage_is_found(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "a.npz", x=npy(PLAIN % ("'<f4'", "(9,)"), b"abcd" * 9))
        path.write_bytes(path.read_bytes().replace(b"abcdabcd", b"abcdabce", 1))
        with pytest.raises(DarknetError, match="Bad CRC"):
            read_npz(path, lambda name, head: True)
