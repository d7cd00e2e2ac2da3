from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import darknet_bn as dn
from darknet_bn.data import Dataset, PictureBoxes, PictureClasses, load_dataset
from darknet_bn.layers.shape import Shape
from darknet_bn.pictures.images import save_image
from darknet_bn.work.threads import Workers

from .sets import GRID, YOLO, H, W, classifier, detector, edges, rectangle, red

F32 = npt.NDArray[np.float32]
BOXES = ("1 0.5 0.5 0.4 0.5\n", "0 0.25 0.5 0.2 0.2\n2 0.7 0.5 0.2 0.2\n", "")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Three pictures, two of them to train with, with labels where all programs find them."""
    for number, text in enumerate(BOXES):
        write(tmp_path, {f"labels/{number}.txt": text, f"JPEGImages/{number}.txt": text})
        save_image(tmp_path / f"JPEGImages/{number}.png", rectangle(50, 90, 27, 13, 63, 38)[0])
    write(
        tmp_path,
        {
            "train.txt": "JPEGImages/0.png\nJPEGImages/1.png\n",
            "valid.txt": "JPEGImages/2.png\nJPEGImages/0.png\n",
            "x.data": "train=train.txt\nvalid=valid.txt\nclasses=3\n",
        },
    )
    return tmp_path / "x.data"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat", "dog", "cat")):
        (tmp_path / name).mkdir(exist_ok=True)
        save_image(tmp_path / f"{name}/{number}.png", rectangle(50, 60, 10, 10, 40, 40)[0])
    write(
        tmp_path,
        {
            "train.txt": "cat/0.png\ndog/1.png\ncat/2.png\n",
            "labels.txt": "dog\ncat\n.png\n",
            "x.names": "Dog\nCat\n",
            "x.data": "train=train.txt\nvalid=train.txt\nlabels=labels.txt\nnames=x.names\n",
        },
    )
    return tmp_path / "x.data"


# -- boxes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab", "hank-ai"])
def test_pictures_with_boxes(boxes: Path, dialect: str) -> None:
    model = detector(dialect)
    data = load_dataset(boxes, model, train=True)
    assert isinstance(data, PictureBoxes)
    assert data.describe() == "train.txt: 2 pictures, 0 of them without boxes; 3 boxes of 3 classes"
    x, truth = data.batch([1, 0, 1], np.random.default_rng(0), shape=model.network.input)
    assert x.shape == (3, 3, H, W)
    assert truth.shape == (3, 4, 5)
    assert x.dtype == truth.dtype == np.float32
    assert [np.count_nonzero(each[:, 0]) for each in truth] == [2, 1, 2]
    assert not np.array_equal(x[0], x[2])  # each time another one


def test_what_the_files_have(boxes: Path) -> None:
    data = load_dataset(boxes, detector(), train=False)
    assert isinstance(data, PictureBoxes)
    assert len(data) == len(data.pictures) == 2
    first, second = data.pictures
    assert first.path.endswith("2.png")
    assert first.boxes.shape == (0, 5)
    assert second.boxes.tolist() == [pytest.approx([0.5, 0.5, 0.4, 0.5, 1])]
    assert np.array_equal(data.load(1), dn.load_image(second.path))


@pytest.mark.parametrize(
    ("dialect", "net"), [("pjreddie", ""), ("alexeyab", ""), ("alexeyab", "letter_box=1")]
)
def test_outside_of_training_pictures_are_as_in_tests(boxes: Path, dialect: str, net: str) -> None:
    model = detector(dialect, net)
    data = load_dataset(boxes, model, train=False)
    x, truth = data.batch([0, 1], np.random.default_rng(0), shape=model.network.input)
    again, _ = data.batch([0, 1], np.random.default_rng(1), shape=model.network.input)
    assert np.array_equal(x, again)
    im = dn.load_image(data.pictures[1].path)
    assert np.array_equal(x[1], dn.prepare(im, model)[0])
    assert not truth[0].any()
    # Corner pixels are on corner pixels: off by up to a pixel of the picture, seen in whole pixels.
    np.testing.assert_allclose(edges(truth[1, 0]), red(x[1]), rtol=0, atol=1 / H + 1 / 50)


def test_a_grid(boxes: Path) -> None:
    model = detector(head=GRID)
    data = load_dataset(boxes, model, train=False)
    _, truth = data.batch([1], np.random.default_rng(0), shape=model.network.input)
    assert truth.shape == (1, 2 * 2 * 8)
    assert truth.reshape(2, 2, 8)[1, 1].tolist() == pytest.approx([1, 0, 1, 0, 0, 0, 0.4, 0.5])


def test_a_part_of_a_batch_is_what_the_whole_has_there(boxes: Path) -> None:
    model = detector(net="hue=.1")
    data, shape = load_dataset(boxes, model, train=True), model.network.input
    x, truth = data.batch([0, 1, 0, 1], np.random.default_rng(5), shape=shape)
    (boxes.parent / "JPEGImages/0.png").unlink()  # the others are not read
    part = data.part_of_batch([0, 1, 0, 1], np.random.default_rng(5), [1, 3], shape=shape)
    assert np.array_equal(part[0][[1, 3]], x[[1, 3]])
    assert np.array_equal(part[1][[1, 3]], truth[[1, 3]])
    assert not part[0][[0, 2]].any()
    assert not part[1][[0, 2]].any()


def test_the_input_may_change_its_size(boxes: Path) -> None:
    data = load_dataset(boxes, detector(), train=True)
    x, _ = data.batch([0], np.random.default_rng(0), shape=Shape(3, 64, 96))
    assert x.shape == (1, 3, 64, 96)


def test_grey_nets_get_grey_pictures(boxes: Path) -> None:
    text = detector(net="hue=.1 exposure=1.5").cfg.to_bytes().replace(b"channels=3", b"channels=1")
    model = dn.load(text, None, dialect="alexeyab")
    data = load_dataset(boxes, model, train=True)
    assert data.batch([0], np.random.default_rng(0), shape=Shape(1, H, W))[0].shape == (1, 1, H, W)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread only."""
    single = Workers(1)
    monkeypatch.setattr("darknet_bn.data.pictures.workers", lambda: single)


def test_an_example_depends_neither_on_others_nor_on_threads(
    boxes: Path, request: pytest.FixtureRequest
) -> None:
    model = detector(net="hue=.1 mosaic=1")
    data = load_dataset(boxes, model, train=True)

    def batch(*indices: int) -> tuple[F32, F32]:
        return data.batch(list(indices), np.random.default_rng(5), shape=model.network.input)

    x, truth = batch(0, 1, 1, 0, 0, 1)
    for count in (1, 3):
        fewer = batch(*(0, 1, 1)[:count])
        assert np.array_equal(fewer[0], x[:count])
        assert np.array_equal(fewer[1], truth[:count])
    request.getfixturevalue("alone")
    again = batch(0, 1, 1, 0, 0, 1)
    assert np.array_equal(again[0], x)
    assert np.array_equal(again[1], truth)


def test_which_boxes_count_where_there_are_too_many(boxes: Path) -> None:
    lines = [f"{number} .5 .5 .4 .4\n" for number in (0, 0, 0, 0, 1, 2)]
    write(boxes.parent, {"JPEGImages/0.txt": "".join(lines)})
    model = detector()
    with pytest.warns(dn.DarknetWarning, match="a picture has 6 boxes"):
        data = load_dataset(boxes, model, train=True)
    _, truth = data.batch([0] * 20, np.random.default_rng(0), shape=model.network.input)
    assert set(truth[..., 4].ravel().tolist()) == {0, 1, 2}  # by chance


# -- labels that are not as they should be -------------------------------------------------------


def test_another_number_of_classes_is_told_of(boxes: Path) -> None:
    text = boxes.read_text().replace("classes=3", "classes=80")
    boxes.write_text(text)
    with pytest.warns(dn.DarknetWarning, match=r"x\.data: classes: the network has 3 classes, not"):
        load_dataset(boxes, detector(), train=True)


def test_a_damaged_picture_does_not_stop_training(boxes: Path) -> None:
    """It is named once, and the next one is used instead, every time alike."""
    data = load_dataset(boxes, detector(), train=True)
    (boxes.parent / "JPEGImages/1.png").write_bytes(b"no picture")
    with pytest.warns(dn.DarknetWarning) as caught:
        x, truth = data.batch([0, 1], np.random.default_rng(0), shape=Shape(3, H, W))
    (message,) = (str(each.message) for each in caught)
    assert "1.png: not a picture" in message
    assert message.endswith("the next picture is used instead")
    again = data.batch([0, 1], np.random.default_rng(0), shape=Shape(3, H, W))
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(truth, again[1])
    next_one = data.batch([0, 2 % len(data)], np.random.default_rng(0), shape=Shape(3, H, W))
    np.testing.assert_array_equal(x, next_one[0])
    np.testing.assert_array_equal(truth, next_one[1])


def test_where_no_picture_can_be_read_there_is_no_training(boxes: Path) -> None:
    data = load_dataset(boxes, detector(), train=True)
    for picture in data.pictures:
        Path(picture.path).write_bytes(b"no picture")
    with pytest.raises(dn.ImageError, match=r"0\.png: not a picture"):
        data.batch([0, 1], np.random.default_rng(0), shape=Shape(3, H, W))


def test_a_damaged_picture_is_named_where_nothing_is_trained(boxes: Path) -> None:
    data = load_dataset(boxes, detector(), train=False)
    (boxes.parent / "JPEGImages/2.png").write_bytes(b"no picture")
    with pytest.raises(dn.ImageError, match=r"2\.png: not a picture"):
        data.batch([0, 1], np.random.default_rng(0), shape=Shape(3, H, W))


def test_cutmix_is_not_for_boxes(boxes: Path) -> None:
    model = detector(net="cutmix=1")
    with pytest.warns(
        dn.DarknetWarning, match=r"\[net\]: cutmix: this augmentation is not supported"
    ):
        load_dataset(boxes, model, train=True)
    load_dataset(boxes, model, train=False)


def test_a_class_that_is_somewhere(boxes: Path, tmp_path: Path) -> None:
    write(tmp_path, {"x.tree": "a -1\nb -1\nc 1\n", "labels/0.txt": "1 0 0 0 0\n"})
    head = "[region] anchors=1,1 num=1 classes=3 softmax=1 tree=x.tree"
    cfg = tmp_path / "x.cfg"
    cfg.write_bytes(detector("pjreddie").cfg.to_bytes().partition(b"[yolo]")[0])
    cfg.write_text(cfg.read_text() + "\n".join(head.split()) + "\n")
    model = dn.load(cfg, None, dialect="pjreddie")
    data = load_dataset(boxes, model, train=True)
    _, truth = data.batch([0], np.random.default_rng(0), shape=model.network.input)
    assert truth[0, 0].tolist() == [999999] * 4 + [1]


# -- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_pictures_of_classes(classes: Path, dialect: str) -> None:
    model = classifier(dialect, "angle=7 hue=.1 min_crop=40 max_crop=60")
    data: Dataset = load_dataset(classes, model, train=True)
    assert isinstance(data, PictureClasses)
    assert data.describe() == "train.txt: 3 pictures of 2 classes"
    assert [picture.number for picture in data.pictures] == [1, 0, 1]
    x, truth = data.batch([0, 1, 0], np.random.default_rng(0), shape=model.network.input)
    assert x.shape == (3, 3, H, W)
    assert truth.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert not np.array_equal(x[0], x[2])


def test_outside_of_training_the_middle_is_cut_out(classes: Path) -> None:
    model = classifier()
    data = load_dataset(classes, model, train=False)
    x, _ = data.batch([1], np.random.default_rng(0), shape=model.network.input)
    im = dn.load_image(data.pictures[1].path)
    assert np.array_equal(x, dn.prepare(im, model, "crop"))


def test_names_do_where_there_are_no_labels(classes: Path) -> None:
    classes.write_text("train=train.txt\nnames=x.names\n")
    with pytest.raises(dn.DarknetError, match=r"train\.txt:1: the path names no class"):
        load_dataset(classes, classifier(), train=True)
    write(classes.parent, {"x.names": "cat\ndog\n"})
    data = load_dataset(classes, classifier(), train=True)
    assert [picture.number for picture in data.pictures] == [0, 1, 0]


@pytest.mark.parametrize(
    ("data", "outputs", "message"),
    [
        ("train=train.txt", 2, r"x\.data: labels: the file does not name the classes"),
        (
            "train=train.txt\nlabels=labels.txt",
            4,
            r"labels\.txt: there are fewer labels than network",
        ),
    ],
)
def test_what_classes_lack(classes: Path, data: str, outputs: int, message: str) -> None:
    classes.write_text(data)
    with pytest.raises(dn.DarknetError, match=message):
        load_dataset(classes, classifier(classes=outputs), train=True)


def test_what_is_not_done_to_pictures_of_classes(classes: Path) -> None:
    model = classifier(net="mixup=1 blur=1")
    with pytest.warns(dn.DarknetWarning) as caught:
        load_dataset(classes, model, train=True)
    assert [str(each.message).split(":")[1].strip() for each in caught] == ["mixup", "blur"]


def test_nets_that_take_no_pictures(classes: Path) -> None:
    cfg = b"[net]\ninputs=5\n[connected]\noutput=2\nactivation=linear\n[softmax]\n"
    with pytest.raises(dn.ShapeError, match="the network does not take pictures"):
        load_dataset(classes, dn.load(cfg, None), train=True)


# -- a real picture ------------------------------------------------------------------------------


def test_a_photograph(shared: Path, tmp_path: Path) -> None:
    """The dog of Darknet's own picture is black, and stays in its box."""
    save_image(tmp_path / "dog.png", dn.load_image(shared / "images/dog.jpg"))
    write(
        tmp_path,
        {
            "dog.txt": "1 0.2871 0.6641 0.2331 0.5469\n",
            "list.txt": "dog.png\n",
            "x.data": "train=list.txt\n",
        },
    )
    model = detector("pjreddie", head=YOLO)
    data = load_dataset(tmp_path / "x.data", model, train=True)
    x, truth = data.batch([0] * 8, np.random.default_rng(0), shape=Shape(3, 160, 160))
    for im, box in zip(x, truth[:, 0], strict=True):
        left, top, right, bottom = (np.array(edges(box)) * 160).astype(int).tolist()
        inside = im[:, top:bottom, left:right].mean()
        others = [im[:, top:bottom, column : column + 20].mean() for column in range(0, 141, 20)]
        assert inside < 0.75 * np.median(others)
