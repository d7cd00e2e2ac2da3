"""Files that are wrong, or made to do harm, are answered in one line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.data.labels import MOST_BOXES
from darknet_bn.data.layouts import coco as coco_layout
from darknet_bn.data.layouts import voc as voc_layout
from darknet_bn.data.layouts.find import read_set
from darknet_bn.data.layouts.write import write_set

from .places import coco, cvat_yolo, fiftyone_yolov4, roboflow_darknet, ultralytics, voc, write

# Five levels of twenty each: three million times the first.
BOMB = "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 20}">' for inner, name in zip("abcde", "bcdef", strict=True)
)
DOCTYPE = f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{BOMB}]>'


def kinds_of(place: Path) -> list[str]:
    return [each.kind for each in read_set(place).findings]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{DOCTYPE}<annotation><filename>&f;</filename></annotation>", "the file has a DOCTYPE"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>', "the file has a DOCTYPE"),
        ("<annotation><object>", "this is not XML: no element found"),
        ("", "this is not XML: no element found"),
        ('<?xml version="1.0" encoding="martian"?><annotation/>', "this is not XML: unknown enc"),
        ("<html/>", "this is not an annotation of VOC"),
        ("<annotation>&f;</annotation>", "this is not XML: undefined entity"),
    ],
)
def test_an_xml_file_that_is_none_of_vocs(tmp_path: Path, text: str, problem: str) -> None:
    place = voc(tmp_path)
    write(place / "Annotations/a.xml", text)
    (found,) = read_set(place).findings
    assert (found.kind, found.part) == ("file", "train")
    assert str(found.error).startswith(f"{place / 'Annotations/a.xml'}: {problem}")
    assert "\n" not in str(found.error)


def test_bytes_of_utf16_cannot_hide_a_doctype(tmp_path: Path) -> None:
    place = voc(tmp_path)
    (place / "Annotations/a.xml").write_bytes(f"{DOCTYPE}<annotation/>".encode("utf-16"))
    (found,) = read_set(place).findings
    assert "DOCTYPE" in str(found.error)


def test_deep_xml_is_read_or_refused(tmp_path: Path) -> None:
    place = voc(tmp_path)
    deep = 100_000
    write(place / "Annotations/a.xml", f"<annotation>{'<x>' * deep}{'</x>' * deep}</annotation>")
    assert read_set(place).findings == ()


@pytest.mark.parametrize(
    ("module", "make", "name"),
    [
        (coco_layout, coco, "annotations/instances_val2017.json"),
        (voc_layout, voc, "Annotations/b.xml"),
    ],
)
def test_sizes_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, make: Any, name: str
) -> None:
    place = make(tmp_path)
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    with pytest.raises(dn.DarknetError, match="the file is too large"):
        module._File(place / name) if module is voc_layout else module.read_coco([place / name], "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "this is not JSON: "),
        ("{", "this is not JSON: "),
        ('{"images": NaN', "this is not JSON: "),
        ("[]", "this is a list, as of detections"),
        ("3", "this is not a set of COCO"),
        ("{}", "the file has no list of images"),
        ('{"images": [3], "annotations": [], "categories": []}', "the file has no list of images"),
        ('{"images": [], "annotations": [], "categories": []}', "there are no categories"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": "1", "name": "x"}]}',
            "a category has no id or no name",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"},'
            ' {"id": 1, "name": "y"}]}',
            "two categories have one id",
        ),
    ],
)
def test_a_json_file_that_is_not_cocos(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(dn.DarknetError) as caught:
        read_set(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "kind", "problem"),
    [
        (lambda f: f["annotations"][0].pop("bbox"), "line", "annotation 0: not a box"),
        (lambda f: f["annotations"][0].update(bbox=[1, 2, "3", 4]), "line", "not a box"),
        (lambda f: f["annotations"][0].update(bbox=[1, 2, True, 4]), "line", "not a box"),
        (lambda f: f["annotations"][0].update(bbox=[1, 2, 10**40, 4]), "line", "not a box"),
        (lambda f: f["annotations"][0].update(bbox=[1, 2, 1e300, 4]), "line", "not a box"),
        (
            lambda f: f["annotations"][0].update(bbox=[1, 2, 0, 4]),
            "size",
            "no size (found 0 x 0.2)",
        ),
        (
            lambda f: f["annotations"][0].update(bbox=[90, 2, 1, 4]),
            "outside",
            "outside the picture",
        ),
        (lambda f: f["annotations"][0].update(category_id=[3]), "class", "no such category"),
        (lambda f: f["annotations"][0].update(category_id=4), "class", "(found category_id 4)"),
        (lambda f: f["annotations"][0].update(image_id=99), "line", "(found image_id 99)"),
        (lambda f: f["annotations"][0].update(image_id=[7]), "line", "not in images"),
        (lambda f: f["images"][0].update(width=None), None, ""),  # the picture's own size is used
        (lambda f: f["images"].append({"id": 8, "file_name": 5}), "line", "has no file_name"),
        (lambda f: f["images"][0].update(id=[1]), "line", "not in images"),
    ],
)
def test_what_is_wrong_in_coco(tmp_path: Path, edit: Edit, kind: str | None, problem: str) -> None:
    place = coco(tmp_path) / "annotations/instances_train2017.json"
    facts = json.loads(place.read_text())
    edit(facts)
    place.write_text(json.dumps(facts))
    found = read_set(place).findings
    assert {each.kind for each in found} == ({kind} if kind else set())
    assert all(problem in str(each.error) for each in found)


def test_an_outline_without_a_box_has_the_box_around_it(tmp_path: Path) -> None:
    place = coco(tmp_path) / "annotations/instances_train2017.json"
    facts = json.loads(place.read_text())
    del facts["annotations"][0]["bbox"]
    facts["annotations"][0]["segmentation"] = [[4, 5, 12, 5, 8, 15], [5, 6, 7, 8]]
    place.write_text(json.dumps(facts))
    (box, _) = read_set(place).pictures[0].boxes
    assert box[:4] == (0.2, 0.5, 0.2, 0.5)
    write(tmp_path / "yolo/labels/train/a.txt", "")
    yolo = ultralytics(tmp_path / "yolo")
    (yolo / "labels/train/a.txt").write_text("1 0.1 0.25 0.3 0.25 0.2 0.75\n")
    (box,) = read_set(yolo).pictures[0].boxes
    assert box[:4] == pytest.approx((0.2, 0.5, 0.2, 0.5))


@pytest.mark.parametrize("name", ["x" * 5000, "a\\u0000b"])
def test_names_that_no_file_can_have_are_missing_pictures(tmp_path: Path, name: str) -> None:
    place = coco(tmp_path / "coco") / "annotations/instances_train2017.json"
    place.write_text(place.read_text().replace("a.png", name))
    assert kinds_of(place) == ["picture"]
    place = ultralytics(tmp_path / "yolo")
    write(place / "train.txt", name.replace("\\u0000", "?"))
    write(place / "data.yaml", "names: [zebra, ant]\ntrain: train.txt\n")
    assert kinds_of(place) == ["picture"]
    place = voc(tmp_path / "voc")
    path = place / "Annotations/a.xml"
    path.write_text(path.read_text().replace("a.png", name))
    assert kinds_of(place) == []  # the picture with the name of the file is used
    (place / "JPEGImages/a.png").unlink()
    assert kinds_of(place) == ["picture"]
    write(place / "ImageSets/Main/train.txt", name.replace("\\u0000", "?"))
    assert kinds_of(place) == ["labels"]


@pytest.mark.parametrize("name", ["../../x.png", "/etc/x.png", "C:\\\\x.png", "a/../../x.png"])
def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    place = coco(tmp_path / "deep/set") / "annotations/instances_train2017.json"
    shutil.copy(tmp_path / "deep/set/train2017/a.png", tmp_path / "x.png")
    place.write_text(place.read_text().replace("a.png", name))
    labelled = read_set(place)
    assert [each.kind for each in labelled.findings] == ["name", "picture"]
    assert not Path(labelled.pictures[0].path).exists()
    before = {each for each in tmp_path.rglob("*") if each.is_file()}
    write_set(labelled, tmp_path / "out", "darknet")
    after = {each for each in tmp_path.rglob("*") if each.is_file()}
    assert {each.relative_to(tmp_path).parts[0] for each in after - before} == {"out"}


def test_a_name_in_vocs_files_is_only_its_end(tmp_path: Path) -> None:
    place = voc(tmp_path / "set")
    path = place / "Annotations/a.xml"
    path.write_text(path.read_text().replace("a.png", "../../../etc/a.png"))
    labelled = read_set(place)
    assert labelled.findings == ()
    assert labelled.pictures[0].path == str(place / "JPEGImages/a.png")
    write(place / "ImageSets/Main/train.txt", "../a\n")
    assert kinds_of(place) == ["labels"]


def test_a_folder_outside_that_of_a_yaml_file_is_told(tmp_path: Path) -> None:
    place = ultralytics(tmp_path / "set")
    write(
        tmp_path / "yaml/data.yaml", (place / "data.yaml").read_text().replace(".  #", "../set  #")
    )
    labelled = read_set(tmp_path / "yaml")
    assert len(labelled.pictures) == 2
    assert labelled.notes[0].startswith("train is outside the folder of data.yaml: ")


@pytest.mark.parametrize(
    ("make", "file", "text", "problem"),
    [
        (cvat_yolo, "obj.data", "classes=2\n", "the file names no list of pictures"),
        (cvat_yolo, "obj.data", "classes=x\n", "classes: is not a number"),
        (cvat_yolo, "obj.data", "train=no.txt\n", "train: the file does not exist"),
        (cvat_yolo, "obj.names", "\0", "this is not a text file"),
        (fiftyone_yolov4, "obj.names", "<html>", "this is an HTML page"),
        (roboflow_darknet, "train/_darknet.labels", "\0", "this is not a text file"),
        (ultralytics, "data.yaml", "names: [a]\ntrain: no\n", "there is no such folder or list"),
        (
            ultralytics,
            "data.yaml",
            "names: [a]\ntrain: /\n",
            "the folder is above the one with this",
        ),
        (ultralytics, "data.yaml", "names: [a]\npath: ..\ntrain: ./\n", "the folder is above"),
        (ultralytics, "data.yaml", "names: {1: a}\n", "the classes have no names"),
        (ultralytics, "data.yaml", "train: images/train\n", "the classes have no names"),
        (ultralytics, "data.yaml", "names: [a]\n", "there are no pictures"),
    ],
)
def test_what_a_layout_cannot_do_without(
    tmp_path: Path, make: Callable[[Path], Path], file: str, text: str, problem: str
) -> None:
    place = make(tmp_path)
    write(place / file, text)
    with pytest.raises(dn.DarknetError, match=problem) as caught:
        read_set(place)
    assert "\n" not in str(caught.value)


def test_too_many_boxes_are_refused(tmp_path: Path) -> None:
    place = fiftyone_yolov4(tmp_path)
    write(place / "data/a.txt", "0 .5 .5 .1 .1\n" * (MOST_BOXES + 1))
    (found,) = read_set(place).findings
    assert "there are too many boxes (expected at most 20000)" in str(found.error)


def test_a_category_above_the_others_is_left_out_only_if_it_has_no_boxes(tmp_path: Path) -> None:
    place = coco(tmp_path) / "annotations/instances_train2017.json"
    facts = json.loads(place.read_text())
    for each in facts["categories"]:
        each["supercategory"] = "all"
    facts["categories"].append({"id": 0, "name": "all", "supercategory": "none"})
    place.write_text(json.dumps(facts))
    labelled = read_set(place)
    assert labelled.names == ("zebra", "ant")
    assert labelled.notes[0] == "category 0, all, is above the others: left out"
    facts["annotations"][0]["category_id"] = 0
    place.write_text(json.dumps(facts))
    assert read_set(place).names == ("all", "zebra", "ant")


@pytest.mark.parametrize("name", ["annotations.xml", "annotations.json"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = tmp_path / name
    file.write_text("{}")

    def refuse(path: str, *args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("darknet_bn.formats.reading.os.open", refuse)
    for place in (file, tmp_path):
        with pytest.raises(dn.DarknetError, match=r"cannot be read: Permission denied") as caught:
            read_set(place)
        assert str(file) in str(caught.value)
