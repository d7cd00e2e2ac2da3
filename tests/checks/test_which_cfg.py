"""Which cfg fits, against a folder, and what pictures add: known models with a wrong activation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.model.form import form_of, with_classes
from tests.model.test_form import KINDS
from tests.support.builders import cfg_text, network_of, weights_bytes
from tests.support.pictures import PNGS

pytest.importorskip("PIL", reason="Pillow is not installed")

PICTURES = sorted(str(path) for path in PNGS if path.suffix == ".png")[:4]
ANCHORS = "anchors=1,2,3,4,5,6"
CONV = "[convolutional] filters=8 size=3 pad=1 batch_normalize=1 activation=leaky"


def detector(classes: int = 2) -> bytes:
    head = f"[convolutional] filters={3 * (5 + classes)} size=1 activation=linear"
    yolo = f"[yolo] classes={classes} num=3 mask=0,1,2 {ANCHORS}"
    return cfg_text(*[CONV] * 5, head, yolo, width=32, height=32)


def trained(folder: Path, cfg: bytes) -> Path:
    """Weights whose statistics are those of the pictures, as training leaves them."""
    model = dn.load(cfg, weights_bytes(cfg), dialect="alexeyab")
    batches = dn.picture_batches(model, PICTURES, len(PICTURES))
    model, _ = dn.calibrate(model, batches, method="one-pass")
    model = replace(model, header=dn.Header(revision=5))
    dn.save(model, None, folder / "a.weights")
    return folder / "a.weights"


def cfgs(folder: Path, **texts: bytes) -> Path:
    place = folder / "cfgs"
    place.mkdir()
    for name, text in texts.items():
        (place / f"{name}.cfg").write_bytes(text)
    return place


def stems(fits: tuple[dn.FittingCfg, ...]) -> list[str]:
    return [Path(each.names[0]).stem for each in fits]


def test_the_cfg_of_a_folder_is_found_with_its_classes(tmp_path: Path) -> None:
    weights = trained(tmp_path, detector(7))
    folder = cfgs(tmp_path, two=detector(2), other=cfg_text(CONV))
    found = dn.which_cfg(weights, folder)
    assert stems(found.fits) == ["two"]
    assert (found.fits[0].holds, found.fits[0].classes) == ("other classes", 7)
    assert found.likely == found.fits
    (folder / "seven.cfg").write_bytes(detector(7))
    assert stems(dn.which_cfg(weights, folder).best) == ["seven"]


def test_a_folder_that_has_none_that_fits(tmp_path: Path) -> None:
    folder = cfgs(tmp_path, other=cfg_text(CONV))
    (tmp_path / "a.weights").write_bytes(dn.Header().to_bytes() + bytes(4 * 19681))
    assert dn.which_cfg(tmp_path / "a.weights", folder).best[0].names == ("writing",)
    (tmp_path / "a.weights").write_bytes(dn.Header().to_bytes() + bytes(44))
    assert dn.which_cfg(tmp_path / "a.weights", folder).fits == ()


def test_a_folder_without_cfgs_and_cfgs_that_are_none(tmp_path: Path) -> None:
    weights = trained(tmp_path, detector())
    with pytest.raises(dn.DarknetError, match=r"there are no \.cfg files"):
        dn.which_cfg(weights, tmp_path)
    with pytest.raises(dn.DarknetError, match="cannot be read"):
        dn.which_cfg(weights, tmp_path / "absent")
    folder = cfgs(tmp_path, a=b"<html>", b=b"[net]\n", good=detector())
    with pytest.warns(dn.DarknetWarning, match=r"2 of 3 cfgs cannot be used; the first: .*HTML"):
        found = dn.which_cfg(weights, folder)
    assert stems(found.likely) == ["good"]


def test_pictures_show_the_activation(tmp_path: Path) -> None:
    weights = trained(tmp_path, detector())
    names = ("leaky", "linear", "logistic", "relu")
    texts = {name: detector().replace(b"=leaky", b"=" + name.encode()) for name in names}
    folder = cfgs(tmp_path, **texts)
    without = dn.which_cfg(weights, folder)
    assert stems(without.likely) == sorted(names)
    assert without.shifts == ()
    found = dn.which_cfg(weights, folder, pictures=PICTURES)
    assert stems(found.likely) == ["leaky"]
    assert Path(found.shifts[0].file).stem == "leaky"
    shifts = [row.shift for row in found.shifts if row.shift is not None]
    # The statistics are those of these pictures, but for the rounding of sums in float32.
    assert shifts[0] < 1e-5
    assert shifts == sorted(shifts)
    assert shifts[1] > 0.01
    assert [row.layers for row in found.shifts] == [4] * 4


def test_pictures_show_the_activation_with_another_number_of_classes(tmp_path: Path) -> None:
    weights = trained(tmp_path, detector(9))
    wrong = detector(2).replace(b"=leaky", b"=relu")
    folder = cfgs(tmp_path, leaky=detector(2), relu=wrong)
    found = dn.which_cfg(weights, folder, pictures=PICTURES)
    assert stems(found.likely) == ["leaky"]
    assert found.likely[0].classes == 9


def test_what_pictures_cannot_show_is_unknown(tmp_path: Path) -> None:
    weights = trained(tmp_path, detector())
    anchors = detector().replace(b"1,2,3,4,5,6", b"1,2,3,4,5,7")
    folder = cfgs(tmp_path, one=detector(), two=anchors)
    found = dn.which_cfg(weights, folder, pictures=PICTURES)
    assert stems(found.likely) == ["one", "two"]
    assert found.shifts[0].shift == found.shifts[1].shift
    assert found.differences == ("options: [yolo] anchors",)


def test_cfgs_that_cannot_be_run_remain(tmp_path: Path) -> None:
    cfg = detector().replace(b"batch_normalize=1\n", b"", 5)
    (tmp_path / "a.weights").write_bytes(weights_bytes(cfg))
    folder = cfgs(tmp_path, one=cfg, two=cfg.replace(b"=leaky", b"=relu"))
    found = dn.which_cfg(tmp_path / "a.weights", folder, pictures=PICTURES)
    assert stems(found.likely) == ["one", "two"]
    assert {row.shift for row in found.shifts} == {None}
    assert all(row.problem for row in found.shifts)


@pytest.mark.parametrize("cfg", KINDS, ids=lambda each: each.__name__)
def test_a_cfg_is_rewritten_for_another_number_of_classes(cfg: object) -> None:
    three, five = dn.parse_cfg(cfg(3)), dn.parse_cfg(cfg(5))
    network = network_of(cfg(3))
    assert with_classes(three, network, form_of(network, "a"), 5).to_bytes() == five.to_bytes()


def test_a_trained_model_is_told_from_its_variants(shared: Path, tmp_path: Path) -> None:
    model = shared / "models/yoloface-50k/yoloface-50k"
    text = model.with_suffix(".cfg").read_bytes()
    folder = cfgs(tmp_path, leaky=text, mish=text.replace(b"=leaky", b"=mish"))
    pictures = [str(shared / "images/person.jpg")]
    found = dn.which_cfg(model.with_suffix(".weights"), folder, pictures=pictures)
    assert stems(found.likely) == ["leaky"]
