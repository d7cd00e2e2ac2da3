"""Columns of pictures in, columns of rows out: the same rows wherever they are computed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.engines import picture_rows
from darknet_bn.predictions.rows import class_row, detection_row
from darknet_bn.work.threads import _OF_PROCESS as workers_of_processes
from darknet_bn.work.threads import threads_given, workers
from tests.support.paths import FIXTURES
from tests.support.pictures import PNGS

TINY = FIXTURES / "tiny" / "tiny"
CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
PATHS = [str(each) for each in PNGS]


def tiny(**options: Any) -> dn.PictureRows:
    return dn.PictureRows(dn.Detector(TINY, threshold=0.7, names=["a", "b"]), **options)


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    values = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def test_a_row_has_what_the_detector_finds() -> None:
    rows, detector = tiny(), dn.Detector(TINY, threshold=0.7, names=["a", "b"])
    found = rows_of(rows({"path": PATHS}))
    expected = [
        detection_row(path, dn.load_image(path).shape[1:], detector(path)) for path in PATHS
    ]
    assert found == expected
    assert sum(len(row["label"]) for row in found) > 5
    assert list(found[0]) == list(rows.form)


def test_a_row_has_what_the_classifier_finds() -> None:
    classifier = dn.Classifier(CLASSIFIER, top=2)
    rows = dn.PictureRows(classifier)
    channels = classifier.model.network.input.c
    expected = [
        class_row(path, dn.load_image(path, channels).shape[1:], classifier(path)) for path in PATHS
    ]
    found = rows_of(rows({"path": PATHS}))
    assert found == expected
    assert {len(row["probability"]) for row in found} == {2}
    assert list(found[0]) == list(rows.form)


def test_contents_are_taken_as_files_are() -> None:
    contents = [Path(path).read_bytes() for path in PATHS]
    expected = tiny()({"path": PATHS})
    assert tiny()({"path": PATHS, "bytes": contents}) == expected
    # As pandas and Ray have them; a content that is absent is read.
    as_arrays = {
        "path": np.array(PATHS, object),
        "bytes": np.array([*contents[:-1], None], object),
    }
    assert tiny()(as_arrays) == expected


def test_a_bad_picture_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("this is a text")
    (tmp_path / "cut.png").write_bytes(Path(PATHS[0]).read_bytes()[:60])
    bad = [tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "none.png", tmp_path]
    found = rows_of(tiny()({"path": [PATHS[0], *bad, PATHS[1]]}))
    good = rows_of(tiny()({"path": PATHS[:2]}))
    assert [found[0], found[-1]] == good
    problems = [row["error"] for row in found[1:-1]]
    assert problems[0].startswith("not a picture, or its header is damaged (expected one of ")
    assert problems[1].startswith("the picture is damaged or cut off: ")
    assert problems[2] == "cannot be read: No such file or directory"
    assert problems[3] == "cannot be read: this is a folder, not a file"
    for row, path in zip(found[1:-1], bad, strict=True):
        assert row["path"] == str(path)
        assert str(tmp_path) not in row["error"]  # the path is in its own column
        assert row["width"] is row["height"] is None
        assert row["left"] == row["label"] == []


def test_a_file_that_is_too_large_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_rows, "_MOST_BYTES", 1 << 20)
    content = Path(PATHS[0]).read_bytes()
    monkeypatch.setattr(picture_rows, "read_file", lambda name, most, error: bytes(most + 1))
    (problem,) = tiny()({"path": ["a.png"]})["error"]
    assert problem == "the file is too large (expected at most 1 MiB)"
    assert tiny()({"path": ["a.png"], "bytes": [content]})["error"] == [None]


def test_too_little_memory_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(picture_rows, "as_planes", fail)
    problem = "there is not enough memory for the picture"
    assert tiny()({"path": PATHS[:1]})["error"] == [problem]


def test_a_model_that_cannot_be_loaded_is_no_pictures_fault(tmp_path: Path) -> None:
    rows = dn.PictureRows(dn.Detector(tmp_path / "none"))
    with pytest.raises(dn.CfgError, match="there is no such model"):
        rows({"path": PATHS})
    assert list(rows.form) == list(tiny().form)  # which is known without it


def test_columns_that_do_not_fit() -> None:
    with pytest.raises(dn.DarknetError) as caught:
        tiny()({"paths": PATHS, "image": PATHS})
    expected = "there is no column path (expected path, and bytes or none, found paths, image)"
    assert str(caught.value) == expected
    with pytest.raises(dn.DarknetError, match="the columns have different lengths"):
        tiny()({"path": PATHS, "bytes": [b""]})
    assert tiny()({"path": []}) == {name: [] for name in tiny().form}


def test_relative_paths_are_relative_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(PATHS[0])
    assert tiny()({"path": [path.name]})["error"] != [None]
    found = tiny(folder=path.parent)({"path": [path.name]})
    assert found["error"] == [None]
    assert found["path"] == [path.name]


def test_a_copy_does_the_same() -> None:
    rows = tiny(folder=FIXTURES)
    before = len(pickle.dumps(rows))
    expected = rows({"path": PATHS})
    assert len(pickle.dumps(rows)) == before < 2000  # it does not take along what it has loaded
    again = pickle.loads(pickle.dumps(rows))
    assert again({"path": PATHS}) == expected
    assert repr(again) == "<PictureRows of <Detector of tiny, in numpy>>"


@pytest.fixture
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the limit of this process end with the test."""
    monkeypatch.setenv("DARKNET_BN_THREADS", "")
    yield
    workers_of_processes.clear()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_rows(threads: int, threads_as_before: None) -> None:
    expected = tiny()({"path": PATHS})
    rows = tiny(threads=threads)
    assert threads_given() is None  # where it is made nothing changes
    assert rows({"path": PATHS}) == expected
    assert workers().count == threads_given() == threads
    again = workers()
    assert rows({"path": PATHS}) == expected
    assert workers() is again


def test_engines_compute_on_these_threads_too(threads_as_before: None) -> None:
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    made: list[Any] = []
    kind = ort.SessionOptions
    detector = dn.Detector(TINY, threshold=0.7, names=["a", "b"], engine="onnxruntime")

    def options() -> Any:
        made.append(kind())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ort, "SessionOptions", options)
        free = dn.PictureRows(detector)({"path": PATHS})
        for threads in (1, 2):
            copy = pickle.loads(pickle.dumps(dn.PictureRows(detector, threads=threads)))
            assert copy({"path": PATHS}) == free
    assert [each.intra_op_num_threads for each in made] == [0, 1, 2]


def test_threads_that_cannot_be() -> None:
    with pytest.raises(dn.DarknetError, match="the number of threads must be at least 1"):
        tiny(threads=0)
