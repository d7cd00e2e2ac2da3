"""``--rows``: rows of any number of pictures in parquet files, in one process or on its threads."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.engines import many
from darknet_bn.work import threads
from tests.support.pictures import PNGS

from .conftest import FIXTURES, PICTURE, TINY, Cli

pq: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pa: Any = pytest.importorskip("pyarrow")

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"


@pytest.fixture(autouse=True)
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the limit that a command sets end with the test."""
    monkeypatch.setenv("DARKNET_BN_THREADS", "2")
    yield
    threads._OF_PROCESS.clear()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder of pictures."""
    (tmp_path / "photos").mkdir()
    for path in PNGS:
        shutil.copy(path, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths_of(folder: Path | str) -> list[str]:
    paths: list[str] = pq.read_table(folder)["path"].to_pylist()
    return paths


def rows_of(folder: Path | str) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(folder).to_pylist()
    found = {row["path"]: row for row in rows}
    assert len(found) == len(rows)  # each picture once
    return found


def test_a_folder_becomes_rows(cli: Cli, place: Path) -> None:
    answer = cli("detect", TINY, "photos", "--rows", "found", "--thresh", "0.7")
    assert (answer.code, answer.err) == (0, "")
    last = answer.out.splitlines()[-1]
    assert last == f"written: {len(PNGS)} rows to found"
    rows = dn.PictureRows(dn.Detector(dn.load(TINY), names=["0", "1"], threshold=0.7))
    names = sorted(os.path.join("photos", each.name) for each in PNGS)
    expected = rows({"path": names})
    table = pq.read_table("found")
    assert table.to_pydict() == expected | {"label": table["label"].to_pylist()}
    assert sum(len(each) for each in expected["left"]) > 5


def test_threads_write_the_same(cli: Cli, place: Path) -> None:
    for folder, more in (("one", ()), ("two", ("--workers", 2)), ("five", ("--workers", 5))):
        answer = cli("detect", TINY, "photos", "--rows", folder, "--batch", 4, *more)
        assert answer.code == 0
    contents = [
        [path.read_bytes() for path in sorted(Path(folder).iterdir())]
        for folder in ("one", "two", "five")
    ]
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == -(-len(PNGS) // 4)


def test_what_the_threads_share(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKNET_BN_THREADS", "8")
    cli("detect", TINY, "photos", "--rows", "found", "--workers", 3)
    assert threads.threads_given() == 2
    assert threads.workers().count == 2


def test_a_classifier_has_rows_too(cli: Cli, place: Path) -> None:
    answer = cli("classify", CLASSIFIER, "photos", "--rows", "found", "--top", 2, "-q")
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    rows = rows_of("found")
    assert len(rows) == len(PNGS)
    assert {len(row["class"]) for row in rows.values()} == {2}
    told = json.loads(pq.read_schema("found/rows-000001.parquet").metadata[b"darknet_bn"])
    assert told["top"] == 2


def test_the_files_say_how_they_were_made(cli: Cli, place: Path) -> None:
    import hashlib

    cli("detect", TINY, PICTURE, "--rows", "found", "--nms", 0.3)
    told = json.loads(pq.read_schema("found/rows-000001.parquet").metadata[b"darknet_bn"])
    files = [Path(f"{TINY}.{suffix}") for suffix in ("cfg", "weights")]
    assert [told.pop(key) for key in ("cfg", "weights")] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    ]
    model = dn.load(TINY)
    size = model.network.input
    assert len(told.pop("names")) == 64
    assert told == {
        "dialect": model.dialect.name,
        "input": [size.w, size.h, size.c],
        "version": dn.__version__,
        "engine": dn.open_session(model).engine,
        "fit": "letterbox",
        "threshold": 0.5,
        "nms": 0.3,
    }


def test_a_second_run_adds_what_is_not_there(cli: Cli, place: Path) -> None:
    words = ("detect", TINY, "photos", "--rows", "found")
    cli(*words)
    shutil.copy(PICTURE, "photos/new.png")
    answer = cli(*words)
    skipped = f"skipped: {len(PNGS)} of {len(PNGS) + 1} pictures whose rows already exist"
    assert answer.out.splitlines()[-2:] == [skipped, "written: 1 row to found"]
    assert len(rows_of("found")) == len(PNGS) + 1
    answer = cli(*words)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "written: 0 rows to found")
    assert len(os.listdir("found")) == 2


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (["--thresh", "0.6"], "threshold"),
        (["--stretch"], "fit"),
        (["--nms", "0"], "nms"),
        (["--names", "two.names"], "names"),
        (["--dialect", "alexeyab"], "dialect"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    more: list[str], key: str, cli: Cli, place: Path
) -> None:
    Path("two.names").write_text("a\nb\n")
    words = ("detect", TINY, "photos", "--rows", "found")
    cli(*words)
    before = rows_of("found")
    answer = cli(*words, *more)
    assert answer.code == 2
    assert f"found/rows-000001.parquet: its rows were made with another {key} (" in answer.error
    assert rows_of("found") == before


def test_a_bad_picture_is_a_row_and_is_reported(cli: Cli, place: Path) -> None:
    Path("photos/bad.png").write_text("this is a text")
    answer = cli("detect", TINY, "photos", "--rows", "found", "--workers", 2)
    assert answer.code == 1
    assert answer.error.startswith("photos/bad.png: not a picture, or its header is damaged")
    last = f"written: {len(PNGS) + 1} rows to found, 1 of them with an error"
    assert answer.out.splitlines()[-1] == last
    assert rows_of("found")["photos/bad.png"]["error"].startswith("not a picture")
    assert cli("detect", TINY, "photos", "--rows", "found").code == 0  # nothing new was bad
    assert cli("detect", TINY, "photos/bad.png", "--rows", "other").code == 2


def test_many_bad_pictures_are_not_all_reported(cli: Cli, place: Path) -> None:
    Path("list.txt").write_text("".join(f"none{number}.png\n" for number in range(30)))
    answer = cli("detect", TINY, "list.txt", "--rows", "found")
    assert answer.code == 2
    *errors, last = answer.err.splitlines()
    assert len(errors) == 20
    assert errors[0] == "error: none0.png: cannot be read: No such file or directory"
    assert last == "further errors are only in the rows"
    assert len(rows_of("found")) == 30


def test_lists_of_all_kinds(cli: Cli, place: Path) -> None:
    names = sorted(f"photos/{each.name}" for each in PNGS)
    with zipfile.ZipFile("photos.zip", "w") as file:
        for each in PNGS:
            file.write(each, each.name)
        file.writestr("read.me", "no picture")
    Path("list.txt").write_text("\n".join([*names, f"zip://{PNGS[0].name}::photos.zip"]))
    pq.write_table(pa.table({"url": names, "size": list(range(len(names)))}), "list.parquet")
    alone = [each.name for each in PNGS[:2]]  # relative to the list
    Path("photos/beside.txt").write_text("\n".join(alone))
    pq.write_table(pa.table({"path": alone}), "photos/beside.parquet")
    for at, (words, expected) in enumerate(
        {
            ("list.txt",): [*names, f"zip://{PNGS[0].name}::photos.zip"],
            ("list.parquet",): names,
            ("photos/*.png", "list.parquet"): names,
            ("zip://*.png::photos.zip",): sorted(f"zip://{each.name}::photos.zip" for each in PNGS),
            ("zip://::photos.zip",): sorted(f"zip://{each.name}::photos.zip" for each in PNGS),
            ("photos/beside.txt",): [f"photos/{name}" for name in alone],
            ("photos/beside.parquet",): [f"photos/{name}" for name in alone],
        }.items()
    ):
        answer = cli("detect", TINY, *words, "--rows", f"found{at}")
        assert (answer.code, answer.err) == (0, "")
        assert paths_of(f"found{at}") == expected
    plain, zipped = rows_of("found0"), rows_of("found3")
    for name in names:
        row = zipped[f"zip://{os.path.basename(name)}::photos.zip"]
        assert row | {"path": name} == plain[name]


def test_a_place_in_memory(cli: Cli, place: Path) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    for each in PNGS[:2]:
        system.pipe_file(f"/rows/{each.name}", each.read_bytes())
    system.pipe_file("/rows/list.txt", f"memory://rows/{PNGS[0].name}\n\n".encode())
    try:
        assert cli("detect", TINY, "memory://rows", "--rows", "all").code == 0
        assert cli("detect", TINY, "memory://rows/list.txt", "--rows", "listed").code == 0
        answer = cli("detect", TINY, "memory://none", "--rows", "none")
    finally:
        system.rm("/rows", recursive=True)
    assert paths_of("all") == [f"memory:///rows/{each.name}" for each in PNGS[:2]]
    assert paths_of("listed") == [f"memory://rows/{PNGS[0].name}"]
    assert (answer.code, answer.error) == (2, "memory://none: there is no such file or folder")
    assert not os.path.exists("none")


def test_lists_at_an_address_name_what_is_beside_them(cli: Cli, place: Path) -> None:
    fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")
    system = fsspec.filesystem("memory")
    try:
        for each in PNGS[:2]:
            system.put_file(str(each), f"/lists/{each.name}")
        lines = "\r\n".join(each.name for each in PNGS[:2])
        system.pipe_file("/lists/list.txt", b"\xef\xbb\xbf" + lines.encode())
        with system.open("/lists/list.parquet", "wb") as stream:
            pq.write_table(pa.table({"file": [each.name for each in PNGS[:2]]}), stream)
        system.pipe_file("/lists/picture.txt", PNGS[0].read_bytes())
        for name in ("list.txt", "list.parquet"):
            assert cli("detect", TINY, f"memory://lists/{name}", "--rows", name).code == 0
        answer = cli("detect", TINY, "memory://lists/picture.txt", "--rows", "none")
    finally:
        system.rm("/lists", recursive=True)
    for name in ("list.txt", "list.parquet"):
        assert paths_of(name) == [f"memory://lists/{each.name}" for each in PNGS[:2]]
    assert answer.code == 2
    assert answer.error.startswith("memory://lists/picture.txt: not a list of pictures but")


def test_rows_go_to_an_address(cli: Cli, place: Path) -> None:
    fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")
    system = fsspec.filesystem("memory")
    paths = [f"photos/{each.name}" for each in PNGS[:3]]
    words = ("--rows", "memory://found", "--batch", 2)
    try:
        assert cli("detect", TINY, *paths, "--rows", "local").code == 0
        assert cli("detect", TINY, *paths[:2], *words).code == 0
        answer = cli("detect", TINY, *paths, *words)
        assert cli("detect", TINY, *paths, *words, "--thresh", 0.9).code == 2
        names = system.ls("/found", detail=False)
        tables = [pq.read_table(system.open(name)) for name in names]
    finally:
        system.rm("/found", recursive=True)
    assert names == ["/found/rows-000001.parquet", "/found/rows-000002.parquet"]
    assert answer.code == 0
    assert "skipped: 2 of 3 pictures whose rows already exist" in answer.out
    assert answer.out.splitlines()[-1] == "written: 1 row to memory://found"
    found = pa.concat_tables(tables).to_pydict()
    assert found == pq.read_table("local").to_pydict()
    assert not os.path.exists("memory:")


def test_a_place_that_does_not_answer_ends_it_and_loses_nothing(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from darknet_bn.engines import picture_rows

    def fail(name: str, most: int) -> bytes:
        raise dn.DarknetError("cannot be read: nobody answers", where=dn.Where(file=name))

    names = [f"photos/{each.name}" for each in PNGS[:2]]
    Path("list.txt").write_text("\n".join([*names, "memory://a.png"]))
    with monkeypatch.context() as patch:
        patch.setattr(picture_rows, "read_address", fail)
        answer = cli("detect", TINY, "list.txt", "--rows", "found")
    assert (answer.code, answer.error) == (2, "memory://a.png: cannot be read: nobody answers")
    assert paths_of("found") == names  # and no row for what nobody has seen


def test_after_ctrl_c_it_goes_on(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("detect", TINY, "photos", "--rows", "found", "--workers", 2)
    whole = many.map_on_threads

    def interrupted(*given: Any) -> Iterator[Any]:
        for number, each in enumerate(whole(*given)):
            if number == 3:
                raise KeyboardInterrupt
            yield each

    with monkeypatch.context() as patch:
        patch.setattr(many, "map_on_threads", interrupted)
        answer = cli(*words)
    assert answer.code == 130
    again = f"darknet-bn detect {TINY} photos --rows found --workers 2"
    assert answer.err.splitlines()[-1] == f"stopped after 3 of {len(PNGS)}; resume with: {again}"
    assert len(rows_of("found")) == 3
    assert cli(*words).code == 0
    assert len(rows_of("found")) == len(PNGS)


@pytest.mark.parametrize(
    "more",
    [
        *(["-o", "out"], ["--labels", "out"], ["--ext-output"], ["--force"]),
        *(["--json"], ["--json-lines"], ["--csv"]),
    ],
    ids=lambda more: more[0],
)
def test_options_for_other_outputs_are_refused(more: list[str], cli: Cli, place: Path) -> None:
    answer = cli("detect", TINY, "photos", "--rows", "found", *more)
    assert answer.code == 2
    assert f"{more[0]} and --rows cannot be used together" in answer.err
    assert not os.path.exists("found")


@pytest.mark.parametrize("option", [["--workers", "2"], ["--batch", "2"], ["--ray", "local"]])
def test_options_that_need_rows(option: list[str], cli: Cli, place: Path) -> None:
    answer = cli("detect", TINY, "photos", *option)
    assert answer.code == 2
    assert f"{option[0]} needs --rows" in answer.err


def test_an_argument_is_not_taken_for_an_address(cli: Cli, place: Path) -> None:
    answer = cli("detect", "--ray", TINY, "photos", "--rows", "found")
    assert answer.code == 2
    assert f"'{TINY}' is not the address of a cluster" in answer.err
    assert "put --ray after the arguments" in answer.err


def test_words_that_lead_to_nothing(cli: Cli, place: Path) -> None:
    pq.write_table(pa.table({"path": pa.array([], pa.string())}), "empty.parquet")
    Path("empty").mkdir()
    for word, message in (
        ("empty.parquet", "empty.parquet: there are no pictures"),
        ("empty", "empty: the folder contains no pictures"),
        ("none.parquet", "none.parquet: cannot be read: No such file or directory"),
        ("memory://list.parquet", "memory://list.parquet: cannot be read: there is no such file"),
        ("memory://list.txt", "memory://list.txt: cannot be read: there is no such file"),
    ):
        answer = cli("detect", TINY, word, "--rows", "found")
        assert answer.code == 2
        assert answer.error.startswith(message)


def test_what_is_missing_is_said_before_any_work(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name, more in (("pyarrow", ()), ("ray", ("--ray", "local"))):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            answer = cli("detect", "no-such-model", "photos", "--rows", "found", *more)
        assert answer.code == 2
        extra = {"pyarrow": "parquet"}.get(name, name)
        assert answer.error.endswith(f"is not installed; pip install 'darknet-bn[{extra}]'")
