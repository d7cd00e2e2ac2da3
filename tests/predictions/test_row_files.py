"""A folder of parquet files that grows by whole files, all made in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.predictions import row_files
from darknet_bn.predictions.row_files import RowFolder
from darknet_bn.predictions.rows import CLASSES, DETECTIONS, failed_row

pq: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

FACTS = {"weights": "12ab", "input": (320, 320), "threshold": 0.25, "nms": None}


def columns(*paths: str) -> dict[str, list[Any]]:
    """Rows with lists of several lengths, and one with an error."""
    count = len(paths)
    return {
        "path": list(paths),
        "width": [None, *range(1, count)],
        "height": [None] * count,
        "error": ["no picture", *[None] * (count - 1)],
        "probability": [[1 / 3] * at for at in range(count)],
        "class": [[at] * at for at in range(count)],
        "label": [["dog"] * at for at in range(count)],
    }


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    rows = RowFolder(tmp_path / "new" / "rows", CLASSES, FACTS)
    assert not (tmp_path / "new").exists()  # until there is something to write
    assert rows.write(columns("a", "b", "c")) == "rows-000001.parquet"
    table = pq.read_table(tmp_path / "new" / "rows" / "rows-000001.parquet")
    assert table.to_pydict() == columns("a", "b", "c")
    told = json.loads(table.schema.metadata[b"darknet_bn"])
    assert told == {**FACTS, "input": [320, 320]}


def test_columns_have_their_types_even_if_nothing_is_in_them(tmp_path: Path) -> None:
    full = RowFolder(tmp_path, CLASSES, FACTS).write(columns("a", "b"))
    empty = {name: [each] for name, each in failed_row("c", "no", CLASSES).items()}
    other = RowFolder(tmp_path, CLASSES, FACTS).write(empty)
    assert pq.read_schema(tmp_path / full) == pq.read_schema(tmp_path / other)
    assert pq.read_table(tmp_path).num_rows == 3  # other programs read the folder as one table


def test_a_second_run_knows_what_is_there(tmp_path: Path) -> None:
    first = RowFolder(tmp_path, CLASSES, FACTS)
    first.write(columns("a", "b"))
    first.write(columns("c"))
    assert first.done == {"a", "b", "c"}
    second = RowFolder(tmp_path, CLASSES, dict(reversed(FACTS.items())))
    assert second.done == {"a", "b", "c"}
    assert second.write(columns("d")) == "rows-000003.parquet"


def test_what_is_left_of_a_killed_run_is_passed_over(tmp_path: Path) -> None:
    RowFolder(tmp_path, CLASSES, FACTS).write(columns("a"))
    (tmp_path / ".rows-000002.parquet.new.12345678").write_bytes(b"PAR1")
    (tmp_path / ".hidden.parquet").write_bytes(b"PAR1")
    (tmp_path / "notes.txt").write_text("mine")
    assert RowFolder(tmp_path, CLASSES, FACTS).done == {"a"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", "34cd", "another weights (expected 34cd, found 12ab)"),
        ("threshold", 0.5, "another threshold (expected 0.5, found 0.25)"),
        ("top", 3, "another top (expected 3, found None)"),
    ],
)
def test_a_folder_made_in_another_way_is_refused(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / RowFolder(tmp_path, CLASSES, FACTS).write(columns("a"))
    with pytest.raises(dn.DarknetError) as caught:
        RowFolder(tmp_path, CLASSES, FACTS | {key: value})
    hint = "choose another folder, or an empty one"
    assert str(caught.value) == f"{path}: its rows were made with {message}; {hint}"


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"path": ["a"]}), path)
    with pytest.raises(dn.DarknetError, match="another program wrote this file"):
        RowFolder(tmp_path, CLASSES, FACTS)
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(dn.DarknetError, match="cannot be read as parquet: "):
        RowFolder(tmp_path, CLASSES, FACTS)
    path.unlink()
    RowFolder(tmp_path, CLASSES, FACTS).write(columns("a"))
    with pytest.raises(dn.DarknetError, match="its columns are different"):
        RowFolder(tmp_path, DETECTIONS, FACTS)
    with pytest.raises(dn.DarknetError, match=r"cannot be read: Not a directory$"):
        RowFolder(tmp_path / "rows-000001.parquet", CLASSES, FACTS)


def test_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RowFolder(tmp_path, CLASSES, FACTS)

    def fail(table: Any, stream: Any) -> None:
        stream.write(b"PAR1")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", fail)
        with pytest.raises(dn.DarknetError, match="No space left on device"):
            rows.write(columns("a"))
    assert list(tmp_path.iterdir()) == []
    assert rows.done == set()
    assert rows.write(columns("a")) == "rows-000001.parquet"


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    one, other = (RowFolder(tmp_path, CLASSES, FACTS) for _ in range(2))
    one.write(columns("a"))
    with pytest.raises(dn.DarknetError, match=r"rows-000001.parquet: the file already exists"):
        other.write(columns("a"))


def test_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise dn.DarknetError(f"no {module}")

    monkeypatch.setattr(row_files, "load_extra", missing)
    with pytest.raises(dn.DarknetError, match="no pyarrow"):
        RowFolder(tmp_path, CLASSES, FACTS)
