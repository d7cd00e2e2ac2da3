from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .conftest import Cli

MEANS, VARIANCES = 2 * 8, 3 * 8  # of layer 0, after its biases and scales


def set_floats(stem: Path, at: int, values: list[float]) -> None:
    """Overwrite some floats of the weights, counted from the end of the header."""
    weights = stem.with_name(f"{stem.name}.weights")
    data = bytearray(weights.read_bytes())
    data[20 + 4 * at : 20 + 4 * (at + len(values))] = np.array(values, "<f4").tobytes()
    weights.write_bytes(data)


def test_a_good_pair(cli: Cli, tiny: Path) -> None:
    answer = cli("check", tiny)
    assert (answer.code, answer.err) == (0, "")
    header, dialect, size, values = answer.out.splitlines()
    assert header == "header: version 0.2.0, 20 bytes; 0 images seen in training"
    assert dialect.startswith("dialect: pjreddie (")
    assert size == "size: fits to the byte, 12 layers with 21373 parameters"
    assert values == "values: all finite, no negative variance"
    facts = cli("check", tiny, "--json").json
    assert (facts["ok"], facts["findings"], facts["parameters"]) == (True, [], 21373)


def test_a_value_that_is_not_finite_is_wrong(cli: Cli, nan_tiny: Path) -> None:
    answer = cli("check", nan_tiny)
    assert (answer.code, answer.err) == (1, "")
    line = "wrong: layer 0 [convolutional]: 1 of 216 weights are NaN or infinite"
    assert line in answer.out.splitlines()
    facts = cli("check", nan_tiny, "--json").json
    assert facts["ok"] is False
    assert facts["findings"] == [
        {
            "layer": 0,
            "section": "convolutional",
            "what": "1 of 216 weights are NaN or infinite",
            "fatal": True,
        }
    ]


def test_a_negative_variance_is_wrong_in_some_dialects_only(cli: Cli, tiny: Path) -> None:
    set_floats(tiny, VARIANCES, [-5e-6])  # sqrt(v) + 1e-6 is NaN, sqrt(v + 1e-5) is not
    answer = cli("check", tiny)
    assert answer.code == 1
    assert "wrong: layer 0 [convolutional]: 1 rolling variances are negative" in answer.out
    assert cli("check", tiny, "--dialect", "alexeyab").code == 0


def test_what_is_odd_but_works_is_no_failure(cli: Cli, tiny: Path) -> None:
    set_floats(tiny, MEANS, [0.0] * 16)
    answer = cli("check", tiny)
    assert answer.code == 0
    line = "note: layer 0 [convolutional]: all rolling statistics are zero"
    assert line in answer.out


def test_what_many_layers_have_in_common_is_said_once(cli: Cli, tiny: Path) -> None:
    set_floats(tiny, 0, [0.0] * 21373)
    answer = cli("check", tiny)
    assert answer.code == 0
    lines = [line for line in answer.out.splitlines() if line.startswith("note: ")]
    assert lines == ["note: 6 layers from 0 to 9: all rolling statistics are zero, never trained"]
    assert len(cli("check", tiny, "--json").json["findings"]) == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>", "this is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "this is a Git-LFS pointer"),
        (b"\0" * 10, "the file ends inside the header"),
        (b"\0\0\0\0\2\0\0\0" + b"\0" * 12 + b"\0" * 4 * 21374, "continues after the last layer"),
    ],
)
def test_a_refused_file_is_2_and_says_why(
    cli: Cli, tiny: Path, content: bytes, message: str
) -> None:
    weights = tiny.with_name("tiny.weights")
    weights.write_bytes(content)
    answer = cli("check", tiny)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{weights}: ")
    assert message in answer.error


def test_a_backbone_file_says_how_far_it_goes(cli: Cli, tiny: Path) -> None:
    weights = tiny.with_name("tiny.weights")
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * (248 + 1216)])
    answer = cli("check", tiny, "--partial")
    assert answer.code == 0
    assert "size: fits layers 0 to 2 of 12 to the byte" in answer.out.splitlines()
