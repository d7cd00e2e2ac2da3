"""Paths of pictures in parquet files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.pictures.tables import read_paths

pa: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq: Any = pytest.importorskip("pyarrow.parquet")


def written(folder: Path, **columns: Any) -> Path:
    path = folder / "list.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {"path": ["a", None, "b"]},
        {"label": ["x", "y", "z"], "path": ["a", None, "b"], "file": ["1", "2", "3"]},
        {"label": ["x", "y", "z"], "url": pa.array(["a", None, "b"], pa.large_string())},
        {"size": [1, 2, 3], "whatever": ["a", None, "b"]},
    ],
    ids=lambda columns: " ".join(columns),
)
def test_the_column_is_found(columns: dict[str, Any], tmp_path: Path) -> None:
    assert list(read_paths(written(tmp_path, **columns))) == ["a", "b"]


@pytest.mark.parametrize(
    "columns", [{"path": [1, 2]}, {"one": ["a"], "other": ["b"]}], ids=lambda each: " ".join(each)
)
def test_no_column_is_guessed(columns: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, **columns)
    with pytest.raises(dn.DarknetError) as caught:
        list(read_paths(path))
    assert str(caught.value) == (
        f"{path}: it is not clear which column holds the paths "
        f"(expected a column of texts named path, found {', '.join(columns)})"
    )


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_text("a.png\n" * 20)
    with pytest.raises(dn.DarknetError) as caught:
        list(read_paths(path))
    assert str(caught.value).startswith(f"{path}: cannot be read as parquet: Parquet magic bytes")
    os.unlink(path)
    with pytest.raises(dn.DarknetError, match=r"cannot be read: No such file or directory$"):
        list(read_paths(path))
