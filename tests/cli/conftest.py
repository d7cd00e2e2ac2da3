"""A command line to call, and a small model to call it on."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from tests.support.paths import FIXTURES

TINY = FIXTURES / "tiny" / "tiny"
PICTURE = FIXTURES / "preprocess" / "rgba_10x15.png"
TOOK = re.compile(r"^took: .*\n", re.MULTILINE)  # said or not, as fast as the machine is
ERROR_FIELDS = ["file", "line", "section", "layer", "message", "expected", "found", "hint"]


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object that stdout must hold; NaN and Infinity are not JSON."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        value = json.loads(self.out, parse_constant=refuse)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> str:
        """The one line that an error must have, without its label."""
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


Cli = Callable[..., Answer]


class Terminal(io.StringIO):
    """The output that is shown on a terminal."""

    def __init__(self, *, terminal: bool = True) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lines have room for 80 characters, in whatever terminal the tests are run."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def cli() -> Cli:
    """Call ``darknet-bn`` with some words."""

    def call(*words: object) -> Answer:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Answer(result.exit_code, result.stdout, TOOK.sub("", result.stderr))

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The stem of a copy of the tiny model in a folder of its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for suffix in (".cfg", ".weights"):
        shutil.copy(f"{TINY}{suffix}", folder / f"tiny{suffix}")
    return folder / "tiny"


def as_classifier(stem: Path) -> None:
    """Put a softmax over all values into the place of the detection head, which has no weights."""
    cfg = stem.with_name(f"{stem.name}.cfg")
    front, _, _ = cfg.read_text().partition("[yolo]")
    cfg.write_text(f"{front}[softmax]\n")


@pytest.fixture
def nan_tiny(tiny: Path) -> Path:
    """The tiny model with NaN for the first of its weights."""
    weights = tiny.with_name("tiny.weights")
    data = bytearray(weights.read_bytes())
    start = 20 + 4 * 4 * 8  # after header, biases, scales, means and variances of 8 filters
    data[start : start + 4] = b"\x00\x00\xc0\x7f"
    weights.write_bytes(data)
    return tiny


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures, and a file that is not a picture."""
    folder = tmp_path / "photos"
    (folder / "more.png").mkdir(parents=True)
    shutil.copy(PICTURE, folder / "b.png")
    shutil.copy(PICTURE.with_name("gray_21x12.png"), folder / "a.PNG")
    (folder / "._a.png").write_bytes(b"what macOS leaves")
    (folder / "notes.txt").write_text("notes")
    return folder


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that complete command lines read."""
    from .complete import materials

    folder = tmp_path_factory.mktemp("stock")
    materials(folder)
    return folder


@pytest.fixture
def stocked(stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is the working directory."""
    folder = tmp_path / "stocked"
    shutil.copytree(stock, folder)
    monkeypatch.chdir(folder)
    return folder


def lines_of(out: str) -> list[str]:
    """The lines printed after dialect, input and threshold."""
    dialect, origin, threshold, *lines = out.splitlines()
    assert dialect.startswith("dialect: ")
    assert origin.startswith("input: ")
    assert threshold.startswith("threshold: ")
    return lines


def detections(dialect: str = "pjreddie", **options: Any) -> list[dn.Detection]:
    """What the library finds in PICTURE."""
    model = dn.load(f"{TINY}.cfg", f"{TINY}.weights", dialect=dialect)
    im = dn.load_image(PICTURE)
    letterbox = options.pop("letterbox", dialect == "pjreddie")
    x = (dn.letterbox if letterbox else dn.resize_image)(im, 64, 64)[None]
    (found,) = dn.detections(
        model, x, image_sizes=(15, 10), letterbox=letterbox, **{"threshold": 0.7} | options
    )
    return found
