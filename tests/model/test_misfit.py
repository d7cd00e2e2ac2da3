"""What an error says may have happened, for files that do not fit."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.weights import Header
from darknet_bn.work import measured
from tests.support.builders import cfg_text, network_of, weights_bytes
from tests.support.paths import FIXTURES

ANCHORS = "anchors=1,2,3,4,5,6,7,8,9,10,11,12"
HEADS = (
    "[convolutional] filters=8 size=3 pad=1 batch_normalize=1",
    "[convolutional] filters={filters} size=1 activation=linear",
    f"[yolo] classes={{classes}} num=6 mask=3,4,5 {ANCHORS}",
    "[route] layers=0",
    "[convolutional] filters=4 size=1 batch_normalize=1",
    "[convolutional] filters={filters} size=1 activation=linear",
    f"[yolo] classes={{classes}} num=6 mask=0,1,2 {ANCHORS}",
)


def detector(classes: int) -> bytes:
    filters = 3 * (5 + classes)
    return cfg_text(*(each.format(filters=filters, classes=classes) for each in HEADS))


def hint_of(cfg: bytes, weights: bytes | Path, **options: object) -> str | None:
    with pytest.raises(dn.WeightsError) as caught:
        dn.load(cfg, weights, **options)
    return caught.value.hint


def data_of(floats: int) -> bytes:
    return Header(revision=5).to_bytes() + np.full(floats, 0.5, "<f4").tobytes()


class TestWhatWouldFit:
    @pytest.mark.parametrize(("trained", "given"), [(80, 1), (1, 80), (20, 21), (3, 2)])
    def test_another_number_of_classes(self, trained: int, given: int) -> None:
        hint = hint_of(detector(given), weights_bytes(detector(trained)))
        filters = 3 * (5 + trained)
        assert hint == f"it would match classes={trained} (filters={filters} before the heads)"

    def test_another_number_of_classes_of_one_region(self) -> None:
        cfgs = [
            cfg_text(
                "[convolutional] filters=8 size=1 batch_normalize=1",
                f"[convolutional] filters={5 * (5 + classes)} size=1",
                f"[region] classes={classes} num=5",
            )
            for classes in (20, 80)
        ]
        hint = hint_of(cfgs[1], weights_bytes(cfgs[0]))
        assert hint == "it would match classes=20 (filters=125 before the heads)"

    def test_a_number_of_classes_that_fits_no_integer_is_not_named(self) -> None:
        cfg = detector(2)
        for more in (1, -1):
            hint = hint_of(cfg, data_of(network_of(cfg).stored_floats + more))
            assert hint == "is this the cfg that the weights were trained with?"

    def test_a_published_cfg(self, tmp_path: Path) -> None:
        path = tmp_path / "a.weights"
        path.write_bytes(Header(revision=5).to_bytes())
        with path.open("r+b") as file:
            file.truncate(20 + 4 * 6062814)
        hint = hint_of(detector(2), path)
        assert hint == ("the file has the size of yolov4-tiny-custom (or 1 other) with 80 classes")

    def test_batch_norm_folded_already(self) -> None:
        cfg = detector(2)
        folded = dn.fold_batchnorm(dn.load(cfg, weights_bytes(cfg)))
        weights = data_of(folded.network.stored_floats)
        hint = hint_of(cfg, weights)
        assert (
            hint
            == "it would match batch_normalize=0: its batch norm is folded into the weights already"
        )

    def test_batch_norm_not_folded_yet(self) -> None:
        cfg = detector(2)
        folded = dn.fold_batchnorm(dn.load(cfg, weights_bytes(cfg)))
        hint = hint_of(folded.cfg.to_bytes(), weights_bytes(cfg))
        assert hint == "it would match batch_normalize=1: its batch norm is not folded yet"

    def test_a_backbone(self) -> None:
        cfg = detector(2)
        backbone = weights_bytes(cfg)[: 20 + 4 * (4 * 8 + 8 * 27)]
        hint = hint_of(cfg, backbone)
        assert hint is not None
        assert "holds the layers 0 to 0 exactly" in hint
        assert "'partial'" in hint
        assert dn.load(cfg, backbone, partial=True).loaded == 1

    def test_a_backbone_that_shares_weights(self) -> None:
        same = "[convolutional] filters=3 size=1"
        others = ("[convolutional] filters=4 size=1", "[convolutional] filters=5 size=1")
        cfg = cfg_text(same, f"{same} share_index=0", *others)
        backbone = weights_bytes(cfg)[: 20 + 4 * (3 + 9 + 4 + 12)]  # layer 1 has none of its own
        hint = hint_of(cfg, backbone)
        assert hint is not None
        assert "holds the layers 0 to 2 exactly" in hint
        assert dn.load(cfg, backbone, partial=True).loaded == 3

    def test_the_backbone_of_a_published_cfg(self, shared: Path, tmp_path: Path) -> None:
        # darknet53.conv.74: 162482580 bytes, of which none is read here.
        path = tmp_path / "darknet53.conv.74"
        with path.open("wb") as stream:
            stream.write(Header().to_bytes())
            stream.truncate(162482580)
        for name in ("pjreddie/darknet53.cfg", "alexeyab/yolov3.cfg"):
            cfg = (shared / "cfg" / name).read_bytes()
            hint = hint_of(cfg, path)
            assert hint is not None
            assert "the layers 0 to 73 exactly: a backbone file such as .conv.74" in hint

    @pytest.mark.parametrize(("of", "given"), [("alexeyab", "pjreddie"), ("pjreddie", "alexeyab")])
    def test_another_dialect(self, of: str, given: str) -> None:
        cfg = cfg_text("[convolutional] filters=4 size=1", "[batchnorm]", "[convolutional]")
        hint = hint_of(cfg, weights_bytes(cfg, of), dialect=given)
        assert hint == f"it would match the dialect {of}"

    @pytest.mark.parametrize("size", [21, 22, 23])
    def test_a_size_that_is_no_number_of_floats(self, size: int) -> None:
        hint = hint_of(detector(2), weights_bytes(detector(2))[:-size])
        assert (
            hint == "the size is not a multiple of 4: the file was truncated or changed in transfer"
        )

    def test_nothing_that_fits(self) -> None:
        hint = hint_of(detector(2), data_of(12345))
        assert hint == "is this the cfg that the weights were trained with?"

    def test_a_net_whose_cfg_cannot_be_edited_sensibly_still_gets_an_error(self) -> None:
        # The layer before the head has no filters to change.
        cfg = cfg_text(
            "[convolutional] filters=12 size=1",
            "[maxpool] size=2 stride=2",
            "[yolo] classes=7 num=1",
        )
        hint = hint_of(cfg, data_of(999))
        assert hint == "is this the cfg that the weights were trained with?"


class TestOtherFormats:
    CFG = cfg_text("[convolutional] filters=2 size=1")

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "the file is empty"),
            (b"<!DOCTYPE html><html><body>Not found", "this is an HTML page"),
            (b"\r\n\n  <HTML><head>" + b"x" * 60, "this is an HTML page"),
            (b"<?xml version='1.0'?><Error/>" + b"x" * 60, "this is an HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git-LFS pointer"),
            (b"PK\x03\x04" + bytes(100), "this is a packed archive"),
            (b"\x1f\x8b\x08" + bytes(100), "this is a packed archive"),
            (b"7z\xbc\xaf\x27\x1c" + bytes(100), "this is a packed archive"),
            (b"[net]\nwidth=416\n", "this is text such as a cfg, not weights; the cfg comes first"),
            (b"# a comment\n[net]\nwidth=416\n" * 3, "this is text such as a cfg"),
        ],
    )
    def test_are_named(self, data: bytes, problem: str) -> None:
        with pytest.raises(dn.WeightsError, match=problem):
            dn.load(self.CFG, data)

    def test_a_learning_rate_that_looks_like_a_comment_is_none(self) -> None:
        # The first word of an old file is a float, which may have the bytes of "\n#" in it.
        header = Header(int.from_bytes(b"\n#\xd7<", "little"), 0x3F666666, seen=1, seen_bytes=4)
        model = dn.load(self.CFG, weights_bytes(self.CFG, header=header))
        assert model.header == header

    def test_the_two_files_exchanged(self, tmp_path: Path) -> None:
        cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
        cfg.write_bytes(self.CFG)
        weights.write_bytes(weights_bytes(self.CFG))
        with pytest.raises(dn.CfgError, match=r"net\.weights: .*contains zero bytes.*given first"):
            dn.load(weights, cfg)
        with pytest.raises(dn.WeightsError, match=r"net\.cfg: this is text such as a cfg"):
            dn.load(cfg, cfg)

    @pytest.mark.parametrize("name", ["absent.weights", ".", "absent/x.weights", "nul\0byte"])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(dn.WeightsError, match="cannot be read"):
            dn.load(self.CFG, tmp_path / name)


FLOATS = cfg_text(
    "[convolutional] filters=40 size=3 batch_normalize=1", "[convolutional] filters=9"
)
WHOLE = weights_bytes(FLOATS)


def refusal(weights: bytes | Path, cfg: bytes = FLOATS) -> dn.WeightsError:
    with pytest.raises(dn.WeightsError) as caught:
        dn.load(cfg, weights)
    return caught.value


class TestDamages:
    def test_the_report_without_header(self) -> None:
        folder = FIXTURES / "reports/no-header"
        error = refusal(folder / "net.weights", (folder / "net.cfg").read_bytes())
        assert error.found == "1248 bytes, 16 too few"
        assert error.hint == (
            "these are exactly the parameters of this cfg, but the header (20 bytes) is missing; "
            "darknet_bn.Header().to_bytes() makes one; "
            "1067236890.-1077655957.1048604834 is not a version of Darknet's"
        )

    def test_the_hint_mends_it(self) -> None:
        model = dn.load(FLOATS, dn.Header().to_bytes() + WHOLE[20:], dialect="alexeyab")
        np.testing.assert_array_equal(
            model.params[0]["weights"], dn.load(FLOATS, WHOLE).params[0]["weights"]
        )

    def test_without_the_counter(self) -> None:
        assert "the header has 12 bytes" in str(refusal(WHOLE[:12] + WHOLE[20:]))

    def test_a_header_that_stands_twice(self) -> None:
        hint = refusal(WHOLE[:20] + WHOLE).hint
        assert hint == "the header is there twice; without the first 20 bytes the file fits"
        other = Header(revision=5, seen=7).to_bytes()
        assert "the header is there twice" in str(refusal(other + WHOLE))

    @pytest.mark.parametrize("start", [20, 16, 0])
    @pytest.mark.parametrize(("kind", "code"), [("float16", "<f2"), ("float64", "<f8")])
    def test_numbers_of_another_width(self, kind: str, code: str, start: int) -> None:
        numbers = np.frombuffer(WHOLE, "<f4", offset=20).astype(code)
        header = Header(minor=1, seen_bytes=4).to_bytes() if start == 16 else WHOLE[:start]
        data = header + numbers.tobytes()
        hint = refusal(data).hint or ""
        where = f"after a header of {start} bytes" if start else "without a header"
        assert hint.startswith(f"these are {numbers.size} {kind} numbers {where}; ")
        converted = np.frombuffer(data, code, offset=start).astype("<f4")
        assert f"numpy.frombuffer(data, '{code}', offset={start}).astype('<f4')" in hint
        dn.load(FLOATS, WHOLE[:20] + converted.tobytes())

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
    def test_a_line_end_after_the_last_number(self, end: bytes) -> None:
        size = len(WHOLE)
        hint = f"there is a line end after the last number; truncate -s {size} FILE removes it"
        assert refusal(WHOLE + end).hint == hint

    def test_a_transfer_as_text(self) -> None:
        data = WHOLE.replace(b"\r\n", b"\r0")  # of which none may be there before
        assert b"\n" in data
        hint = "every LF byte has become CR LF: the file was transferred as text; download it again"
        assert (refusal(data.replace(b"\n", b"\r\n")).hint or "").startswith(hint)

    def test_the_way_back_of_that(self) -> None:
        cfg = cfg_text("[connected] output=2000", width=16, height=16)
        data = weights_bytes(cfg)
        assert len(data) > 6e6
        hint = refusal(data.replace(b"\r\n", b"\n"), cfg).hint or ""
        assert hint.startswith("the file contains no CR LF: it was probably transferred as text")
        assert (
            refusal(data[:-40], cfg).hint == "is this the cfg that the weights were trained with?"
        )

    def test_text_in_utf_8(self) -> None:
        lost = WHOLE.decode("utf-8", "replace").encode()
        assert "which lost data" in str(refusal(lost))
        turned = WHOLE.decode("latin-1").encode("utf-8")
        assert "the file was encoded as UTF-8 text; download it again" in str(refusal(turned))

    def test_parts_of_a_large_file_are_not_counted_twice(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = WHOLE.replace(b"\r\n", b"\r0").replace(b"\n", b"\r\n")
        for size in (7, 64, 1000):
            monkeypatch.setattr(measured, "FILE_PART", size)
            assert "every LF byte has become CR LF" in str(refusal(data))


class TestOrderOfBytes:
    def test_a_header_in_the_other_order_is_refused(self) -> None:
        for revision in (0, 5):
            header = Header(revision=revision, seen=32000)
            data = weights_bytes(FLOATS, header=header)
            swapped = np.frombuffer(data, "<u4").byteswap().tobytes()
            error = refusal(swapped)
            assert error.problem == "the bytes of every number are in reverse order (big-endian)"
            assert error.expected == f"version 0.2.{revision} in little-endian order"
            again = np.frombuffer(swapped, ">u4").astype("<u4").tobytes()
            assert error.hint is not None
            assert again == data

    def test_floats_in_the_other_order_are_refused(self) -> None:
        words = np.frombuffer(WHOLE, "<u4").copy()
        words[5:].byteswap(True)
        assert refusal(words.tobytes()).problem == (
            "the bytes of the floats after the header are in reverse order (big-endian)"
        )

    @pytest.mark.parametrize(
        "value", [0.0, np.nan, np.inf, 1e-42, 1e30, 3e-39, 0.5, -1e38, 2.3e-41]
    )
    def test_odd_values_are_not(self, value: float) -> None:
        floats = np.frombuffer(WHOLE, "<f4", offset=20).copy()
        floats[:] = value
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            dn.load(FLOATS, WHOLE[:20] + floats.tobytes())

    def test_random_bits_are_not(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            dn.load(FLOATS, WHOLE[:20] + rng.bytes(len(WHOLE) - 20))

    def test_published_weights_are_not(self, shared: Path) -> None:
        for path in sorted((shared / "models").glob("*/*.weights")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dn.DarknetWarning)
                dn.load(path.with_suffix(".cfg"), path)


class TestVersions:
    def test_one_that_no_darknet_writes_is_told(self) -> None:
        header = Header(7, -3, 12)
        with pytest.warns(dn.DarknetWarning, match="no Darknet writes version 7.-3.12"):
            dn.load(FLOATS, weights_bytes(FLOATS, header=header))
        assert not header.plausible

    @pytest.mark.parametrize("rates", [(0.001, 0.9, 0.0005), (1e-5, 0.949, 0)])
    def test_old_files_begin_with_rates(self, rates: tuple[float, ...]) -> None:
        words = (int(word) for word in np.float32(rates).view(np.int32))
        header = Header(*words, seen_bytes=4)
        assert header.plausible
        dn.load(FLOATS, weights_bytes(FLOATS, header=header))
