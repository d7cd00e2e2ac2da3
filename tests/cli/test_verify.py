from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .conftest import FIXTURES, TINY, Cli


def changed_fixture(path: Path, **changes: float) -> Path:
    """Copy the fixture of the tiny model, with the first value of some layers changed."""
    with np.load(f"{TINY}.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, value in changes.items():
        arrays[name].flat[0] = value
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "words",
    [(TINY,), (f"{TINY}.cfg",), (f"{TINY}.cfg", f"{TINY}.weights")],
    ids=["stem", "cfg", "both"],
)
@pytest.mark.parametrize("way", [(), ("--fast",)], ids=["exact", "fast"])
def test_the_tiny_model_agrees_with_darknet(
    cli: Cli, words: tuple[object, ...], way: tuple[str, ...]
) -> None:
    answer = cli("verify", *words, f"{TINY}.npz", *way)
    assert (answer.code, answer.err) == (0, "")
    dialect, fixture, maker, version, heading, *rows, verdict = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert fixture == f"fixture: {TINY}.npz"
    assert maker == "made by: pjreddie/darknet, dialect pjreddie"
    assert version.startswith("version: Debian package darknet 0.0.0+git")
    assert heading.startswith("layer  section ")
    assert len(rows) == 12
    assert verdict == "all 12 layers agree within 1e-05 of their largest value"


def test_a_difference_is_1_and_names_the_first_layer(cli: Cli, tmp_path: Path) -> None:
    fixture = changed_fixture(tmp_path / "x.npz", layer_003=7.5, layer_006=7.5)
    answer = cli("verify", TINY, fixture)
    assert (answer.code, answer.err) == (1, "")
    assert "layer 3 [convolutional] is the first that differs: 1 value\n" in answer.out
    assert "at 0, 0, 0, 0: expected 7.5, found " in answer.out
    facts = cli("verify", TINY, fixture, "--json").json
    assert (facts["ok"], facts["first_wrong"]) == (False, 3)
    assert [row["layer"] for row in facts["differences"] if row["mismatches"]] == [3, 6]
    assert facts["differences"][3]["offenders"][0]["index"] == [0, 0, 0, 0]


def test_nan_against_a_number_is_a_difference(cli: Cli, tmp_path: Path) -> None:
    fixture = changed_fixture(tmp_path / "x.npz", layer_003=np.nan)
    answer = cli("verify", TINY, fixture, "--json")
    assert answer.code == 1
    assert answer.json["differences"][3]["error"] == "inf"


def test_json(cli: Cli) -> None:
    facts = cli("verify", TINY, f"{TINY}.npz", "--json", "--fast", "--tolerance", "1e-3").json
    assert facts["ok"] is True
    assert facts["first_wrong"] is None
    assert facts["fast"] is True
    assert facts["tolerance"] == 1e-3
    assert facts["fixture"] == f"{TINY}.npz"
    assert facts["provenance"]["program"] == "pjreddie/darknet"
    assert [row["layer"] for row in facts["differences"]] == list(range(12))


def test_the_tolerance_decides(cli: Cli) -> None:
    assert cli("verify", TINY, f"{TINY}.npz", "--tolerance", "1e-9").code == 1
    assert cli("verify", TINY, f"{TINY}.npz", "--tolerance", "1e-4").code == 0


def test_another_dialect_than_the_fixtures_is_warned_of(cli: Cli) -> None:
    answer = cli("verify", TINY, f"{TINY}.npz", "--dialect", "alexeyab")
    # The two divisors differ by 3e-5 of the largest value and more in this net.
    assert answer.code == 1
    assert answer.err == (
        "warning: the fixture uses the dialect pjreddie, but alexeyab is in use\n"
    )


def test_the_dialect_of_the_fixture_helps(cli: Cli) -> None:
    case = FIXTURES / "layers" / "conv_basic"
    for dialect in ("pjreddie", "alexeyab"):
        words = (case / "model", case / f"{dialect}.npz", "--dialect", dialect)
        # conv_basic has a tolerance of its own in its provenance; 1e-5 is above it.
        assert cli("verify", *words).code == 0


def test_a_fixture_of_another_net_is_refused(cli: Cli) -> None:
    fixture = FIXTURES / "layers" / "conv_basic" / "pjreddie.npz"
    answer = cli("verify", TINY, fixture)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{fixture}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file or directory"), (b"", "cannot be read"), (b"PK\3\4", "cannot be read")],
    ids=["missing", "empty", "cut"],
)
def test_what_is_no_fixture_is_refused(
    cli: Cli, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    answer = cli("verify", TINY, path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{path}: ")
    assert message in answer.error


def test_what_a_fixture_says_of_itself_cannot_reach_the_terminal(cli: Cli, tmp_path: Path) -> None:
    with np.load(f"{TINY}.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["provenance"] = np.array('{"program": "a\\u001b[31m", "dialect": ["\\n"]}')
    np.savez(tmp_path / "x.npz", **arrays)
    answer = cli("verify", TINY, tmp_path / "x.npz")
    assert answer.code == 0
    assert "\x1b" not in answer.out + answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_fixture_may_say_nothing_of_itself(cli: Cli, tmp_path: Path) -> None:
    with np.load(f"{TINY}.npz") as archive:
        np.savez(tmp_path / "x.npz", input=archive["input"], layer_004=archive["layer_004"])
    answer = cli("verify", TINY, tmp_path / "x.npz")
    assert (answer.code, answer.err) == (0, "")
    assert "made by: unknown; the fixture does not say\n" in answer.out
    assert "all 1 layers agree" in answer.out
