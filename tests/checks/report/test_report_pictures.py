"""What a report shows of pictures, and of folding."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from tests.support.builders import cfg_text, random_model
from tests.support.html_page import read_page
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "digits"
TINY = FIXTURES / "tiny" / "tiny"
PICTURE = FIXTURES / "preprocess" / "rgba_10x15.png"
CELLS = (  # random weights, and many cells, each with a box
    "[convolutional] filters=24 size=3 pad=1 stride=4 activation=linear",
    "[yolo] mask=0,1,2 anchors=2,3,4,4,9,9 classes=3 num=3",
)


def test_pictures_are_embedded_and_described(tmp_path: Path) -> None:
    facts = dn.write_report(dn.load(TINY), tmp_path / "page.html", [PICTURE])
    page = read_page(tmp_path / "page.html")
    images = page.tags("img")
    assert len(images) >= 3
    for each in images:
        start, _, code = (each["src"] or "").partition(";base64,")
        assert start in ("data:image/png", "data:image/jpeg")
        with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
            picture.load()
            assert max(picture.size) <= 560
        assert each["alt"]
    assert facts["images"] == len(facts["pictures"]) == 1
    assert facts["pictures"][0]["file"] == PICTURE.name
    assert [each["layer"] for each in page.facts["seen"]] == [
        each["layer"] for each in page.facts["batch_norms"]
    ]


def test_a_classifier_names_its_classes(tmp_path: Path) -> None:
    with np.load(DIGITS.parent / "test.npz") as data:
        image, label = data["x"][0, 0], int(data["y"][0])
    Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(tmp_path / "one.png")
    names = [f"<b>{each}" for each in range(10)]
    facts = dn.write_report(
        dn.load(DIGITS), tmp_path / "page.html", [tmp_path / "one.png"], names=names
    )
    (picture,) = facts["pictures"]
    assert picture["classes"][0]["name"] == picture["heat"]["name"] == f"<b>{label}"
    page = read_page(tmp_path / "page.html")
    assert page.tags("b") == [{}] * len(facts["arrays"])  # captions: no name is an element
    assert f"&lt;b&gt;{label}" in page.text


@pytest.mark.parametrize("stem", [DIGITS, TINY])
def test_too_few_names_are_not_used(tmp_path: Path, stem: Path) -> None:
    page = tmp_path / "page.html"
    facts = dn.write_report(dn.load(stem), page, [PICTURE], names=["only one"])
    (picture,) = facts["pictures"]
    named = [each["name"] for each in (*picture["classes"], *picture["boxes"])]
    assert named == [] or "only one" not in named


def test_only_four_pictures_are_shown(tmp_path: Path) -> None:
    facts = dn.write_report(dn.load(TINY), tmp_path / "page.html", [PICTURE] * 6)
    assert (facts["images"], len(facts["pictures"])) == (6, 4)
    assert "2 more were looked at" in (tmp_path / "page.html").read_text()


def test_a_picture_that_is_none_leaves_no_page(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(dn.ImageError, match=r"bad\.png"):
        dn.write_report(dn.load(TINY), tmp_path / "page.html", [tmp_path / "bad.png"])
    assert not (tmp_path / "page.html").exists()


def test_folding_is_proven_layer_by_layer(tmp_path: Path) -> None:
    facts = dn.write_report(dn.load(DIGITS), tmp_path / "page.html")
    proof = facts["fold"]["proof"]
    assert proof["ok"]
    page = read_page(tmp_path / "page.html")
    fold, int8 = page.parts("rect", "fold"), page.parts("rect", "int8")
    assert [each["class"] for each in fold] == ["bars"] * len(proof["differences"])
    assert len(int8) == len(page.facts["int8"]["layers"])
    assert len(page.facts["fold"]["proof"]["differences"]) == len(proof["differences"])


def test_why_a_model_cannot_be_folded(tmp_path: Path) -> None:
    model = dn.load(DIGITS)
    params = [dict(each) for each in model.params]
    params[0]["rolling_variance"] = np.full_like(params[0]["rolling_variance"], -1)
    object.__setattr__(model, "params", tuple(params))
    facts = dn.write_report(model, tmp_path / "page.html")
    assert facts["fold"]["proof"] is None
    assert "The model cannot be folded: " in (tmp_path / "page.html").read_text()


def test_unreadable_pictures_of_several_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.warns(dn.DarknetWarning, match=r"bad\.png: not a picture.*left out"):
        facts = dn.write_report(
            dn.load(TINY), tmp_path / "page.html", [tmp_path / "bad.png", PICTURE]
        )
    assert facts["images"] == 1
    assert [each["file"] for each in facts["pictures"]] == [PICTURE.name]
    assert facts["int8"]["picture"] == PICTURE.name
    assert "are not shown" not in (tmp_path / "page.html").read_text()


def test_the_most_certain_boxes_are_named_and_the_others_counted(tmp_path: Path) -> None:
    model = random_model(cfg_text(*CELLS, width=64, height=64), "pjreddie")
    params = dict(model.params[0])
    params["biases"] = np.tile(np.float32([0, 0, -3, -3, 4, 2, 0, -2]), 3)  # small boxes, certain
    object.__setattr__(model, "params", (params, *model.params[1:]))
    facts = dn.write_report(model, tmp_path / "page.html", [PICTURE])
    boxes = facts["pictures"][0]["boxes"]
    assert len(boxes) > 12
    text = (tmp_path / "page.html").read_text("utf-8")
    named, more = re.findall(r"with what was found: (.*?) and ([0-9]+) more", text)[0]
    assert int(more) == len(boxes) - 12
    shares = [float(each.split()[-1].rstrip("%")) for each in named.split(", ")]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == round(100 * max(each["confidence"] for each in boxes))


def test_a_model_with_neither_boxes_nor_classes_says_so(tmp_path: Path) -> None:
    model = random_model(cfg_text("[convolutional] filters=3 size=3 pad=1 activation=leaky"))
    dn.write_report(model, tmp_path / "page.html", [PICTURE])
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "with what was found: neither boxes nor classes" in text
