from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.html_page import read_page

from .conftest import FIXTURES, PICTURE, Cli

DIGITS = FIXTURES / "digits" / "digits"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The stem of a copy of the net of digits."""
    for suffix in (".cfg", ".weights"):
        shutil.copy(DIGITS.with_suffix(suffix), tmp_path)
    return tmp_path / "digits"


def test_the_page_holds_what_is_printed_as_json(cli: Cli, digits: Path) -> None:
    out = digits.with_suffix(".html")
    answer = cli("report", digits, "-o", out, "--json")
    assert (answer.code, answer.err) == (0, "")
    facts = answer.json
    assert (facts["page"], facts["bytes"]) == (str(out), out.stat().st_size)
    embedded = read_page(out).facts
    assert embedded == {
        key: value for key, value in facts.items() if key not in ("cfg", "weights", "page", "bytes")
    }


def test_what_is_wrong_is_said_and_the_page_is_there(cli: Cli, digits: Path) -> None:
    model = dn.load(digits)
    params = [dict(each) for each in model.params]
    params[1]["weights"] = np.full_like(params[1]["weights"], np.nan)
    object.__setattr__(model, "params", tuple(params))
    dn.save(model, None, digits.with_suffix(".weights"), force=True)
    out = digits.with_suffix(".html")
    answer = cli("report", digits, "-o", out, "-q")
    assert answer.code == 0
    assert answer.out.startswith("wrong: ")
    assert out.exists()


def test_pages_and_inputs_are_not_replaced(cli: Cli, digits: Path) -> None:
    out = digits.with_suffix(".html")
    out.write_text("mine")
    answer = cli("report", digits, "-o", out)
    assert (answer.code, out.read_text()) == (2, "mine")
    assert "use --force to overwrite" in answer.err
    assert cli("report", digits, "-o", out, "--force").code == 0
    answer = cli("report", digits, "-o", digits.with_suffix(".txt"))
    assert answer.code == 2
    assert "expected a name ending in .html" in answer.err


def test_a_bad_picture_leaves_no_page(cli: Cli, digits: Path) -> None:
    bad = digits.with_name("bad.png")
    bad.write_bytes(b"no picture")
    answer = cli("report", digits, bad, "-o", digits.with_suffix(".html"))
    assert answer.code == 2
    assert "bad.png" in answer.err
    assert not digits.with_suffix(".html").exists()


def test_a_bad_picture_of_several_is_named_and_left_out(cli: Cli, digits: Path) -> None:
    bad, page = digits.with_name("bad.png"), digits.with_suffix(".html")
    bad.write_bytes(b"no picture")
    for words in ((PICTURE, bad), (bad, PICTURE)):
        answer = cli("report", digits, *words, "-o", page, "--force")
        assert answer.code == 1, answer.err
        assert "bad.png: not a picture" in answer.err
        facts = read_page(page).facts
        assert (facts["images"], len(facts["pictures"])) == (1, 1)
