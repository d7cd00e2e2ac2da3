from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.pictures.images import save_image

from .sets import detector, rectangle

DIALECTS = ("pjreddie", "alexeyab", "hank-ai")
BOX = "1 .5 .5 .1 .1\n"


def data_set(folder: Path, labels: Mapping[str, str], *pictures: str) -> Path:
    """Write pictures and their list, and some label files; return the .data file."""
    for picture in pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        save_image(folder / picture, rectangle(9, 9, 1, 1, 5, 5)[0], force=True)
    for name, text in labels.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "list.txt").write_text("".join(f"{each}\n" for each in pictures))
    (folder / "set.data").write_text("train=list.txt\nvalid=list.txt\n")
    return folder / "set.data"


def load(data: Path, dialect: str, *, train: bool = True) -> dn.Dataset:
    return dn.load_dataset(data, detector(dialect), train=train)


def counts(dataset: dn.Dataset) -> list[int]:
    return [len(picture.boxes) for picture in dataset.pictures]


# -- where labels are ----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("picture", "labels"),
    [
        ("obj/strawberry_1.png", "obj/strawberry_1.txt"),
        ("drawings/images1.png", "drawings/images1.txt"),
        ("obj/scan.jpg_1.png", "obj/scan.jpg_1.txt"),
        ("obj/A.PNG", "obj/A.txt"),
        ("obj/a.jpeg", "obj/a.txt"),
    ],
)
def test_labels_beside_a_picture_whose_path_holds_what_is_replaced(
    tmp_path: Path, dialect: str, picture: str, labels: str
) -> None:
    assert counts(load(data_set(tmp_path, {labels: BOX}, picture), dialect)) == [1]


@pytest.mark.parametrize(
    ("picture", "labels"),
    [
        ("train_images/a.png", "train_labels/a.txt"),
        ("obj/strawberry_1.png", "obj/stlabelsberry_1.txt"),
        ("obj/scan.jpg_1.png", "obj/scan.txt_1.txt"),
    ],
)
def test_what_pjreddies_program_reads_is_read(tmp_path: Path, picture: str, labels: str) -> None:
    data = data_set(tmp_path, {labels: BOX}, picture)
    assert counts(load(data, "pjreddie")) == [1]


def test_two_label_files_are_told_of_if_they_differ(tmp_path: Path) -> None:
    files = {"train_images/a.txt": BOX, "train_labels/a.txt": BOX}
    data = data_set(tmp_path, files, "train_images/a.png")
    assert counts(load(data, "pjreddie")) == [1]
    (tmp_path / "train_labels/a.txt").write_text(2 * BOX)
    message = (
        r"list\.txt: 1 of 1 picture has two label files that differ: .*/train_images/a\.txt is "
        r"used here, pjreddie/darknet on the CPU uses .*/train_labels/a\.txt"
    )
    with pytest.warns(dn.DarknetWarning, match=message):
        assert counts(load(data, "pjreddie")) == [1]
    assert counts(load(data, "alexeyab")) == [1]  # whose program reads that file only


@pytest.mark.parametrize(
    ("dialect", "picture", "labels"),
    [
        ("alexeyab", "set/images/a.png", "set/labels/a.txt"),
        ("alexeyab", "raw/a.png", "labels/a.txt"),
        ("hank-ai", "JPEGImages/a.png", "labels/a.txt"),
        ("hank-ai", "images/val2017/a.png", "labels/val2017/a.txt"),
        ("pjreddie", "images/a.png", "images/a.txt"),
        ("pjreddie", "raw/set/images/a.png", "raw/set/labels/a.txt"),
        ("pjreddie", "obj/a.png", "obj/a.png.txt"),
    ],
)
def test_labels_where_another_program_looks_are_read_and_told_of(
    tmp_path: Path, dialect: str, picture: str, labels: str
) -> None:
    data = data_set(tmp_path, {labels: BOX}, picture)
    with pytest.warns(dn.DarknetWarning) as caught:
        assert counts(load(data, dialect)) == [1]
    (message,) = [str(each.message) for each in caught]
    assert message.startswith(f"{tmp_path / 'list.txt'}: 1 of 1 picture has labels where ")
    assert f"does not look: using {tmp_path / labels}, not {tmp_path}" in message


def test_where_the_program_looks_comes_first(tmp_path: Path) -> None:
    files = {"images/a.txt": BOX, "labels/a.txt": 2 * BOX}
    data = data_set(tmp_path, files, "images/a.png")
    assert counts(load(data, "pjreddie")) == [2]
    assert counts(load(data, "alexeyab")) == [1]


def test_a_list_of_windows(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"obj/labels/strawberry.txt": BOX}, "obj/images/strawberry.png")
    (tmp_path / "list.txt").write_text("obj\\images\\strawberry.png\r\n")
    data.write_text("train = .\\list.txt\r\n")
    assert counts(load(data, "pjreddie")) == [1]


# -- pictures without labels ---------------------------------------------------------------------


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_picture_without_labels_has_no_objects(tmp_path: Path, dialect: str, train: bool) -> None:
    data = data_set(tmp_path, {"a.txt": BOX}, "a.png", "b.png", "c.png")
    (tmp_path / "c.txt").write_text("")
    with pytest.warns(dn.DarknetWarning) as caught:
        dataset = load(data, dialect, train=train)
    (message,) = [str(each.message) for each in caught]
    assert message == (
        f"{tmp_path / 'list.txt'}: 1 of 3 pictures has no label file and counts as having no "
        f"objects: {tmp_path / 'b.png'} (looked for {tmp_path / 'b.txt'} or "
        f"{tmp_path / 'b.png.txt'})"
    )
    assert counts(dataset) == [1, 0, 0]
    assert dataset.without_labels == (str(tmp_path / "b.png"),)


def test_the_first_of_many_without_labels_are_named(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"0.txt": BOX}, *(f"{number}.png" for number in range(9)))
    with pytest.warns(dn.DarknetWarning, match=r"8 of 9 .*1\.png, .*2\.png, .*3\.png and 5 more"):
        dataset = load(data, "alexeyab")
    assert len(dataset.without_labels) == 8


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_labels_at_all_are_an_error_that_says_where_they_may_be(
    tmp_path: Path, dialect: str
) -> None:
    data = data_set(tmp_path, {}, "images/a.png", "images/b.png")
    with pytest.raises(dn.DarknetError) as caught:
        load(data, dialect)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'list.txt'}:1: no picture has a label file (expected ")
    for place in ("images/a.txt", "labels/a.txt"):
        assert str(tmp_path / place) in message
    assert message.endswith("; each line is 'class x y w h'; an empty file means no objects")
    (tmp_path / "images/a.xml").write_text("<annotation/>")
    with pytest.raises(
        dn.DarknetError, match=r"found .*/images/a\.xml\); give the folder of these"
    ):
        load(data, dialect)


# -- lines that are not as they must be ----------------------------------------------------------

ODD = {
    "0.txt": BOX,
    "1.txt": "1 0 0 .1 .1\n",
    "2.txt": "1 .5 .5 -.1 .2\n",
    "3.txt": "7 .5 .5 .1 .1\n" + BOX,
    "4.txt": "1 320 240 50 60\n1 .5 .5 0 .1\n",
}
PLACES = [("1.txt", 1), ("2.txt", 1), ("3.txt", 1), ("4.txt", 1), ("4.txt", 2)]


def places(problems: object) -> list[tuple[str, int | None]]:
    assert isinstance(problems, tuple)
    return [(Path(each.where.file).name, each.where.line) for each in problems]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_boxes_that_cannot_be_meant_are_left_out_and_all_named(
    tmp_path: Path, dialect: str
) -> None:
    data = data_set(tmp_path, ODD, *(f"{number}.png" for number in range(5)))
    with pytest.warns(dn.DataWarning) as caught:
        dataset = load(data, dialect)
    (warning,) = [each.message for each in caught]
    assert isinstance(warning, dn.DataWarning)
    assert places(warning.problems) == places(dataset.left_out) == PLACES
    first = f"{tmp_path / '1.txt'}:1: the box is at 0 0"
    assert str(warning) == f"{tmp_path / 'list.txt'}: 5 boxes are ignored; the first: {first}"
    assert counts(dataset) == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_lines_that_are_not_boxes_are_refused_with_all_that_is_odd(
    tmp_path: Path, dialect: str
) -> None:
    files = ODD | {"5.txt": "1, .5, .5, .1, .1\n", "6.txt": f"{BOX}dog .5 .5 .1 .1\n"}
    data = data_set(tmp_path, files, *(f"{number}.png" for number in range(7)))
    with pytest.raises(dn.DataError) as caught:
        load(data, dialect)
    error = caught.value
    assert places(error.problems) == [*PLACES, ("5.txt", 1), ("6.txt", 2)]
    assert str(error) == (
        f"{tmp_path / 'list.txt'}: 7 lines of label files cannot be used; the first: "
        f"{tmp_path / '1.txt'}:1: the box is at 0 0"
    )


def test_one_line_is_the_message(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"0.txt": BOX, "1.txt": "1 9 9 .1 .1\n"}, "0.png", "1.png")
    with pytest.warns(
        dn.DataWarning,
        match=r"1\.txt:1: the box is outside the picture .*; the box "
        r"is ignored$",
    ):
        load(data, "alexeyab")
    (tmp_path / "1.txt").write_text("1 9 9 .1\n")
    with pytest.raises(dn.DataError, match=r"/1\.txt:1: not a box .*found '1 9 9 \.1'\)$"):
        load(data, "alexeyab")


def test_labels_of_which_none_counts_are_refused(tmp_path: Path) -> None:
    files = {"0.txt": "1 320 240 50 60\n", "1.txt": "1 32 24 5 6\n", "2.txt": ""}
    data = data_set(tmp_path, files, "0.png", "1.png", "2.png")
    with pytest.raises(dn.DataError, match=r"2 lines of label files cannot be used"):
        load(data, "alexeyab")


def test_a_label_file_that_cannot_be_read_is_named_with_the_others(tmp_path: Path) -> None:
    files = {"0.txt": "<html>", "1.txt": "no box\n"}
    data = data_set(tmp_path, files, "0.png", "1.png")
    with pytest.raises(dn.DataError) as caught:
        load(data, "alexeyab")
    assert places(caught.value.problems) == [("0.txt", None), ("1.txt", 1)]


def test_a_picture_that_is_listed_twice_is_told_of_once(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"0.txt": BOX, "1.txt": "1 9 9 1 1\n"}, "0.png", "1.png", "1.png")
    with pytest.warns(dn.DataWarning) as caught:
        dataset = load(data, "alexeyab")
    assert len(caught) == 1
    assert len(dataset.left_out) == 1


def test_more_boxes_than_there_is_room_for_are_told_of(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"0.txt": 5 * BOX}, "0.png")
    message = r"list\.txt: a picture has 5 boxes; only max=4 of them are used"
    with pytest.warns(dn.DarknetWarning, match=message):
        assert counts(load(data, "alexeyab")) == [5]


def test_good_labels_cause_no_warning(tmp_path: Path) -> None:
    data = data_set(tmp_path, {"images/0.txt": BOX, "labels/0.txt": BOX}, "images/0.png")
    for dialect in DIALECTS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(data, dialect)
