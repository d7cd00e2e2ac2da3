from __future__ import annotations

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
