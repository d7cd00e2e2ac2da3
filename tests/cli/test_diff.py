from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import FIXTURES, TINY, Cli

DIGITS = FIXTURES / "digits" / "digits"


@pytest.mark.parametrize(
    "words",
    [
        (TINY, TINY),
        (f"{TINY}.cfg", f"{TINY}.weights", TINY.with_suffix(".weights")),
        (f"{TINY}.cfg", f"{TINY}.weights", f"{TINY}.cfg", f"{TINY}.weights"),
    ],
)
def test_equal_models(cli: Cli, words: tuple[object, ...]) -> None:
    answer = cli("diff", *words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("the same: the cfg, and ")


def test_other_models(cli: Cli) -> None:
    answer = cli("diff", DIGITS, TINY)
    assert (answer.code, answer.err) == (1, "")
    lines = answer.out.splitlines()
    assert "layer 5 [shortcut]: added" in lines
    assert lines[-1].startswith("different: ")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_another_number_of_words(cli: Cli, count: int) -> None:
    answer = cli("diff", *[TINY] * count)
    assert answer.code == 2
    assert "expected two models: A B, CFG A B, or CFG A CFG B" in answer.err


def test_a_layer_with_another_number_has_both(cli: Cli, tmp_path: Path) -> None:
    rows = [line.split() for line in cli("diff", TINY, DIGITS).out.splitlines()]
    assert ["3", "->", "0", "convolutional", "weights", "144"] in [row[:6] for row in rows]
    text = DIGITS.with_suffix(".cfg").read_text()
    head, avgpool, end = text.partition("[avgpool]")
    (tmp_path / "d.cfg").write_text(f"{head}[dropout]\nprobability=.5\n\n{avgpool}{end}")
    words = (f"{DIGITS}.cfg", f"{DIGITS}.weights", tmp_path / "d.cfg", f"{DIGITS}.weights")
    lines = cli("diff", *words).out.splitlines()
    assert "layer 4 [dropout]: added" in lines
    assert lines[-1] == "different: 3 lines of the cfg, 0 of 17 arrays"
