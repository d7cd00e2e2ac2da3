"""Which cfg fits a file: every published one, other classes, backbones, and files that are none."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.model.form import Form
from darknet_bn.model.published import published_forms
from darknet_bn.model.weights import Header
from darknet_bn.model.which import (
    MOST_CLASSES,
    WhichCfg,
    classes_for,
    fits_of,
    published_fit,
    size_of,
    which_of,
)

FORMS = published_forms()
LEGACY = struct.pack("<fffI", 0.001, 0.9, 0.0005, 32000)


def file_of(path: Path, floats: int, header: bytes = Header(revision=5).to_bytes()) -> Path:
    """A file of so many floats; a sparse one, since only its size and header are read."""
    path.write_bytes(header)
    os.truncate(path, len(header) + 4 * floats)
    return path


def which(path: Path) -> WhichCfg:
    return which_of(size_of(path), FORMS)


def form_named(name: str) -> Form:
    return next(form for form in FORMS if name in form.names)


@pytest.mark.parametrize("header", [Header(revision=5).to_bytes(), Header().to_bytes(), LEGACY])
def test_every_published_cfg_is_named_by_the_size_of_its_weights(
    tmp_path: Path, header: bytes
) -> None:
    for form in FORMS:
        found = which(file_of(tmp_path / "a.weights", form.floats, header))
        assert found.floats == form.floats
        assert {each.holds for each in found.best} == {"all"}, form.names
        (mine,) = [
            each
            for each in found.best
            if (each.names, each.programs, each.input) == (form.names, form.programs, form.input)
            and each.layers == len(form.sizes)
            and (each.activations, each.heads) == (form.activations, form.heads)
        ]
        assert mine.classes == form.classes
        assert bool(found.differences) == (len(found.best) > 1), form.names


def test_how_many_published_sizes_are_ambiguous() -> None:
    same: dict[int, list[Form]] = {}
    for form in FORMS:
        same.setdefault(form.floats, []).append(form)
    alone = sum(len(forms) == 1 for forms in same.values())
    assert (len(FORMS), len(same), alone) == (108, 79, 56)


# A box of theirs takes more than another's, as more classes do; yolo9000 is darknet19 and a head.
LIKE_OTHERS = {"Gaussian_yolov3_BDD", "yolov1-tiny", "yolov1/tiny-coco", "yolo9000"}
BY_CHANCE = {("darknet53_448_xnor", 3)}  # darknet53 with 515 classes


@pytest.mark.parametrize("classes", [1, 2, 3, 20, 37, 80, 91, 1000])
def test_other_numbers_of_classes_are_solved_for(classes: int) -> None:
    for form in FORMS:
        if form.classes in (None, classes):
            continue
        fits = fits_of(form.floats + (classes - form.classes) * form.floats_per_class, FORMS)
        assert [each for each in fits if (each.names, each.classes) == (form.names, classes)]
        name = form.names[0]
        if name not in LIKE_OTHERS and (name, classes) not in BY_CHANCE:
            assert fits[0].classes == classes, name


def test_a_number_of_classes_is_a_whole_one_in_its_limits() -> None:
    form = form_named("yolov3-tiny")
    step = form.floats_per_class
    assert classes_for(form, form.floats) is None  # its own
    assert classes_for(form, form.floats + 1) is None
    assert classes_for(form, form.floats - 79 * step) == 1
    assert classes_for(form, form.floats - 80 * step) is None
    assert classes_for(form, form.floats + (MOST_CLASSES - 80) * step) == MOST_CLASSES
    assert classes_for(form, form.floats + (MOST_CLASSES - 79) * step) is None


BACKBONES = (  # as they have been published, with their bytes
    ("darknet53.conv.74", 162482580, 20, "yolov3", 74),
    ("yolov4.conv.137", 170038676, 20, "yolov4", 137),
    ("yolov4-tiny.conv.29", 19789716, 20, "yolov4-tiny", 29),
    ("darknet19_448.conv.23", 79327120, 16, "yolov2", 23),
)


@pytest.mark.parametrize(("name", "size", "head", "cfg", "layers"), BACKBONES)
@pytest.mark.parametrize("renamed", [False, True])
def test_backbones(
    tmp_path: Path, name: str, size: int, head: int, cfg: str, layers: int, renamed: bool
) -> None:
    header = Header(revision=5).to_bytes() if head == 20 else LEGACY
    path = tmp_path / ("a.weights" if renamed else name)
    found = which(file_of(path, (size - head) // 4, header))
    assert {each.holds for each in found.best} == {"first layers"}
    held = {name: each.layers_held for each in found.best for name in each.names}
    # Layers without floats may follow, which only the name of the file shows.
    assert held[cfg] == layers if not renamed else held[cfg] <= layers
    assert found.differences == ()


def test_a_header_that_is_missing_or_short_or_has_the_other_width(tmp_path: Path) -> None:
    form = form_named("yolov4-tiny")
    missing = which(file_of(tmp_path / "a.weights", form.floats - 1, struct.pack("<f", 0.5)))
    assert missing.header is None
    assert (missing.floats, missing.best[0].names) == (form.floats, form.names)
    for width, text in ((4, "<iiiI"), (0, "<iii")):
        numbers = (0, 2, 5) if not width else (0, 2, 5, 7)
        found = which(file_of(tmp_path / "a.weights", form.floats, struct.pack(text, *numbers)))
        assert (found.floats, found.best[0].holds) == (form.floats, "all")
        assert (found.header is None) == (width == 0)


@pytest.mark.parametrize("more", [1, -1, 4])
def test_a_size_that_nothing_has(tmp_path: Path, more: int) -> None:
    path = file_of(tmp_path / "a.weights", 0)
    os.truncate(path, 20 + 4 * form_named("yolov4").floats + more * (1 if more < 4 else 4))
    found = which(path)
    assert (found.fits, found.best, found.differences) == ((), (), ())
    assert repr(found) == "<WhichCfg a.weights: none fits>"


@pytest.mark.parametrize("off", [-4001, -1, 1, 4])
def test_a_file_that_is_cut_off_is_near_a_cfg(tmp_path: Path, off: int) -> None:
    path = file_of(tmp_path / "cut.weights", 8858734)
    os.truncate(path, 20 + 4 * 8858734 + off)
    found = which(path)
    assert (found.fits, found.off) == ((), off)
    assert found.nearest is not None
    assert found.nearest.summary == "yolov3-tiny or yolov3-tiny_obj with 80 classes"
    assert found.floats == (4 * 8858734 + off) // 4


def test_what_is_far_from_every_size_is_near_none(tmp_path: Path) -> None:
    found = which(file_of(tmp_path / "small.weights", 101))
    assert (found.fits, found.nearest, found.off) == ((), None, 0)


def test_what_tells_apart_the_nets_of_one_size(tmp_path: Path) -> None:
    found = which(file_of(tmp_path / "a.weights", form_named("yolov4").floats))
    assert {each.names[0] for each in found.best} == {
        "cd53paspp-gamma",
        "yolov4-custom",
        "yolov4_new",
    }
    told = dict(each.split(": ", 1) for each in found.differences)
    assert set(told) == {"input", "activations", "heads"}
    assert "leaky 107, linear 3 (cd53paspp-gamma)" in told["activations"]
    assert "3 x yolo of 3 new_coords (yolov4_new)" in told["heads"]


HOSTILE = (
    (b"", "the file is empty"),
    (b"\0" * 8, "the file ends inside the header"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git-LFS pointer"),
    (b"<!DOCTYPE html><html><body>Sign in</body></html>", "this is an HTML page"),
    (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x80\x01" + b"\0" * 99, "this is an ONNX model"),
)


@pytest.mark.parametrize(("content", "problem"), HOSTILE)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(content)
    with pytest.raises(dn.WeightsError, match=problem) as caught:
        size_of(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    found = which(file_of(tmp_path / "a.weights", 1 << 38))
    assert found.fits == ()
    assert found.floats == 1 << 38


def test_the_size_of_a_published_cfg_in_words() -> None:
    tiny, yolov3 = form_named("yolov3-tiny"), form_named("yolov3-voc")
    size = 20 + 4 * tiny.floats
    assert published_fit(size, Header()) == (
        "the file has the size of yolov3-tiny (or 2 others) with 80 classes"
    )
    # A Gaussian box takes four filters more, as four classes do.
    size = 20 + 4 * (yolov3.floats + 4 * yolov3.floats_per_class)
    assert published_fit(size, Header()) == (
        "the file has the size of yolov3-voc (or 4 others) with 24 classes, or of "
        "Gaussian_yolov3_BDD with 20 classes"
    )
    assert published_fit(size + 1, Header()) is None
    assert published_fit(size + 4, Header()) is None
    assert published_fit(20 + 4 * tiny.holds(9), Header()) is None  # any net may begin like this
