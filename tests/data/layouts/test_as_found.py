"""Sets as people have them: written on Windows, cut apart, or with more than boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darknet_bn.data.layouts.coco import files_of
from darknet_bn.data.layouts.find import read_set

from .places import BOXES, coco, darknet, label_studio, roboflow_yolo, ultralytics, voc


def said(place: Path) -> list[str]:
    return [str(each.error) for each in read_set(place).findings]


def boxes(place: Path) -> dict[str, tuple[tuple[float, ...], ...]]:
    return {each.name: tuple(box[:5] for box in each.boxes) for each in read_set(place).pictures}


def test_files_of_coco_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    expected = boxes(coco(tmp_path))
    for each in (tmp_path / "annotations").iterdir():
        each.write_bytes(b"\xef\xbb\xbf" + each.read_bytes())
    assert boxes(tmp_path) == expected


def test_what_a_file_of_coco_is_shows_late_if_it_begins_with_much_else(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"licenses": ["x" * 70_000], "images": []}))
    (tmp_path / "b.json").write_text(json.dumps({"info": {}, "categories": []}))
    assert files_of(tmp_path) == [tmp_path / "a.json"]


@pytest.mark.parametrize(("written", "used"), [(50.0, True), (50.5, False), ("50", False)])
def test_sizes_in_coco(written: object, used: bool, tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "none.png", "width": written, "height": 40.0}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 4, 10, 8]}
    categories = [{"id": 1, "name": "ant"}]
    facts = {"images": [image], "annotations": [box], "categories": categories}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(facts))
    assert boxes(path) == {"none.png": ((0.2, 0.2, 0.2, 0.2, 0),) if used else ()}


def test_label_files_without_any_picture_are_found(tmp_path: Path) -> None:
    place = label_studio(tmp_path)  # it exports pictures only if it has them itself
    for each in (place / "images").iterdir():
        each.unlink()
    labelled = read_set(place)
    assert labelled.pictures == ()
    assert [each.kind for each in labelled.findings] == ["orphan"] * len(BOXES)


def test_paths_of_ultralytics_may_have_backslashes(tmp_path: Path) -> None:
    expected = boxes(roboflow_yolo(tmp_path))
    file = tmp_path / "data.yaml"
    file.write_text(file.read_text().replace("/", "\\"))
    assert boxes(tmp_path) == expected


def test_points_after_a_box_are_no_outline(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    label = tmp_path / "labels" / "train" / "a.txt"
    label.write_text("1 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 0\n0 0.5 0.5 0.2\n")
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 3]\n")
    assert boxes(tmp_path)["a.png"] == ((0.5, 0.5, 0.2, 0.4, 1),)
    (problem,) = said(tmp_path)
    assert problem.endswith("not a box (expected class x y w h, and points, found '0 0.5 0.5 0.2')")


def test_a_picture_of_another_suffix_or_with_capitals_is_named(tmp_path: Path) -> None:
    place = darknet(tmp_path / "dark")
    (place.parent / "set" / "a.png").rename(place.parent / "set" / "A.PNG")
    (place.parent / "set" / "b.png").rename(place.parent / "set" / "b.jpeg")
    first, second = said(place)
    assert first.endswith(f"found {place.parent / 'set' / 'A.PNG'})")
    assert second.endswith(f"found {place.parent / 'set' / 'b.jpeg'})")
    place = coco(tmp_path / "coco")
    (place / "val2017" / "b.png").rename(place / "val2017" / "b.PNG")
    (problem,) = said(place)
    folder = place / "val2017"
    assert problem.endswith(f"(expected {folder / 'b.png'}, found {folder / 'b.PNG'})")


def test_voc_names_pictures_with_any_capitals(tmp_path: Path) -> None:
    expected = boxes(voc(tmp_path))
    (tmp_path / "JPEGImages" / "a.png").rename(tmp_path / "JPEGImages" / "A.PNG")
    found = read_set(tmp_path)
    assert found.findings == ()
    assert {each.name.lower(): tuple(box[:5] for box in each.boxes) for each in found.pictures} == (
        expected
    )
