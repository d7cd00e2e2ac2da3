"""Each layout is read from a small folder, and gives the same pictures, boxes and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.data.layouts.base import LabelledSet
from darknet_bn.data.layouts.find import find_layout, read_set

from .places import BOXES, LAYOUTS, NAMES, SIZES, coco, darknet, roboflow_darknet, ultralytics, voc


def pixels(labelled: LabelledSet) -> dict[str, list[tuple[int, float, float, float, float]]]:
    """Class, left, top, right and bottom of each box in pixels, by the stem of the picture."""
    found = {}
    for each in labelled.pictures:
        name = Path(each.name).stem
        width, height = SIZES[name]
        found[name] = [
            (
                box.number,
                (box.x - box.w / 2) * width,
                (box.y - box.h / 2) * height,
                (box.x + box.w / 2) * width,
                (box.y + box.h / 2) * height,
            )
            for box in each.boxes
        ]
    return found


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_each_layout_is_found_out_and_read(tmp_path: Path, name: str) -> None:
    make, called, has_valid = LAYOUTS[name]
    place = make(tmp_path / "set")
    labelled = read_set(place)
    layout = find_layout(place)
    assert layout is not None
    assert (layout.name, labelled.layout) == (called, called)
    assert (labelled.findings, labelled.names) == ((), NAMES)
    assert [Path(each.path).is_file() for each in labelled.pictures] == [True, True]
    found = pixels(labelled)
    assert found.keys() == BOXES.keys()
    for stem, boxes in BOXES.items():
        # The label files have six digits, of at most 50 pixels.
        assert [pytest.approx(box, abs=1e-4) for box in boxes] == found[stem], stem
    parts = {Path(each.name).stem: each.part for each in labelled.pictures}
    assert parts == {"a": "train", "b": "valid" if has_valid else "train"}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_names_do_not_lead_out_of_the_set(tmp_path: Path, name: str) -> None:
    labelled = read_set(LAYOUTS[name][0](tmp_path / "set"))
    assert {each.name for each in labelled.pictures} == {"a.png", "b.png"}


def test_classes_can_be_numbered_as_a_list_of_names_says(tmp_path: Path) -> None:
    labelled = read_set(coco(tmp_path), ("moth", "ant", "zebra"))
    assert labelled.names == ("moth", "ant", "zebra")
    assert [box.number for each in labelled.pictures for box in each.boxes] == [1, 2, 2]
    labelled = read_set(coco(tmp_path), ("ant",))
    assert [len(each.boxes) for each in labelled.pictures] == [1, 0]
    assert [str(each.error).rpartition("json: ")[2] for each in labelled.findings] == [
        "annotation 1: the class is not among the names (found 'zebra')",
        "annotation 0: the class is not among the names (found 'zebra')",
    ]


def test_classes_without_names_cannot_be_numbered_by_names(tmp_path: Path) -> None:
    folder = roboflow_darknet(tmp_path / "set")
    for each in folder.glob("*/_darknet.labels"):
        each.unlink()
    assert read_set(folder).all_names == ("class 0", "class 1")
    with pytest.raises(dn.DarknetError, match="nothing names the classes of this set; leave out"):
        read_set(folder, NAMES)


def test_a_place_that_is_not_a_set_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    for place, problem in (
        (tmp_path, "this is not a set of pictures with labels"),
        (tmp_path / "x.txt", "this is not a set of pictures with labels"),
        (tmp_path / "nowhere", "no such file or folder"),
    ):
        with pytest.raises(dn.DarknetError, match=problem) as caught:
            read_set(place)
        assert "\n" not in str(caught.value)
        assert "a .data, .yaml, COCO .json or CVAT .xml file" in str(caught.value)


def test_a_folder_with_several_layouts_is_refused(tmp_path: Path) -> None:
    darknet(tmp_path)
    ultralytics(tmp_path)
    with pytest.raises(dn.DarknetError, match="has labels in several layouts") as caught:
        find_layout(tmp_path)
    assert {"Darknet", "Ultralytics"} <= set((caught.value.found or "").split())
    assert caught.value.hint == "name a file or a folder inside"
    assert read_set(tmp_path / "my.data").layout == "Darknet"


def test_coco_and_voc_in_one_folder_are_several_layouts(tmp_path: Path) -> None:
    voc(tmp_path)
    coco(tmp_path)
    with pytest.raises(dn.DarknetError, match=r"COCO .* and PASCAL VOC "):
        find_layout(tmp_path)


def test_ids_with_gaps_become_classes_in_their_order(tmp_path: Path) -> None:
    # COCO has 80 categories with ids from 1 to 90.
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [number for number in range(1, 91) if number not in gaps]
    facts = {
        "categories": [{"id": number, "name": f"name {number}"} for number in reversed(ids)],
        "images": [{"id": 5, "file_name": "a.png", "width": 8, "height": 8}],
        "annotations": [
            {"id": number, "image_id": 5, "category_id": number, "bbox": [1, 2, 3, 4]}
            for number in ids
        ],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(facts))
    labelled = read_set(path)
    assert [box.number for box in labelled.pictures[0].boxes] == list(range(80))
    assert labelled.names == tuple(f"name {number}" for number in ids)
    assert labelled.notes == ("category ids 1 to 90 become classes 0 to 79 in their order",)


@pytest.mark.parametrize("name", ["label_studio", "roboflow_darknet", "ultralytics"])
def test_a_label_file_without_a_picture_is_found(tmp_path: Path, name: str) -> None:
    place = LAYOUTS[name][0](tmp_path)
    (label,) = place.rglob("a.txt")
    for other in ("lost", "notes"):
        text = label.read_text() if other == "lost" else "these pictures are mine\n"
        label.with_name(f"{other}.txt").write_text(text)
    (found,) = read_set(place).findings
    assert found.kind == "orphan"
    assert str(found.error).startswith(f"{label.with_name('lost.txt')}: the label file has no pict")


def test_the_number_of_classes_and_that_of_names(tmp_path: Path) -> None:
    place = darknet(tmp_path / "dark")
    text = place.read_text()
    place.write_text(text.replace("classes=2", "classes=5"))
    labelled = read_set(place)
    assert labelled.notes == ("classes is 5, but there are 2 names: these count",)
    assert labelled.classes == 2
    place.write_text(text.replace("classes=2", "classes=5").replace("names=my.names", ""))
    labelled = read_set(place)
    assert labelled.all_names == tuple(f"class {number}" for number in range(5))
    place = ultralytics(tmp_path / "yolo")
    with (place / "data.yaml").open("a") as stream:
        stream.write("nc: 1\n")
    assert read_set(place).notes == ("nc is 1, but there are 2 names: these count",)
