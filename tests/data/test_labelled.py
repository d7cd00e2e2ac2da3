"""Sets of labels as data sets for a detector."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.labelled import data_file

from .layouts.places import BOXES, LAYOUTS, SIZES, coco, cvat_yolo, darknet, ultralytics, voc
from .sets import classifier, detector

# The sets have two classes, the nets three.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*the network has 3 classes, not 2:darknet_bn.DarknetWarning"
)


def rows(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """x, y, w, h and class of the boxes of a picture."""
    width, height = SIZES[name]
    return np.array(
        [
            (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
                kind,
            )
            for kind, left, top, right, bottom in BOXES[name]
        ],
        np.float32,
    )


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_each_layout_trains_and_validates(tmp_path: Path, name: str) -> None:
    make, _, has_valid = LAYOUTS[name]
    place, model = make(tmp_path / "set"), detector()
    parts = {True: "a", False: "b"} if has_valid else {True: "ab", False: "ab"}
    for train, stems in parts.items():
        dataset = dn.load_dataset(place, model, train=train)
        assert [Path(each.path).stem for each in dataset.pictures] == list(stems)
        for each, stem in zip(dataset.pictures, stems, strict=True):
            np.testing.assert_allclose(each.boxes, rows(stem), atol=1e-6)  # six digits
        x, truth = dataset.batch([0], np.random.default_rng(0), shape=model.network.input)
        assert (x.shape, truth.shape) == ((1, 3, 32, 40), (1, 4, 5))
        assert dataset.left_out == ()


def test_the_names_of_the_model_number_the_classes(tmp_path: Path) -> None:
    place = voc(tmp_path)
    dataset = dn.load_dataset(place, detector(), train=True, names=("moth", "ant", "zebra"))
    assert dataset.pictures[0].boxes[:, 4].tolist() == [1, 2]
    assert list(dataset.class_names) == ["moth", "ant", "zebra"]
    (tmp_path / "labelmap.txt").unlink()
    with pytest.warns(dn.DarknetWarning, match="the network has 3 classes, not 2"):
        dataset = dn.load_dataset(place, detector(), train=True)
    assert list(dataset.class_names) == ["ant", "zebra"]
    assert dataset.notes == ("classes are numbered in the order of the alphabet",)


def test_only_the_errors_of_the_part_that_is_used_count(tmp_path: Path) -> None:
    place = ultralytics(tmp_path)
    (tmp_path / "labels/train/a.txt").write_text("0 .5 .5 .1\n1 .5 .5 0 .1\nx\n")
    dn.load_dataset(place / "data.yaml", detector(), train=False)
    with pytest.raises(dn.DataError, match="2 places of the labels cannot be used") as caught:
        dn.load_dataset(place / "data.yaml", detector(), train=True)
    assert [each.where.line for each in caught.value.problems] == [1, 3]


def test_impossible_boxes_are_left_out_and_named(tmp_path: Path) -> None:
    place = coco(tmp_path) / "annotations/instances_train2017.json"
    facts = json.loads(place.read_text())
    facts["annotations"][0]["bbox"][3] = -1
    place.write_text(json.dumps(facts))
    with pytest.warns(dn.DataWarning, match="annotation 0: the box has no size"):
        dataset = dn.load_dataset(place, detector(), train=True)
    assert len(dataset.left_out) == len(dataset.pictures[0].boxes) == 1


def test_crowds_are_left_out_and_counted(tmp_path: Path) -> None:
    place = coco(tmp_path) / "annotations/instances_train2017.json"
    place.write_text(place.read_text().replace('"bbox"', '"iscrowd": 1, "bbox"', 1))
    with pytest.warns(dn.DarknetWarning, match="1 box left out: marked as crowd or difficult"):
        dataset = dn.load_dataset(place, detector(), train=True)
    assert dataset.pictures[0].boxes[:, 4].tolist() == [0]


def test_missing_pictures_and_labels(tmp_path: Path) -> None:
    place = coco(tmp_path / "coco")
    (place / "val2017/b.png").unlink()
    with pytest.raises(dn.DataError, match="image 7: the picture does not exist"):
        dn.load_dataset(place, detector(), train=False)
    place = ultralytics(tmp_path / "yolo")
    shutil.rmtree(place / "labels")
    with pytest.raises(dn.DarknetError, match=r"a.png: the picture has no label file; an empty"):
        dn.load_dataset(place, detector(), train=True)


def test_a_classifier_does_not_learn_from_boxes(tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match="labels are boxes, but the model is not a detector"):
        dn.load_dataset(voc(tmp_path), classifier(), train=True)


def test_a_folder_with_one_data_file_is_that_file(tmp_path: Path) -> None:
    file = darknet(tmp_path)
    assert data_file(file) == data_file(tmp_path) == str(file)
    assert dn.load_dataset(tmp_path, detector(), train=True).describe().startswith("train.txt: ")
    (tmp_path / "other.data").write_text("")
    assert data_file(tmp_path) is None


def test_an_export_with_a_single_list_can_be_evaluated(tmp_path: Path) -> None:
    place = cvat_yolo(tmp_path)
    text = (place / "obj.data").read_text().replace("valid = data/valid.txt\n", "")
    (place / "obj.data").write_text(text)
    dataset = dn.load_dataset(place, detector(), train=False)
    assert [Path(each.path).stem for each in dataset.pictures] == ["a"]
    assert dataset.notes[-1] == "the set has no part for validation: all of its pictures are used"
    with pytest.raises(dn.DarknetError, match="valid: the list of pictures is not given"):
        dn.load_dataset(place / "obj.data", detector(), train=False)
