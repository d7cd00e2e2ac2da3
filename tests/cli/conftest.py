"""A command line to call, and a small model to call it on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from darknet_bn.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
TINY = FIXTURES / "tiny" / "tiny"


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


@pytest.fixture
def cli() -> Cli:
    """Call ``darknet-bn`` with some words."""

    def call(*words: object) -> Answer:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The stem of a copy of the tiny model in a folder of its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for suffix in (".cfg", ".weights"):
        shutil.copy(f"{TINY}{suffix}", folder / f"tiny{suffix}")
    return folder / "tiny"


@pytest.fixture
def nan_tiny(tiny: Path) -> Path:
    """The tiny model with NaN for the first of its weights."""
    weights = tiny.with_name("tiny.weights")
    data = bytearray(weights.read_bytes())
    start = 20 + 4 * 4 * 8  # behind header, biases, scales, means and variances of 8 filters
    data[start : start + 4] = b"\x00\x00\xc0\x7f"
    weights.write_bytes(data)
    return tiny
