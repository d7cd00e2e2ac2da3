"""The hook that .pre-commit-hooks.yaml offers: its entry is run as pre-commit would run it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import FIXTURES, PROJECT

MANIFEST = (PROJECT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
HOOK = dict(re.findall(r"^[- ] (\w+): (.*)$", MANIFEST, re.MULTILINE))
CFG, WEIGHTS = (FIXTURES / "digits" / f"digits{suffix}" for suffix in (".cfg", ".weights"))
LFS = FIXTURES / "malformed" / "git_lfs.weights"


def run(folder: Path, *names: str) -> tuple[int, list[str], list[str]]:
    """Hand the files that the hook is for to its entry; return its exit code and its lines."""
    program, *words = shlex.split(HOOK["entry"])
    assert program == "python"  # of the environment that pre-commit makes
    chosen = [name for name in names if re.search(HOOK["files"], name)]
    done = subprocess.run(
        [sys.executable, *words, *chosen], cwd=folder, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def put(folder: Path, stem: str, weights: Path = WEIGHTS) -> None:
    shutil.copy(CFG, folder / f"{stem}.cfg")
    shutil.copy(weights, folder / f"{stem}.weights")


def test_the_manifest_has_what_pre_commit_needs() -> None:
    assert set(HOOK) == {
        *("id", "name", "description", "entry", "language", "files", "require_serial"),
    }
    assert HOOK["language"] == "python"
    assert HOOK["require_serial"] == "true"  # else both files of a model may be checked apart


@pytest.mark.parametrize(
    "names", [("net.cfg",), ("net.weights",), ("net.weights", "net.cfg", "net.weights")]
)
def test_either_file_leads_to_the_model_and_both_to_it_once(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    put(tmp_path, "net")
    assert run(tmp_path, *names) == (0, ["checked: 1 model"], [])


def test_every_model_is_checked_and_each_that_is_wrong_is_named(tmp_path: Path) -> None:
    for stem in ("good", "cut", "a b"):
        put(tmp_path, stem)
    put(tmp_path, "lfs", LFS)
    cut = tmp_path / "cut.weights"
    cut.write_bytes(cut.read_bytes()[:-4])
    data = bytearray((tmp_path / "a b.weights").read_bytes())
    data[20:24] = b"\x00\x00\xc0\x7f"  # the first bias is NaN
    (tmp_path / "a b.weights").write_bytes(data)
    code, out, err = run(tmp_path, "lfs.cfg", "good.cfg", "cut.weights", "a b.cfg", "a b.weights")
    assert code == 2
    assert out == [
        "a b.weights: wrong: layer 0 [convolutional]: 1 of 16 biases are NaN or infinite",
        "checked: 4 models",
    ]
    pointer, short = err
    assert pointer.startswith("error: lfs.weights: this is a Git-LFS pointer")
    assert short.startswith("error: cut.weights: ")
    assert "4 too few" in short
    assert run(tmp_path, "a b.cfg", "good.cfg")[0] == 1


def test_weights_without_a_cfg_are_looked_at_and_named(tmp_path: Path) -> None:
    put(tmp_path, "net_final")
    put(tmp_path, "page", FIXTURES / "malformed" / "html.weights")
    for stem in ("net_final", "page"):
        (tmp_path / f"{stem}.cfg").unlink()
    code, out, err = run(tmp_path, "net_final.weights")
    assert (code, out) == (0, ["checked: 1 model"])
    (warning,) = err
    assert warning.startswith("warning: net_final.weights: net_final.cfg does not exist")
    code, _, err = run(tmp_path, "page.weights")
    assert code == 2
    assert err == [
        "error: page.weights: this is an HTML page, not weights: was the download refused?"
    ]


def test_files_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = x\n")
    assert run(tmp_path, "setup.cfg", "net.weights.txt", "cfg") == (0, ["checked: 0 models"], [])


def test_the_guide_shows_the_hook() -> None:
    page = (PROJECT / "docs/guides/check.md").read_text(encoding="utf-8")
    assert f"- id: {HOOK['id']}\n" in page
