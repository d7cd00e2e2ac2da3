from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn

from .conftest import FIXTURES, PICTURE, Cli

MODEL = FIXTURES / "layers" / "avgpool_softmax" / "model"
PREPROCESS = FIXTURES / "preprocess"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A ``.data`` file that leads to the names of five classes."""
    (tmp_path / "five.names").write_text("ant\nbee\ncrab spider\ndog\nelk\n")
    path = tmp_path / "five.data"
    path.write_text("classes=5\ntop=3\nnames=five.names\n")
    return path


def lines_of(out: str) -> list[str]:
    """The lines printed after dialect and input."""
    dialect, origin, *lines = out.splitlines()
    assert dialect.startswith("dialect: ")
    assert origin.startswith("input: ")
    return lines


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("gradient_31x17", (36.93, 30.88, 12.97)),
        ("rgba_10x15", (33.93, 28.37, 15.46)),
        ("gray_21x12", (37.95, 30.89, 13.08)),
    ],
)
def test_the_lines_are_those_of_darknet(
    cli: Cli, data: Path, name: str, percent: tuple[float, ...]
) -> None:
    picture = PREPROCESS / f"{name}.png"
    answer = cli("classify", MODEL, picture, "--data", data, "--dialect", "pjreddie")
    assert (answer.code, answer.err) == (0, "")
    # Debian's darknet classifier predict.
    found = zip(percent, ("elk", "bee", "dog"), strict=True)
    assert lines_of(answer.out) == [f"{value:.2f}%: {label}" for value, label in found]


def test_alexeyab_prints_shares_of_one(cli: Cli, data: Path) -> None:
    answer = cli("classify", MODEL, PICTURE, "--data", data)
    (scores,) = dn.classify(model := load(), dn.prepare(dn.load_image(PICTURE), model), top=3)
    names = dn.load_names(data.with_name("five.names"))
    assert lines_of(answer.out) == [
        f"{names[score.class_id]}: {score.probability:.6f}" for score in scores
    ]


def load(dialect: str = "auto") -> dn.Model:
    return dn.load(f"{MODEL}.cfg", f"{MODEL}.weights", dialect=dialect)


def classes_of(cli: Cli, *words: object) -> list[dict[str, Any]]:
    answer = cli("classify", MODEL, PICTURE, "--json", *words)
    assert answer.code == 0
    (told,) = answer.json["pictures"]
    classes: list[dict[str, Any]] = told["classes"]
    return classes


def test_how_many_are_printed(cli: Cli, data: Path) -> None:
    assert len(classes_of(cli)) == 5
    assert len(classes_of(cli, "--data", data)) == 3
    assert len(classes_of(cli, "--data", data, "--top", "2")) == 2
    assert len(classes_of(cli, "--top", "1000")) == 5


@pytest.mark.parametrize(
    ("words", "fit", "text"),
    [
        ((), "crop", "scaled and cropped to 7 x 6 (as AlexeyAB/darknet does)"),
        (("--crop",), "crop", "scaled and cropped to 7 x 6 (given)"),
        (("--stretch",), "stretch", "stretched to 7 x 6 (given)"),
        (("--letterbox",), "letterbox", "letterboxed to 7 x 6 (given)"),
        (
            ("--dialect", "pjreddie"),
            "letterbox",
            "letterboxed to 7 x 6 (as pjreddie/darknet on the CPU does)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_ways_to_fit_a_picture_in(
    cli: Cli, words: tuple[str, ...], fit: Any, text: str
) -> None:
    answer = cli("classify", MODEL, PICTURE, *words)
    assert answer.out.splitlines()[1] == f"input: {text}"
    model = load("pjreddie" if "pjreddie" in words else "alexeyab")
    (scores,) = dn.classify(model, dn.prepare(dn.load_image(PICTURE), model, fit))
    facts = cli("classify", MODEL, PICTURE, "--json", *words).json
    assert facts["fit"] == fit
    assert facts["pictures"] == [
        {
            "file": str(PICTURE),
            "width": 10,
            "height": 15,
            "classes": [
                {
                    "class_id": score.class_id,
                    "name": f"class {score.class_id}",
                    "confidence": score.probability,
                }
                for score in scores
            ],
        }
    ]


def test_names_of_another_model_are_refused(cli: Cli, tmp_path: Path) -> None:
    names = tmp_path / "x.names"
    names.write_text("ant\nbee\n")
    answer = cli("classify", MODEL, PICTURE, "--names", names)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        f"{names}: 2 names for 5 classes; leave out --names to print class numbers"
    )


def test_a_bad_picture_is_reported_and_the_others_go_on(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    shutil.copy(PICTURE, "photos/a.png")
    shutil.copy(PICTURE, "photos/c.png")
    Path("photos/b.jpg").write_bytes(b"no picture")
    words = ("classify", MODEL, "photos", "--data", data, "--top", "1", "--dialect", "pjreddie")
    answer = cli(*words)
    assert answer.code == 1
    assert answer.error.startswith("photos/b.jpg: not a picture")
    line = "33.93%: elk"
    assert lines_of(answer.out) == ["photos/a.png:", line, "photos/c.png:", line]
    answer = cli(*words, "--json")
    assert answer.code == 1
    assert [each["file"] for each in answer.json["pictures"]] == ["photos/a.png", "photos/c.png"]
    assert [each["file"] for each in answer.json["failed"]] == ["photos/b.jpg"]
    answer = cli(*words, "--csv")
    assert answer.code == 1
    table = list(csv.DictReader(io.StringIO(answer.out)))
    assert [list(row) for row in table] == [["file", "class", "name", "probability"]] * 2
    for row, name in zip(table, "ac", strict=True):
        assert (row["file"], row["class"], row["name"]) == (f"photos/{name}.png", "4", "elk")
        assert float(row["probability"]) == pytest.approx(0.3393, abs=5e-5)  # as printed above


def test_a_detector_is_refused_once(cli: Cli) -> None:
    answer = cli("classify", FIXTURES / "tiny/tiny", PREPROCESS)
    assert answer.code == 2
    assert "the network is a detector, not a classifier; use darknet-bn detect" in answer.error


def test_a_net_for_sequences_takes_single_pictures(cli: Cli) -> None:
    model = FIXTURES / "layers" / "crnn" / "model"
    assert dn.load_cfg(f"{model}.cfg").sections[0].find("time_steps")
    answer = cli("classify", model, PICTURE, "--dialect", "alexeyab", "--top", "2")
    assert (answer.code, len(lines_of(answer.out))) == (0, 2)
