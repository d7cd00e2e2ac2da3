"""What is written is read back equal, and nothing that is there is lost."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from PIL import Image

import darknet_bn as dn
from darknet_bn.data.layouts.find import read_set
from darknet_bn.data.layouts.write import TO, write_set

from .places import LAYOUTS, NAMES, coco, darknet, voc

SIZES = ((1, 1), (37, 23), (640, 480), (1333, 777), (4096, 3000))


def random_set(folder: Path, decimals: int) -> dict[str, str]:
    """Write a set of Darknet's, and return its label files; some boxes lead out of the picture."""
    rng = random.Random(decimals)
    texts = {}
    (folder / "in").mkdir(parents=True)
    for number in range(20):
        Image.new("L", SIZES[number % len(SIZES)]).save(folder / f"in/{number}.png")
        rows = []
        for _ in range(rng.randrange(5)):
            sides = [f"{rng.uniform(0.001, 0.999):.{decimals}f}" for _ in range(4)]
            trimmed = [side.rstrip("0").rstrip(".") for side in sides]
            rows.append(f"{rng.randrange(3)} {' '.join(trimmed)}\n")
        texts[f"{number}"] = "".join(rows)
        (folder / f"in/{number}.txt").write_text(texts[f"{number}"])
    (folder / "train.txt").write_text("".join(f"in/{number}.png\n" for number in range(20)))
    (folder / "set.names").write_text("zebra\nant\nmoth\n")
    (folder / "set.data").write_text("classes=3\ntrain=train.txt\nnames=set.names\n")
    return texts


@pytest.mark.parametrize("decimals", [3, 6, 10])
@pytest.mark.parametrize(
    "chain", [("coco", "voc"), ("voc", "coco"), ("yolo", "voc", "coco")], ids="-".join
)
def test_labels_come_back_equal_to_the_letter(
    tmp_path: Path, chain: tuple[str, ...], decimals: int
) -> None:
    texts = random_set(tmp_path, decimals)
    place = tmp_path / "set.data"
    for step, to in enumerate((*chain, "darknet")):
        labelled = read_set(place)
        assert labelled.names == ("zebra", "ant", "moth")
        write_set(labelled, tmp_path / f"{step}", to)
        place = tmp_path / f"{step}"
    found = {each.stem: each.read_text() for each in (place / "train").glob("*.txt")}
    assert found == texts


@pytest.mark.parametrize("first", [0, 1])
def test_corners_of_voc_are_pixels_counted_from_one_unless_asked(
    tmp_path: Path, first: int
) -> None:
    write_set(read_set(darknet(tmp_path)), tmp_path / "out", "voc", first=first)
    text = (tmp_path / "out/Annotations/a.xml").read_text()
    # The second box is the whole picture of 40 x 20 pixels.
    *_, whole = text.split("<bndbox>")
    corners = "".join(whole.partition("</bndbox>")[0].split())
    assert corners == (f"<xmin>{first}</xmin><ymin>{first}</ymin><xmax>40</xmax><ymax>20</ymax>")
    again = read_set(tmp_path / "out", first=first)
    assert [box[:4] for box in again.pictures[0].boxes][1] == (0.5, 0.5, 1, 1)


@pytest.mark.parametrize(("name", "to"), sorted(itertools.product(LAYOUTS, TO)))
def test_every_layout_becomes_every_other(tmp_path: Path, name: str, to: str) -> None:
    make, _, has_valid = LAYOUTS[name]
    labelled = read_set(make(tmp_path / "set"))
    done = write_set(labelled, tmp_path / "out", to)
    assert Path(done.file).exists()
    assert (done.pictures, done.boxes, done.copied, done.notes) == (2, 3, 2, ())
    again = read_set(tmp_path / "out")
    assert (again.findings, again.names) == ((), NAMES)
    assert again.parts() == (("train", "valid") if has_valid else ("train",))
    for one, other in zip(labelled.pictures, again.pictures, strict=True):
        assert Path(one.path).read_bytes() == Path(other.path).read_bytes()
        for box, written in zip(one.boxes, other.boxes, strict=True):
            assert written.number == box.number
            assert written[:4] == pytest.approx(box[:4], abs=1e-10)  # the decimals written


def test_labels_alone_can_be_written(tmp_path: Path) -> None:
    labelled = read_set(voc(tmp_path / "set"))
    done = write_set(labelled, tmp_path / "out", "coco", pictures="none")
    assert done.copied == 0
    assert not list((tmp_path / "out").rglob("*.png"))


def test_pictures_can_be_second_names(tmp_path: Path) -> None:
    labelled = read_set(voc(tmp_path / "set"))
    write_set(labelled, tmp_path / "out", "coco", pictures="link")
    assert (tmp_path / "out/train/a.png").samefile(labelled.pictures[0].path)


def test_a_folder_with_files_is_not_written_into(tmp_path: Path) -> None:
    labelled = read_set(coco(tmp_path / "set"))
    (tmp_path / "out").mkdir()
    write_set(labelled, tmp_path / "out", "darknet")
    before = sorted(tmp_path.rglob("*"))
    for place in ("out", "set"):
        with pytest.raises(dn.DarknetError, match="the folder is not empty; choose the name of"):
            write_set(labelled, tmp_path / place, "yolo")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    place = darknet(tmp_path / "set")
    labelled = read_set(place)
    Path(labelled.pictures[1].path).write_bytes(b"no picture")
    with pytest.raises(dn.DataError, match="the size of the picture is not known"):
        write_set(labelled, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
    Path(labelled.pictures[1].path).unlink()
    (tmp_path / "file").write_text("")
    for folder, problem in (("file", "this is not a folder"), ("no/where", "does not exist")):
        with pytest.raises(dn.DarknetError, match=problem):
            write_set(labelled, tmp_path / folder, "darknet")


def test_what_a_layout_cannot_hold_is_told(tmp_path: Path) -> None:
    place = coco(tmp_path / "set")
    file = place / "annotations/instances_train2017.json"
    text = file.read_text().replace('"bbox"', '"iscrowd": 1, "bbox"', 1)
    file.write_text(text)
    labelled = read_set(place)
    assert [box.mark for box in labelled.pictures[0].boxes] == ["crowd", ""]
    done = write_set(labelled, tmp_path / "dark", "darknet")
    assert (done.boxes, done.notes) == (2, ("1 box marked as crowd left out",))
    done = write_set(labelled, tmp_path / "voc", "voc")
    assert (done.boxes, done.notes) == (3, ("1 crowd marked as difficult",))
    again = read_set(tmp_path / "voc")
    assert [box.mark for box in again.pictures[0].boxes] == ["difficult", ""]
    write_set(labelled, tmp_path / "coco", "coco")
    again = read_set(tmp_path / "coco")
    assert [box.mark for box in again.pictures[0].boxes] == ["crowd", ""]


def test_pictures_whose_labels_would_be_one_file_are_refused(tmp_path: Path) -> None:
    place = darknet(tmp_path / "set")
    Image.new("RGB", (4, 4)).save(tmp_path / "set/set/a.jpg")
    (tmp_path / "set/train.txt").write_text("set/a.png\nset/a.jpg\n")
    with pytest.raises(dn.DarknetError, match="two pictures would have one label file"):
        write_set(read_set(place), tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()
