from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn

from .conftest import TINY, Cli


def test_a_recording_verifies_itself_to_the_last_bit(cli: Cli, tmp_path: Path) -> None:
    answer = cli("record", TINY, "-o", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    target = tmp_path / "out.npz"
    dialect, origin, written = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert origin == "input: random, seed 0"
    assert written == f"written: {target}, 12 layers in {target.stat().st_size} bytes"
    assert cli("verify", TINY, target, "--tolerance", "0").code == 0


def test_a_recording_of_darknets_input_agrees_with_darknets(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    assert cli("record", TINY, "-o", target, "--input", f"{TINY}.npz").code == 0
    with np.load(target) as ours, np.load(f"{TINY}.npz") as theirs:
        assert set(ours.files) == set(theirs.files)
        np.testing.assert_array_equal(ours["input"], theirs["input"])
        last = theirs["layer_011"]
        # The tolerance that the fixture's provenance gives its arrays.
        np.testing.assert_allclose(ours["layer_011"], last, rtol=0, atol=4e-6 * np.abs(last).max())


def test_json(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    facts = cli("record", TINY, "-o", target, "--seed", "5", "--layers", "3,-1", "--json").json
    assert facts["input"] == "random, seed 5"
    assert facts["layers"] == [3, 11]
    assert facts["written"] == {"fixture": str(target)}
    assert facts["bytes"] == target.stat().st_size
    assert dn.load_fixture(target).layers == (3, 11)


def test_nothing_is_overwritten_without_force(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    target.write_text("mine")
    answer = cli("record", TINY, "-o", target)
    assert (answer.code, answer.out) == (2, "")
    assert target.read_text() == "mine"
    assert cli("record", TINY, "-o", target, "--force").code == 0
    assert cli("verify", TINY, target).code == 0


def test_a_full_disk_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(stream: Any, **arrays: Any) -> None:
        stream.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", write)
    answer = cli("record", TINY, "-o", tmp_path / "out")
    assert answer.code == 2
    assert answer.error == f"{tmp_path}/out.npz: cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_does_not_fit(cli: Cli, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 5, 5), np.float32))
    answer = cli("record", TINY, "-o", tmp_path / "out", "--input", tmp_path / "x.npy")
    assert (answer.code, answer.out) == (2, "")
    assert "does not fit the network" in answer.error
    assert not (tmp_path / "out.npz").exists()
