"""The ``.weights`` file: header, arrays, and what is refused to the byte."""

from __future__ import annotations

import dataclasses
import itertools
import re
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.weights import Header, parse_header, release
from tests.support.builders import cfg_text, random_input, random_model, weights_bytes
from tests.support.numbered import load, numbered, saved
from tests.support.paths import FIXTURES

LEARNING_RATE, MOMENTUM, DECAY = (
    int.from_bytes(struct.pack("<f", value), "little") for value in (0.001, 0.9, 0.0005)
)
LEGACY = Header(LEARNING_RATE, MOMENTUM, DECAY, seen=64, seen_bytes=4)

# A net of every way to have parameters, with its arrays written down by hand from the format.
CFG = cfg_text(
    "[convolutional] filters=2 size=1 batch_normalize=1",
    "[maxpool] size=2 stride=2",
    "[convolutional] filters=2 size=3 pad=1 groups=2",
    "[connected] output=2 batch_normalize=1",
    "[batchnorm]",
    "[connected] output=1",
    width=2,
    height=2,
    channels=2,
)
LAYOUT = [
    (0, "convolutional", "biases", (2,)),
    (0, "convolutional", "scales", (2,)),
    (0, "convolutional", "rolling_mean", (2,)),
    (0, "convolutional", "rolling_variance", (2,)),
    (0, "convolutional", "weights", (2, 2, 1, 1)),
    (2, "convolutional", "biases", (2,)),
    (2, "convolutional", "weights", (2, 1, 3, 3)),
    (3, "connected", "biases", (2,)),
    (3, "connected", "weights", (2, 2)),
    (3, "connected", "scales", (2,)),
    (3, "connected", "rolling_mean", (2,)),
    (3, "connected", "rolling_variance", (2,)),
    (4, "batchnorm", "biases", (2,)),
    (4, "batchnorm", "scales", (2,)),
    (4, "batchnorm", "rolling_mean", (2,)),
    (4, "batchnorm", "rolling_variance", (2,)),
    (5, "connected", "biases", (1,)),
    (5, "connected", "weights", (1, 2)),
]
FLOATS = sum(int(np.prod(shape)) for *_, shape in LAYOUT)


class TestHeader:
    @pytest.mark.parametrize(
        ("data", "header", "version"),
        [
            ("<iiiQ", (0, 2, 0, 32013312), "0.2.0"),
            ("<iiiQ", (0, 2, 5, 2**64 - 1), "0.2.5"),
            ("<iiiQ", (0, 3, 1, 2**40), "0.3.1"),
            ("<iiiQ", (1, 0, 0, 7), "1.0.0"),
            ("<iiiQ", (999, 999, 0, 7), "999.999.0"),
            ("<iiiQ", (-1, 12, 0, 7), "-1.12.0"),  # 10 major + minor, as C computes it
            ("<iiiI", (-1, 11, 0, 7), "-1.11.0"),
            ("<iiiI", (0, 1, 0, 2**32 - 1), "0.1.0"),
            ("<iiiI", (0, 0, 0, 0), "0.0.0"),
            ("<iiiI", (0, 1000, 0, 1), "0.1000.0"),
            ("<iiiI", (1000, 0, 0, 1), "1000.0.0"),
            ("<iiiI", (0, 1001, 0, 1), "legacy"),
            ("<iiiI", (1001, 0, 0, 1), "legacy"),
            ("<iiiI", (LEARNING_RATE, MOMENTUM, DECAY, 64), "legacy"),
        ],
    )
    def test_the_version_tells_the_width_of_the_counter(
        self, data: str, header: tuple[int, int, int, int], version: str
    ) -> None:
        raw = struct.pack(data, *header)
        found = parse_header(raw + bytes(20))
        assert (found.major, found.minor, found.revision, found.seen) == header
        assert found.seen_bytes == (8 if data.endswith("Q") else 4)
        assert found.size == len(raw)
        assert found.version == version
        assert found.to_bytes() == raw

    @pytest.mark.parametrize("size", range(20))
    def test_a_file_that_ends_inside_is_refused(self, size: int) -> None:
        raw = Header(seen=1).to_bytes()
        with pytest.raises(dn.WeightsError, match=f"inside the header.*found {size} bytes"):
            parse_header(raw[:size])
        if size < 16:
            with pytest.raises(dn.WeightsError, match=f"inside the header.*found {size} bytes"):
                parse_header(Header(minor=1, seen_bytes=4).to_bytes()[:size])

    def test_folding_writes_it_as_programs_of_today_do(self) -> None:
        assert LEGACY.modern() == Header(0, 2, 0, seen=64, seen_bytes=8)
        assert Header(minor=1, seen=3, seen_bytes=4).modern() == Header(0, 2, 0, seen=3)
        assert Header(revision=5, seen=3, seen_bytes=4).modern() == Header(revision=5, seen=3)
        assert Header(1, 0, 5, seen=3).modern() == Header(1, 0, 5, seen=3)


HEADERS = {
    "0.1.0": Header(minor=1, seen=5, seen_bytes=4),
    "0.2.0": Header(seen=2**63),
    "0.2.5": Header(revision=5, seen=2**64 - 1),
    "1.0.0": Header(1, 0, 0, seen=6),
    "legacy": LEGACY,
    "0.2.0 of a 32-bit build": Header(seen=2**32 - 1, seen_bytes=4),
    "legacy with 64 bits": Header(0, 1001, 0, seen=2**33, seen_bytes=8),
    "0.1.0 with 64 bits": Header(0, 1, 0, seen=9, seen_bytes=8),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
class TestEveryHeader:
    def test_arrays_lie_where_the_format_says(self, header: Header) -> None:
        model = load(CFG, numbered(CFG, header))
        assert model.header == header
        at = 1
        for layer, section, name, shape in LAYOUT:
            size = int(np.prod(shape))
            values = np.arange(at, at + size, dtype=np.float32)
            if header.legacy and (section, name) == ("connected", "weights"):
                expected = values.reshape(shape[::-1]).T
            else:
                expected = values.reshape(shape)
            np.testing.assert_array_equal(model.params[layer][name], expected)
            at += size
        assert [len(each) for each in model.params] == [5, 0, 2, 5, 4, 2]

    def test_it_comes_back_byte_for_byte(self, header: Header, tmp_path: Path) -> None:
        data = header.to_bytes() + np.random.default_rng(3).bytes(4 * FLOATS)
        assert saved(load(CFG, data), tmp_path) == (CFG, data)


def test_a_counter_of_the_other_width_is_told_by_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "narrow.weights"
    path.write_bytes(numbered(CFG, Header(seen=9, seen_bytes=4)))
    with pytest.warns(
        dn.DarknetWarning,
        match=r"narrow\.weights: version 0\.2\.0 .*64-bit counter, .* matches a 32-bit one",
    ):
        model = dn.load(CFG, path, dialect="alexeyab")
    assert model.header.seen == 9


def test_a_new_header_has_seen_nothing() -> None:
    assert Header().to_bytes() == bytes(4) + b"\2" + bytes(15)


def test_the_first_filters_of_a_layer_are_read_and_the_others_initial() -> None:
    cfg = cfg_text("[convolutional] filters=4 size=3 numload=2")
    data = Header().to_bytes() + np.arange(2 + 2 * 27, dtype="<f4").tobytes()
    first = dn.load(cfg, None, dialect="pjreddie").params[0]["weights"]
    weights = dn.load(cfg, data, dialect="pjreddie").params[0]["weights"]
    np.testing.assert_array_equal(weights[:2].ravel(), np.arange(2, 2 + 2 * 27))
    np.testing.assert_array_equal(weights[2:], first[2:])


@pytest.mark.parametrize(
    ("word", "is_float"), [(0x007FFFFF, False), (0x00800000, True), (0, False), (0xFF800000, True)]
)
def test_the_smallest_word_that_is_a_float_and_no_counter(word: int, is_float: bool) -> None:
    """A file can fit a counter of 32 bits and one more float, or a truncated one of 64 bits."""
    narrow = Header(seen=9, seen_bytes=4)
    data = narrow.to_bytes() + word.to_bytes(4, "little") + numbered(CFG, narrow)[20:]
    if is_float:
        with pytest.warns(dn.DarknetWarning, match="64-bit"):
            assert dn.load(CFG, data, dialect="alexeyab").header.seen == 9
    else:
        with pytest.raises(dn.WeightsError, match="4 too few"):
            load(CFG, data)


def test_what_is_written_today_of_any_version() -> None:
    for major, minor, kept in (
        (0, 1, False),
        (0, 2, True),
        (1, 0, True),
        (-1, 11, False),
        (-1, 12, True),
    ):
        header = Header(major, minor, 5, seen=7, seen_bytes=4)
        expected = Header(major, minor, 5, seen=7) if kept else Header(seen=7)
        assert header.modern() == expected
    assert LEGACY.modern() == Header(seen=LEGACY.seen)


def test_a_file_four_bytes_short_or_long_is_not_taken_for_one_of_the_other_width() -> None:
    for header, change in ((Header(seen=9), -4), (Header(minor=1, seen=9, seen_bytes=4), 4)):
        data = (numbered(CFG, header) + bytes(4))[: 12 + header.seen_bytes + 4 * FLOATS + change]
        with pytest.raises(dn.WeightsError, match=f"{abs(change)} too (few|many)"):
            load(CFG, data)


class TestRoundTrips:
    def test_fixtures_come_back_byte_for_byte(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked = 0
        for folder in sorted(FIXTURES.glob("layers/*")):
            monkeypatch.chdir(folder)  # a cfg may name a file in it
            for dialect in ("pjreddie", "alexeyab"):
                if not (folder / f"{dialect}.npz").exists():
                    continue
                cfg = (folder / "model.cfg").read_bytes()
                weights = (folder / "model.weights").read_bytes()
                assert saved(load(cfg, weights, dialect=dialect), tmp_path) == (cfg, weights)
                checked += 1
        assert checked >= 75

    def test_every_bit_pattern_is_kept(self, tmp_path: Path) -> None:
        # Quiet and signalling NaN with payloads, infinities, subnormals, both zeros.
        patterns = [0x7FC00001, 0xFFC12345, 0x7F800001, 0xFFBFFFFF, 0x7F800000, 0xFF800000]
        patterns += [0x00000001, 0x807FFFFF, 0x80000000, 0x00000000, 0x3F800000]
        floats = np.resize(np.array(patterns, "<u4"), FLOATS)
        for header in (Header(seen=12345), LEGACY):
            data = header.to_bytes() + floats.tobytes()
            assert saved(load(CFG, data), tmp_path)[1] == data

    def test_real_models_come_back_byte_for_byte(self, shared: Path, tmp_path: Path) -> None:
        paths = sorted(shared.glob("models/*/*.weights"))
        assert len(paths) >= 5
        for path in paths:
            cfg, weights = path.with_suffix(".cfg").read_bytes(), path.read_bytes()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dn.DarknetWarning)
                model = dn.load(path.with_suffix(".cfg"), path)
            assert saved(model, tmp_path) == (cfg, weights), path.name

    def test_running_and_folding_leave_the_arrays_alone(self, tmp_path: Path) -> None:
        data = weights_bytes(CFG)
        model = load(CFG, data)
        dn.forward(model, random_input(model), "all")
        dn.forward(model, random_input(model), "all", exact=True)
        dn.fold_batchnorm(model)
        assert saved(model, tmp_path) == (CFG, data)


class TestEveryTruncation:
    def where_it_ends(self, size: int, header: Header) -> tuple[int, str, str, int]:
        """Layer, section, array and its first byte, by the table above."""
        at = header.size
        for layer, section, name, shape in LAYOUT:
            end = at + 4 * int(np.prod(shape))
            if size < end:
                return layer, section, name, at
            at = end
        raise AssertionError("not truncated")

    @pytest.mark.parametrize("header", [Header(), Header(minor=1, seen_bytes=4), LEGACY])
    def test_is_refused_with_layer_and_array(self, header: Header) -> None:
        data = numbered(CFG, header)
        for size in range(header.size, len(data)):
            with pytest.raises(dn.WeightsError) as caught:
                load(CFG, data[:size])
            layer, section, name, start = self.where_it_ends(size, header)
            error = caught.value
            assert (error.where.layer, error.where.section) == (layer, section), size
            inside = "inside" if size > start else "before"
            assert error.problem == f"the file ends {inside} the {name}", size
            assert error.expected is not None
            assert error.expected.startswith(f"{len(data)} bytes, with the {name} "), size
            assert error.expected.endswith(f"from byte {start} on"), size
            assert error.found == f"{size} bytes, {len(data) - size} too few", size

    def test_inside_the_header_too(self) -> None:
        data = numbered(CFG)
        for size in range(20):
            with pytest.raises(dn.WeightsError, match=r"empty|inside the header"):
                load(CFG, data[:size])

    @pytest.mark.parametrize("more", [1, 2, 3, 5, 8, 4000])
    def test_bytes_too_many_are_refused(self, more: int) -> None:
        data = numbered(CFG, Header(revision=5)) + bytes(more)
        for partial in (False, True):
            with pytest.raises(dn.WeightsError) as caught:
                load(CFG, data, partial=partial)
            error = caught.value
            assert error.problem == "the file continues after the last layer"
            assert (error.where.layer, error.where.section) == (5, "connected")
            assert error.found == f"{len(data)} bytes, {more} too many"

    def test_the_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.weights"
        path.write_bytes(numbered(CFG)[:100])
        with pytest.raises(
            dn.WeightsError, match=rf"^{re.escape(str(path))}: \[convolutional\] layer 2: the file"
        ):
            dn.load(CFG, path)


class TestPartial:
    def test_ends_behind_every_layer_and_nowhere_else(self) -> None:
        data = numbered(CFG)
        whole = load(CFG, data)
        ends = {20 + 4 * FLOATS: 6}
        at = 20
        for (layer, _, _, shape), (following, *_) in itertools.pairwise(LAYOUT):
            at += 4 * int(np.prod(shape))
            if following != layer:
                ends[at] = layer + 1
        assert sorted(ends.values()) == [1, 3, 4, 5, 6]
        for size in range(20, len(data) + 1):
            if size not in ends:
                with pytest.raises(dn.WeightsError):
                    load(CFG, data[:size], partial=True)
                continue
            model = load(CFG, data[:size], partial=True)
            assert model.loaded == ends[size]
            for index, params in enumerate(model.params):
                for name, array in params.items():
                    if index < model.loaded:
                        np.testing.assert_array_equal(array, whole.params[index][name])
                    else:
                        assert array.shape == whole.params[index][name].shape

    def test_a_header_alone_is_no_part_of_a_model(self) -> None:
        behind = cfg_text("[maxpool] size=2", "[convolutional] filters=1")
        for cfg in (CFG, behind):
            with pytest.raises(dn.WeightsError, match="before the biases"):
                load(cfg, Header().to_bytes(), partial=True)

    def test_the_other_layers_have_darknet_s_first_values(self) -> None:
        size = 20 + 4 * (8 + 4)
        model = load(CFG, numbered(CFG)[:size], partial=True)
        fresh = dn.load(CFG, None, dialect="alexeyab")
        assert model.loaded == 1
        assert fresh.loaded == 0
        for index in range(1, 6):
            for name, array in model.params[index].items():
                np.testing.assert_array_equal(array, fresh.params[index][name])
        np.testing.assert_array_equal(model.params[3]["scales"], [1, 1])
        np.testing.assert_array_equal(model.params[3]["rolling_variance"], [0, 0])

    def test_a_net_without_parameters_has_a_file_of_a_header(self, tmp_path: Path) -> None:
        cfg = cfg_text("[maxpool] size=2 stride=2")
        data = Header(seen=4).to_bytes()
        model = load(cfg, data)
        assert model.loaded == 1
        assert saved(model, tmp_path) == (cfg, data)


class TestViews:
    def test_arrays_are_read_only(self, tmp_path: Path) -> None:
        path = tmp_path / "model.weights"
        for header in (Header(), LEGACY):
            path.write_bytes(numbered(CFG, header))
            for model in (load(CFG, path), load(CFG, path.read_bytes())):
                for layer, _, name, _ in LAYOUT:
                    array = model.params[layer][name]
                    assert not array.flags.writeable
                    with pytest.raises(ValueError, match="read-only"):
                        array[...] = 0

    def test_an_array_is_read_once(self, tmp_path: Path) -> None:
        path = tmp_path / "model.weights"
        path.write_bytes(numbered(CFG))
        params = load(CFG, path).params[2]
        assert params["weights"] is params["weights"]
        assert list(params) == [name for layer, _, name, _ in LAYOUT if layer == 2]
        assert len(params) == len(list(params))

    def test_initial_values_are_read_only_too(self) -> None:
        for params in dn.load(CFG, None).params:
            assert not any(array.flags.writeable for array in params.values())

    def test_opening_reads_nothing(self, tmp_path: Path) -> None:
        cfg = b"[net]\ninputs=16384\n[connected]\noutput=32767\n"
        path = tmp_path / "two-gigabytes.weights"
        with path.open("wb") as stream:
            stream.write(Header().to_bytes())
            stream.truncate(20 + 4 * 32767 * 16385)
        tracemalloc.start()
        try:
            model = dn.load(cfg, path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        shapes = {param.name: param.stored_shape for _, param in model.network.stored()}
        assert shapes["weights"] == (32767, 16384)
        assert peak < 1 << 20

    def test_memory_given_back_comes_again_from_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.weights"
        path.write_bytes(numbered(CFG))
        model = load(CFG, path)
        before = model.params[2]["weights"].copy()
        release(model.params)
        np.testing.assert_array_equal(model.params[2]["weights"], before)

    def test_an_array_may_be_put_in_the_place_of_another(self) -> None:
        params = load(CFG, numbered(CFG)).params[0]
        new = np.array([7, 8], np.float32)
        params["biases"] = new
        params.release()
        assert params["biases"] is new
        del params["scales"]
        assert list(params) == ["biases", "rolling_mean", "rolling_variance", "weights"]


class TestSizesThatNoMachineHas:
    CFGS = (
        cfg_text("[convolutional] filters=2000000000 size=1"),
        cfg_text("[convolutional] filters=30000 size=30000 pad=1"),
        cfg_text("[connected] output=2147483647"),
        b"[net]\ninputs=2147483647\n[connected]\noutput=2147483647\n",
        b"[net]\nwidth=2000000000\nheight=2000000000\nchannels=2000000000\n[connected]\noutput=9\n",
        b"[net]\nwidth=2\nheight=2\nchannels=1\n" + b"[connected]\noutput=1000000\n" * 40,
    )

    @pytest.mark.parametrize("cfg", CFGS)
    def test_are_refused_before_any_memory_is_taken(self, cfg: bytes) -> None:
        tracemalloc.start()
        try:
            for weights in (None, Header().to_bytes() + bytes(4000)):
                for partial in (False, True):
                    with pytest.raises((dn.ShapeError, dn.WeightsError)):
                        dn.load(cfg, weights, partial=partial)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20

    def test_a_backbone_in_front_of_them_does_not_help(self) -> None:
        cfg = cfg_text("[convolutional] filters=2 size=1", "[connected] output=2000000000")
        data = Header().to_bytes() + bytes(4 * 8)
        with pytest.raises(dn.ShapeError, match=r"\[connected\] layer 1: there is not enough mem"):
            dn.load(cfg, data, partial=True)


class TestWriting:
    def test_arrays_of_other_shapes_or_types_are_refused(self, tmp_path: Path) -> None:
        model = random_model(cfg_text("[convolutional] filters=2 size=1"))
        for biases, found in (
            (np.zeros(3, np.float32), r"float32 \(3,\)"),
            (np.zeros(2, np.float64), r"float64 \(2,\)"),
        ):
            wrong = ({**model.params[0], "biases": biases},)
            changed = dataclasses.replace(model, params=wrong)
            with pytest.raises(dn.ShapeError, match=rf"biases.*float32 \(2,\), found {found}"):
                saved(changed, tmp_path)
            assert not list(tmp_path.iterdir())
