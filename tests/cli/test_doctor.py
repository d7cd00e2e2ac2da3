from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.paths import FIXTURES

from .conftest import Cli

DIGITS = FIXTURES / "digits"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The stem of a copy of the net of digits."""
    for suffix in (".cfg", ".weights"):
        shutil.copy(DIGITS / f"digits{suffix}", tmp_path)
    return tmp_path / "digits"


def test_a_healthy_model(cli: Cli, digits: Path) -> None:
    answer = cli("doctor", digits, DIGITS / "test.npz", "--images", 128)
    assert (answer.code, answer.err) == (0, "")
    dialect, headings, *rows, last = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie")
    assert headings.split()[:3] == ["layer", "section", "values"]
    assert [row.split()[:3] for row in rows] == [
        [layer, "convolutional", values]
        for layer, values in (("0", "8192"), ("1", "2048"), ("2", "2048"))
    ]
    assert last == "nothing is wrong"


def test_without_pictures_values_and_cfg_are_looked_at(cli: Cli, digits: Path) -> None:
    answer = cli("doctor", digits)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[1:] == ["nothing is wrong"]


def test_a_wrong_function_is_named_with_its_layer(cli: Cli, digits: Path) -> None:
    cfg = digits.with_suffix(".cfg")
    cfg.write_text(cfg.read_text().replace("activation=leaky", "activation=relu"))
    answer = cli("doctor", digits, DIGITS / "test.npz", "--images", 64, "-q")
    assert answer.code == 1
    wrong, to_do = answer.out.splitlines()
    assert wrong.startswith("wrong: layer 0 [convolutional]: activation=relu is not what the")
    assert "with leaky in the 2 layers" in wrong
    assert to_do == "  to do: replace activation=relu by activation=leaky in the cfg"


def test_as_json(cli: Cli, digits: Path, tmp_path: Path) -> None:
    with np.load(DIGITS / "test.npz") as data:
        np.savez(tmp_path / "levels.npz", x=255 * data["x"][:64])  # no truth is needed
    answer = cli("doctor", digits, tmp_path / "levels.npz", "--images", 64, "--json")
    assert answer.code == 1
    facts = answer.json
    assert (facts["ok"], facts["images"]) == (False, 64)
    (finding,) = facts["findings"]
    assert (finding["verdict"], finding["kind"], finding["layer"]) == ("wrong", "input", 0)
    assert [row["layer"] for row in facts["layers"]] == [0, 1, 2]


def test_pictures(cli: Cli, tiny: Path, photos: Path) -> None:
    facts = cli("doctor", tiny, photos, "--json").json
    assert facts["images"] == 2
    assert facts["fit"] == "letterbox"


def test_too_few_names(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    names = tmp_path / "two.names"
    names.write_text("a\n")
    answer = cli("doctor", tiny, "--names", names)
    assert answer.code == 1
    assert "wrong: layer 11 [yolo]: the head has 2 classes, the list of names has 1" in answer.out


def test_layers_that_have_the_same_are_said_once(cli: Cli, tmp_path: Path) -> None:
    cfg = tmp_path / "digits.cfg"
    shutil.copy(DIGITS / "digits.cfg", cfg)
    dn.save(dn.load(cfg, None, seed=1), None, tmp_path / "digits.weights")
    lines = cli("doctor", tmp_path / "digits").out.splitlines()
    same = "note: 3 layers from 0 to 2: all rolling statistics are zero, never trained"
    assert same in lines
    assert any(line.startswith("wrong: no layer was trained: ") for line in lines)


def test_a_picture_that_is_not_there(cli: Cli, tiny: Path) -> None:
    assert cli("doctor", tiny, "absent.png").code == 2
