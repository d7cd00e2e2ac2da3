"""What an error says may have happened, for files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import cfg_text, network_of, weights_bytes

import darknet_bn as dn
from darknet_bn.weights import Header

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
        assert hint == f"it would fit classes={trained} (filters={filters} in front of the heads)"

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
        assert hint == "it would fit classes=20 (filters=125 in front of the heads)"

    def test_a_number_of_classes_that_fits_no_integer_is_not_named(self) -> None:
        cfg = detector(2)
        for more in (1, -1):
            hint = hint_of(cfg, data_of(network_of(cfg).stored_floats + more))
            assert hint == "is this the cfg that the weights were trained with?"

    def test_batch_norm_folded_already(self) -> None:
        cfg = detector(2)
        folded = dn.fold_batchnorm(dn.load(cfg, weights_bytes(cfg)))
        weights = data_of(folded.network.stored_floats)
        hint = hint_of(cfg, weights)
        assert (
            hint
            == "it would fit batch_normalize=0: its batch norm is folded into the weights already"
        )

    def test_batch_norm_not_folded_yet(self) -> None:
        cfg = detector(2)
        folded = dn.fold_batchnorm(dn.load(cfg, weights_bytes(cfg)))
        hint = hint_of(folded.cfg.to_bytes(), weights_bytes(cfg))
        assert hint == "it would fit batch_normalize=1: its batch norm is not folded yet"

    def test_a_backbone(self) -> None:
        cfg = detector(2)
        backbone = weights_bytes(cfg)[: 20 + 4 * (4 * 8 + 8 * 27)]
        hint = hint_of(cfg, backbone)
        assert hint is not None
        assert "holds the layers 0 to 0 exactly" in hint
        assert "'partial'" in hint
        assert dn.load(cfg, backbone, partial=True).loaded == 1

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
        assert hint == f"it would fit the dialect {of}"

    @pytest.mark.parametrize("size", [21, 22, 23])
    def test_a_size_that_is_no_number_of_floats(self, size: int) -> None:
        hint = hint_of(detector(2), weights_bytes(detector(2))[:-size])
        assert hint == "the size is no multiple of 4: the file was cut or changed on its way"

    def test_nothing_that_fits(self) -> None:
        hint = hint_of(detector(2), data_of(12345))
        assert hint == "is this the cfg that the weights were trained with?"

    def test_a_net_whose_cfg_cannot_be_edited_sensibly_still_gets_an_error(self) -> None:
        # The layer in front of the head has no filters to change.
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
        with pytest.raises(dn.CfgError, match=r"net\.weights: there are zero bytes.*given first"):
            dn.load(weights, cfg)
        with pytest.raises(dn.WeightsError, match=r"net\.cfg: this is text such as a cfg"):
            dn.load(cfg, cfg)

    @pytest.mark.parametrize("name", ["absent.weights", ".", "absent/x.weights", "nul\0byte"])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(dn.WeightsError, match="cannot be read"):
            dn.load(self.CFG, tmp_path / name)
