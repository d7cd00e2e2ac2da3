"""Whatever is forgotten on a command line, nothing is lost: no input file is overwritten.

Each word of every complete line is left out in turn, and each option with its value; also with the
options first, so that the name of the model takes the place of a forgotten OUT.  By default only
``-o`` is left out with its value: no other option says where the files go that a command is for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from darknet_bn.cli.program import main

from .complete import LINES, Line, command_of
from .conftest import Cli

every_line = pytest.mark.parametrize("name", LINES)
every_line_with_an_output = pytest.mark.parametrize(
    "name", [name for name, each in LINES.items() if "-o" in each.words]
)


def files_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file, with what shows that it was written again: its inode, time and content."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as stream:
                status = os.fstat(stream.fileno())
                content = stream.read()
            found[os.path.relpath(path, folder)] = (status.st_ino, status.st_mtime_ns, content)
    return found


def without_a_word(words: Sequence[str]) -> Iterator[list[str]]:
    """Every line that lacks a word."""
    for at in range(1, len(words)):
        yield [*words[:at], *words[at + 1 :]]


def without_an_option(words: Sequence[str], option: str = "-") -> Iterator[list[str]]:
    """Every line that lacks an option, or each that begins so, and its value."""
    for at in range(1, len(words) - 1):
        if words[at].startswith(option) and not words[at + 1].startswith("-"):
            yield [*words[:at], *words[at + 2 :]]


def options_first(words: Sequence[str]) -> list[str]:
    """The same line with the arguments at its end, and the option ``-o`` before them."""
    command = command_of(words)
    rest = words[len(command) :]
    first = next((at for at, word in enumerate(rest) if word.startswith("-")), len(rest))
    arguments, options = rest[:first], rest[first:]
    if "-o" in options:
        at = options.index("-o")
        options = [*options[:at], *options[at + 2 :], *options[at : at + 2]]
    return [*command, *options, *arguments]


def test_every_command_has_a_complete_line() -> None:
    assert {each.words[0] for each in LINES.values()} == set(main.commands)


@every_line
def test_a_complete_line_writes_what_it_says(cli: Cli, stocked: Path, name: str) -> None:
    line = LINES[name]
    orders = [line.words, options_first(line.words)] if "-o" in line.words else [line.words]
    for words in orders:
        code, changed = run(cli, stocked, words)
        assert (code, changed) == (0, set(line.writes)), words


@every_line
def test_a_word_that_is_forgotten_costs_nothing(cli: Cli, stocked: Path, name: str) -> None:
    lose_nothing(cli, stocked, LINES[name], without_a_word(LINES[name].words))


@every_line_with_an_output
def test_an_output_that_is_forgotten_costs_nothing(cli: Cli, stocked: Path, name: str) -> None:
    lose_nothing(cli, stocked, LINES[name], without_an_option(LINES[name].words, "-o"))


@pytest.mark.exhaustive
@every_line
def test_an_option_that_is_forgotten_costs_nothing(cli: Cli, stocked: Path, name: str) -> None:
    lose_nothing(cli, stocked, LINES[name], without_an_option(LINES[name].words))


def lose_nothing(cli: Cli, folder: Path, line: Line, changes: Iterable[Sequence[str]]) -> None:
    """Run a line with some changes: only what it writes changes, and only with ``--force``."""
    there = files_in(folder).keys()
    for words in changes:
        allowed = set(line.writes)
        for word, places in line.elsewhere.items():
            allowed |= set() if word in words else set(places)
        code, changed = run(cli, folder, words)
        assert code in (0, 1, 2), words
        assert changed <= allowed, words
        assert "--force" in words or not changed & there, words


@pytest.mark.parametrize("cfg", ["net.cfg", "net"])
@every_line_with_an_output
def test_nothing_is_lost_where_the_model_takes_the_place_of_out(
    cli: Cli, stocked: Path, name: str, cfg: str
) -> None:
    line = LINES[name]
    words = options_first([cfg if word == "net.cfg" else word for word in line.words])
    inputs = {"net.cfg", "net.weights", *line.words}
    inputs -= {*line.writes, *line.elsewhere.get("out", ())}
    kinds = {suffix for each in line.writes for suffix in Path(each).suffixes}
    for at in range(words.index("-o") + 1, len(words)):
        code, changed = run(cli, stocked, [*words[:at], *words[at + 1 :]])
        assert code in (0, 1, 2), words[at]
        assert not changed & inputs, words[at]
        assert kinds.issuperset(suffix for each in changed for suffix in Path(each).suffixes)


def run(cli: Cli, folder: Path, words: Sequence[str]) -> tuple[int, set[str]]:
    """Run a line; return its exit code and the files that it wrote, and put them back."""
    before = files_in(folder)
    code = cli(*words).code
    after = files_in(folder)
    changed = {each for each in after if after[each] != before.get(each)}
    changed |= before.keys() - after.keys()
    for each in changed:
        (folder / each).unlink(missing_ok=True)
        if each in before:
            (folder / each).write_bytes(before[each][-1])
    return code, changed
