"""One object from files to detections: any form of picture, any thread, any process."""

from __future__ import annotations

import copy
import gc
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from tests.support.builders import cfg_text, weights_bytes
from tests.support.paths import FIXTURES

TINY = FIXTURES / "tiny" / "tiny"
PNGS = sorted((FIXTURES / "preprocess").glob("*.png"))
PICTURE = FIXTURES / "preprocess" / "gradient_31x17.png"
NAMES = ("left shoe", "right shoe")
# What a call would leave, its input alone, has 48 KiB; Python's own caches move by some.
LEAST_GROWTH = 48 * 1024


def detector(**options: Any) -> dn.Detector:
    return dn.Detector(TINY, **{"threshold": 0.7} | options)


def by_steps(path: Path, **options: Any) -> list[dn.Detection]:
    """What the library finds, step by step."""
    model = dn.load(TINY)
    im = dn.load_image(path)
    x = dn.prepare(im, model)
    options = {"threshold": 0.7} | options
    (found,) = dn.detections(model, x, image_sizes=im.shape[1:], **options)
    return found


def test_it_finds_what_the_steps_find() -> None:
    found = detector()(PICTURE)
    assert found == by_steps(PICTURE)
    assert len(found) > 3
    assert found[0].label in ("0", "1")
    assert detector(threshold=None, nms=0)(PICTURE) == by_steps(PICTURE, threshold=None, nms=0)


def test_files_names_and_dialect_are_given_in_any_way(tmp_path: Path) -> None:
    file = tmp_path / "two.names"
    file.write_text("\n".join(NAMES))
    expected = by_steps(PICTURE, names=NAMES)
    assert {each.label for each in expected} <= set(NAMES)
    assert detector(names=file)(PICTURE) == detector(names=str(file))(PICTURE) == expected
    assert detector(names=list(NAMES))(PICTURE) == expected
    pair = dn.Detector(f"{TINY}.cfg", f"{TINY}.weights", threshold=0.7, names=NAMES)
    assert pair(PICTURE) == expected
    model = dn.load(TINY)
    assert dn.Detector(model, threshold=0.7, names=NAMES)(PICTURE) == expected
    other = detector(dialect="alexeyab")
    assert other.model.dialect == dn.ALEXEYAB
    assert other(PICTURE) != detector()(PICTURE)


def test_how_a_picture_is_fitted() -> None:
    model = dn.load(TINY)
    im = dn.load_image(PICTURE)
    for fit in ("letterbox", "stretch"):
        (expected,) = dn.detections(
            model,
            dn.prepare(im, model, fit),
            image_sizes=im.shape[1:],
            threshold=0.7,
            letterbox=fit == "letterbox",
        )
        assert detector(fit=fit)(PICTURE) == expected


def test_each_form_of_a_picture_gives_the_same() -> None:
    find = detector()
    expected = find(PICTURE)
    with Image.open(PICTURE) as picture:
        levels = np.asarray(picture.convert("RGB"))
        forms = [str(PICTURE), PICTURE.read_bytes(), levels, dn.load_image(PICTURE), picture]
        assert [find(each) for each in forms] == [expected] * 5
        assert find(forms) == find(tuple(forms)) == [expected] * 5
    backwards = levels[:, :, ::-1]
    assert find(backwards, order="bgr") == expected
    assert find([backwards, PICTURE], order="bgr") == [expected] * 2
    assert find(backwards) != expected
    assert find([]) == []


def test_a_list_of_many_is_as_one_after_the_other() -> None:
    find = detector()
    pictures = [PNGS[number % len(PNGS)] for number in range(20)]
    assert find(pictures) == [find(each) for each in pictures]


def test_a_grey_net_takes_colours() -> None:
    head = "[yolo] mask=0 num=1 classes=2 anchors=4,4"
    cfg = cfg_text("[convolutional] filters=7 size=1 activation=linear", head, channels=1)
    weights = weights_bytes(cfg)
    find = dn.Detector(cfg, weights, threshold=0.1, nms=0)
    expected = find(PICTURE)
    assert expected
    with Image.open(PICTURE) as picture:
        assert find(np.asarray(picture.convert("RGB"))) == expected


# -- threads, processes, memory ----------------------------------------------------------------


def test_four_threads_find_what_one_does(engine: str) -> None:
    expected = [detector(engine=engine)(each) for each in PNGS]
    find = detector(engine=engine)  # which the threads load
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(find, PNGS)) == expected


def test_it_loads_once_and_not_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(*arguments: Any, **options: Any) -> dn.Model:
        loaded.append(1)
        return dn.load(*arguments, **options)

    monkeypatch.setattr("darknet_bn.engines.predictor.load", load)
    find = detector()
    assert repr(find) == "<Detector of tiny, in numpy>"
    assert not loaded
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(find, PNGS))
    assert loaded == [1]
    assert find.session.engine.startswith("numpy ")


def test_what_is_pickled_is_small_and_finds_the_same(engine: str) -> None:
    find = detector(engine=engine, names=NAMES, fit="stretch", nms=0.3, dialect="alexeyab")
    expected = find(PICTURE)
    content = pickle.dumps(find)
    assert len(content) < 10_000
    for again in (pickle.loads(content), copy.copy(find), copy.deepcopy(find)):
        assert again(PICTURE) == expected
        assert again.session is not find.session
        assert pickle.dumps(again) == content


def test_the_engine_of_the_environment_is_that_of_where_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    monkeypatch.setenv("DARKNET_BN_ENGINE", "onnxruntime")
    find = detector()
    content = pickle.dumps(find)
    monkeypatch.delenv("DARKNET_BN_ENGINE")
    for each in (find, pickle.loads(content)):
        assert each.session.engine.startswith("onnxruntime ")
    assert find(PICTURE) == pytest.approx(find(PICTURE))


def test_calls_do_not_grow_memory(engine: str) -> None:
    assert growth(engine, 50) < LEAST_GROWTH


@pytest.mark.exhaustive
def test_hundreds_of_calls_do_not_either() -> None:
    assert growth("numpy", 500) < LEAST_GROWTH


def growth(engine: str, calls: int) -> int:
    """How many bytes of Python's memory there are after some calls that were not before."""
    find = detector(engine=engine)
    with Image.open(PICTURE) as picture:
        levels = np.asarray(picture.convert("RGB"))
    for _ in range(5):
        find(levels)
        find([levels, levels])
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(5):
            find(levels)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(calls // 2):
            find(levels)
            find([levels])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


# -- engines -----------------------------------------------------------------------------------


def test_every_engine_finds_the_same(engine: str) -> None:
    ours, theirs = detector(engine="numpy"), detector(engine=engine)
    for one, other in zip(ours(PNGS), theirs(PNGS), strict=True):
        assert [each.label for each in other] == [each.label for each in one]
        for a, b in zip(one, other, strict=True):
            # Rounding, as in test_sessions.py.
            assert b.box == pytest.approx(a.box, abs=2e-5)
            assert b.probability == pytest.approx(a.probability, abs=2e-5)


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tensorrt"}, "unknown engine"),
        ({"threshold": 1.5}, r"the threshold is out of range \(expected 0 to 1, found 1.5\)"),
        ({"nms": -1}, "the threshold of nms is out of range"),
        ({"fit": "crop"}, "unknown way to fit a picture .*expected letterbox, stretch"),
    ],
    ids=["engine", "threshold", "nms", "fit"],
)
def test_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message):
        detector(**options)


def test_what_cannot_be_loaded_is_said_at_the_first_use(tmp_path: Path) -> None:
    with pytest.raises(dn.CfgError, match="there is no such model"):
        dn.Detector(tmp_path / "nothing")(PICTURE)
    with pytest.raises(dn.DarknetError, match=r"names: 1 name for 2 classes; without names"):
        detector(names=["one"])(PICTURE)
    classes = FIXTURES / "layers" / "avgpool_softmax" / "model"
    with pytest.raises(dn.DarknetError, match="no detection head"):
        dn.Detector(classes)(PICTURE)
    with pytest.raises(dn.DarknetError, match="the model already has its weights"):
        dn.Detector(dn.load(TINY), f"{TINY}.weights")


def test_more_names_than_classes_are_warned_of_once() -> None:
    find = detector(names=("a", "b", "c"))
    with pytest.warns(dn.DarknetWarning, match="3 names for 2 classes") as warned:
        find([PICTURE, PICTURE])
        find(PICTURE)
    assert len(warned) == 1


def test_a_bad_picture_of_a_list_is_named() -> None:
    find = detector()
    with pytest.raises(dn.ImageError, match=r"^nothing\.png: pictures\[1\]: cannot be read"):
        find([PICTURE, "nothing.png"])
    pictures: list[Any] = [PICTURE] * 19
    pictures[17], pictures[18] = np.zeros((2, 2)), None
    with pytest.raises(dn.ImageError, match=r"^pictures\[17\]: the array is not a picture"):
        find(pictures)
    with pytest.raises(dn.ImageError, match=r"^nothing\.png: cannot be read"):
        find("nothing.png")
    with pytest.raises(dn.DarknetError, match="unknown order of channels"):
        find([], order="gbr")  # type: ignore[call-overload]  # on purpose


def test_a_strip_of_which_nothing_is_left(tmp_path: Path) -> None:
    strip = np.zeros((1, 4000, 3), np.uint8)
    dn.save_image(tmp_path / "strip.png", np.zeros((3, 1, 4000), np.float32))
    for form in (strip, tmp_path / "strip.png"):
        with pytest.raises(dn.ImageError, match="would have no pixels"):
            detector()(form)


def test_floats_that_are_levels_are_refused() -> None:
    im = np.round(255 * dn.load_image(PICTURE))
    with pytest.raises(dn.ImageError, match="levels from 0 to 255"):
        detector()(im)
