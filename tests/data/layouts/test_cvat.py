"""CVAT's own XML: every shape that has an area becomes the upright box around it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.data.layouts.find import find_layout, read_set

from .places import cvat_images

META = "<meta><job><labels><label><name>ant</name></label></labels></job></meta>"


def file_with(
    folder: Path, *shapes: str, meta: str = META, size: str = 'width="100" height="50"'
) -> Path:
    path = folder / "annotations.xml"
    image = f'<image id="3" name="sub\\a.png" {size}>{"".join(shapes)}</image>'
    path.write_text(f"<annotations>{meta}{image}</annotations>")
    return path


def sides(place: Path) -> list[tuple[float, ...]]:
    """Left, top, right and bottom of each box in pixels."""
    (picture,) = read_set(place).pictures
    return [
        (
            (each.x - each.w / 2) * 100,
            (each.y - each.h / 2) * 50,
            (each.x + each.w / 2) * 100,
            (each.y + each.h / 2) * 50,
        )
        for each in picture.boxes
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('<box label="ant" xtl="1e1" ytl="5" xbr="30.5" ybr="25"/>', (10, 5, 30.5, 25)),
        ('<box label="ant" xtl="10" ytl="5" xbr="30" ybr="15" rotation="90"/>', (15, 0, 25, 20)),
        (
            '<box label="ant" xtl="10" ytl="10" xbr="30" ybr="30" rotation="45.0"/>',
            (20 - 200**0.5, 20 - 200**0.5, 20 + 200**0.5, 20 + 200**0.5),
        ),
        ('<polygon label="ant" points="5,6;20,7.5;9,30"/>', (5, 6, 20, 30)),
        ('<ellipse label="ant" cx="40" cy="20" rx="10" ry="5"/>', (30, 15, 50, 25)),
        ('<ellipse label="ant" cx="40" cy="20" rx="10" ry="5" rotation="90"/>', (35, 10, 45, 30)),
        ('<mask label="ant" left="3" top="4" width="5" height="6" rle="1, 2"/>', (3, 4, 8, 10)),
    ],
)
def test_the_box_around_a_shape(shape: str, expected: tuple[float, ...], tmp_path: Path) -> None:
    (found,) = sides(file_with(tmp_path, shape))
    assert found == pytest.approx(expected, abs=1e-10)  # doubles of at most 100 pixels


def test_the_box_around_a_turned_ellipse_touches_it(tmp_path: Path) -> None:
    shape = '<ellipse label="ant" cx="50" cy="25" rx="20" ry="8" rotation="30"/>'
    ((left, top, right, bottom),) = sides(file_with(tmp_path, shape))
    turn = math.radians(30)
    rim = [
        (
            50 + 20 * math.cos(t) * math.cos(turn) - 8 * math.sin(t) * math.sin(turn),
            25 + 20 * math.cos(t) * math.sin(turn) + 8 * math.sin(t) * math.cos(turn),
        )
        for t in (math.tau * step / 20_000 for step in range(20_000))
    ]
    # Between two of so many points, the rim is at most 20 * (tau / 40 000) ** 2 / 2 further out.
    assert min(x for x, _ in rim) == pytest.approx(left, abs=1e-6)
    assert max(x for x, _ in rim) == pytest.approx(right, abs=1e-6)
    assert min(y for _, y in rim) == pytest.approx(top, abs=1e-6)
    assert max(y for _, y in rim) == pytest.approx(bottom, abs=1e-6)


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    shapes = ('<points label="ant" points="1,2"/>', '<tag label="ant"/>', '<tag label="ant"/>')
    found = read_set(file_with(tmp_path, *shapes))
    assert found.pictures[0].boxes == ()
    assert found.notes == ("left out, since they have no area: 1 points, 2 tag",)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (
            '<box label="ant" xtl="1" ytl="2" xbr="3"/>',
            "box 1: not a box (expected its coordinates)",
        ),
        ('<box label="ant" xtl="1" ytl="2" xbr="3" ybr="nan"/>', "box 1: not a box (expected its"),
        ('<polygon label="ant" points="1,2;3,4"/>', "polygon 1: not a polygon (expected its"),
        ('<polygon label="ant" points="1,2;3,4;5"/>', "polygon 1: not a polygon (expected its"),
        (
            '<box label="bee" xtl="1" ytl="2" xbr="3" ybr="4"/>',
            "box 1: the class is not among the labels of the task (found 'bee')",
        ),
        ('<box label="ant" xtl="5" ytl="2" xbr="3" ybr="4"/>', "box 1: the box has no size"),
    ],
)
def test_shapes_that_cannot_be_used(shape: str, problem: str, tmp_path: Path) -> None:
    path = file_with(tmp_path, shape)
    missing, found = read_set(path).findings
    assert (missing.kind, found.part) == ("picture", "train")
    assert str(found.error).startswith(f"{path}: image 3, {problem}")


def test_a_picture_without_a_size(tmp_path: Path) -> None:
    shape = '<box label="ant" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    found = read_set(file_with(tmp_path, shape, size='width="0" height="9"')).findings
    assert [each.kind for each in found] == ["picture", "dimensions"]


def test_labels_of_a_skeleton_are_no_classes_and_a_task_may_have_none(tmp_path: Path) -> None:
    point = "<label><name>leg</name><parent>ant</parent></label>"
    shapes = [f'<box label="{name}" xtl="1" ytl="2" xbr="3" ybr="4"/>' for name in ("bee", "ant")]
    path = file_with(tmp_path, *shapes, meta=META.replace("</labels>", f"{point}</labels>"))
    assert read_set(path).names == ("ant",)
    path = file_with(tmp_path, *shapes, meta="")
    found = read_set(path)
    assert (found.names, [box.number for box in found.pictures[0].boxes]) == (
        ("ant", "bee"),
        [1, 0],
    )
    assert found.notes == ("classes are numbered in the order of the alphabet",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!DOCTYPE x [<!ENTITY a 'a'>]><annotations>&a;</annotations>", "the file has a DOCTYPE"),
        ("<annotations><image>", "this is not XML: no element found"),
        ("<x><annotations></annotations></x>", "this is not a file of CVAT"),
    ],
)
def test_files_that_are_none_of_cvats(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(text)
    with pytest.raises(dn.DarknetError) as caught:
        read_set(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


def test_tracks_of_a_video_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text("<annotations><track id='0'/></annotations>")
    with pytest.raises(dn.DarknetError, match="the tracks of a video, and no pictures; export the"):
        read_set(path)


def test_the_file_may_have_another_name_if_it_is_alone(tmp_path: Path) -> None:
    place = cvat_images(tmp_path)
    (place / "annotations.xml").rename(place / "task 7.xml")
    found = find_layout(place)
    assert found is not None
    assert (found.name, found.file) == ("CVAT", str(place / "task 7.xml"))
    assert read_set(place / "task 7.xml").findings == ()


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    path = file_with(tmp_path)
    path.write_text(path.read_text().replace("sub\\a.png", "../../a.png"))
    labelled = read_set(path)
    assert [each.kind for each in labelled.findings] == ["name", "picture"]
    assert labelled.pictures[0].name == "a.png"
