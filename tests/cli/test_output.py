"""What commands print in the same way."""

from __future__ import annotations

import logging

import pytest

import darknet_bn as dn
from darknet_bn.cli import output


@pytest.mark.parametrize(
    ("seconds", "count", "line"),
    [
        (23.4, 300, "took: 23.4 s, 78 ms a picture"),
        (0.5, 1000, "took: 500 ms, 0.50 ms a picture"),
        (0.5, 1, "took: 500 ms"),
        (59.94, 12, "took: 59.9 s, 5.0 s a picture"),
        (3599, 2, "took: 59 min 59 s, 30 min 0 s a picture"),
        (7384.6, 100, "took: 2 h 3 min, 1 min 14 s a picture"),
    ],
)
def test_how_long_it_took(
    capsys: pytest.CaptureFixture[str], seconds: float, count: int, line: str
) -> None:
    output.took(seconds, count, "picture")
    assert capsys.readouterr() == ("", f"{line}\n")


def problems(count: int) -> list[dn.DarknetError]:
    return [
        dn.DarknetError("not a box", where=dn.Where(file="a\nb.txt", line=line))
        for line in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_one_place_stands_in_the_message_itself(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    output.problems(problems(count))
    assert capsys.readouterr() == ("", "")


def test_several_places_are_named_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    output.problems(problems(3))
    assert capsys.readouterr() == ("", "  a b.txt:2: not a box\n  a b.txt:3: not a box\n")


def test_of_many_places_the_first_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    output.problems(problems(232))
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) == 19
    assert lines[-1] == "  a b.txt:20: not a box"
    assert last == "  and 212 more; --json lists all"
    error = dn.DataError("232 lines are wrong", problems(232), where=dn.Where(file="list"))
    told = output.facts(error)
    assert told["message"] == "232 lines are wrong"
    assert [each["line"] for each in told["problems"]] == list(range(1, 233))
    assert "problems" not in told["problems"][0]


@pytest.mark.parametrize("quiet", [False, True])
def test_what_the_package_logs_goes_to_stderr(
    quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("darknet_bn.kernels.compiling")
    with output.log_on_stderr(output.State(quiet=quiet)):
        logger.info("compiling")
        logger.debug("a detail")
    logger.info("afterwards")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "" if quiet else "compiling\n")
