"""The committed fixtures are what their provenance says, whole, and small."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.paths import FIXTURES

REFUSED = ("malformed", "hostile")  # made by hand, or by mutations, to be refused
RECORDS = sorted(
    path
    for path in FIXTURES.rglob("provenance.json")
    if path.relative_to(FIXTURES).parts[0] not in REFUSED
)
RUNS = sorted(
    [*FIXTURES.glob("layers/*/*.npz"), *FIXTURES.glob("tiny/*.npz"), FIXTURES / "digits/digits.npz"]
)
DIALECTS = {"pjreddie", "alexeyab"}
MOST_BYTES = {"digits": 300_000, "hostile": 1_000_000, "others": 3_000_000}


def name_of(path: Path) -> str:
    return path.relative_to(FIXTURES).as_posix()


def files_of(record: Path) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))["files"]
    return files


def test_every_file_is_on_record() -> None:
    recorded = {record.parent / name for record in RECORDS for name in files_of(record)}
    present = {
        path
        for path in FIXTURES.rglob("*")
        if path.is_file()
        and path.name != "provenance.json"
        and path.relative_to(FIXTURES).parts[0] not in REFUSED
    }
    assert present
    assert sorted(map(name_of, present ^ recorded)) == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: name_of(path.parent))
def test_every_file_has_the_hash_on_record(record: Path) -> None:
    for name, made in files_of(record).items():
        found = hashlib.sha256((record.parent / name).read_bytes()).hexdigest()
        assert found == made["sha256"], name


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: name_of(path.parent))
def test_every_result_names_its_program_and_tolerances(record: Path) -> None:
    for name, made in files_of(record).items():
        if not name.endswith(".npz") or name == "input.npz" or record.parent.name == "kernels":
            continue  # an npz in kernels/ holds the functions of two programs side by side
        if "examples" in made:
            continue  # what a model is tested with; no program computed it
        assert {"program", "dialect"} <= set(made), name
        assert made["tolerance"]["reason"], name
        with np.load(record.parent / name, allow_pickle=False) as archive:
            outputs = set(archive.files) - {"input", "provenance"}
        assert set(made["tolerance"]["arrays"]) == outputs, name


def test_the_fixtures_stay_small() -> None:
    sizes = dict.fromkeys(MOST_BYTES, 0)
    for path in FIXTURES.rglob("*"):
        if path.is_file():
            part = path.relative_to(FIXTURES).parts[0]
            sizes[part if part in sizes else "others"] += path.stat().st_size
    assert all(sizes[part] <= most for part, most in MOST_BYTES.items()), sizes


@pytest.mark.parametrize("path", RUNS, ids=name_of)
def test_a_run_holds_input_and_every_layer(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "provenance"}
    names = [f"layer_{i:03d}" for i in range(len(arrays) - 1)]
    assert set(arrays) == {"input", *names}
    assert names
    batch = arrays["input"].shape[0]
    for name, values in arrays.items():
        assert values.dtype == np.float32, name
        assert values.ndim in (2, 4), name
        assert values.shape[0] == batch, name
        assert np.isfinite(values).all(), name


def test_every_case_is_named_by_dialect() -> None:
    for folder in FIXTURES.glob("layers/*"):
        results = {path.stem for path in folder.glob("*.npz")}
        assert results, folder.name
        assert results <= DIALECTS, folder.name


def test_copies_are_the_golden_data_byte_for_byte(shared: Path) -> None:
    copied = 0
    for record in RECORDS:
        for name, made in files_of(record).items():
            source = str(made.get("source", ""))
            if source.startswith("golden/"):
                assert (record.parent / name).read_bytes() == (shared / source).read_bytes(), name
                copied += 1
    assert copied > 0
