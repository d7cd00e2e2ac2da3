"""One name means both files of a model, in the library as in the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.model.model_files import files_of, with_suffix
from tests.support.paths import FIXTURES

TINY = FIXTURES / "tiny/tiny"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``a.b.cfg`` and ``a.b.weights``."""
    for suffix in (".cfg", ".weights"):
        (tmp_path / f"a.b{suffix}").write_bytes(Path(f"{TINY}{suffix}").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a.b", "a.b.cfg", "a.b.weights", Path("a.b"), Path("./a.b.cfg")])
@pytest.mark.usefixtures("folder")
def test_one_name_is_enough(name: str | Path) -> None:
    model = dn.load(name)
    assert (model.cfg.file, model.file) == ("a.b.cfg", "a.b.weights")
    assert model.loaded == len(model.network.nodes)


def test_a_name_in_another_folder(folder: Path) -> None:
    assert dn.load(folder / "a.b").file == f"{folder}/a.b.weights"


@pytest.mark.usefixtures("folder")
def test_two_names_may_lack_their_suffixes() -> None:
    assert dn.load("a.b", "a.b").file == "a.b.weights"
    assert dn.load("a.b", None).file is None


def test_a_file_that_is_there_counts_before_one_with_the_suffix(folder: Path) -> None:
    for suffix in ("cfg", "weights"):
        (folder / suffix).write_bytes((folder / f"a.b.{suffix}").read_bytes())
        (folder / f"{suffix}.{suffix}").write_bytes(b"")
    model = dn.load("cfg", "weights")
    assert (model.cfg.file, model.file) == ("cfg", "weights")


def test_a_cfg_without_suffix(folder: Path) -> None:
    (folder / "a.b.cfg").rename(folder / "a.b")
    model = dn.load("a.b")
    assert (model.cfg.file, model.file) == ("a.b", "a.b.weights")


@pytest.mark.parametrize(
    ("name", "gone", "message"),
    [
        (
            "no",
            "",
            "no: there is no such model (expected no.cfg and no.weights, found neither)",
        ),
        (
            "a.b.cfg",
            "a.b.cfg",
            "a.b.cfg: there is no such model (expected a.b.cfg and a.b.weights, found only "
            "a.b.weights)",
        ),
        (
            "a.b",
            "a.b.weights",
            "a.b: there is no such model (expected a.b.cfg and a.b.weights, found only a.b.cfg); "
            "pass the weights as the second argument, or None for initial ones",
        ),
        (
            "x.onnx",
            "",
            "x.onnx: there is no such model (expected x.onnx.cfg and x.onnx.weights, found "
            "neither); load_arrays reads such files",
        ),
    ],
)
def test_what_is_missing_is_said(name: str, gone: str, message: str, folder: Path) -> None:
    if gone:
        (folder / gone).unlink()
    with pytest.raises(dn.DarknetError) as caught:
        dn.load(name)
    assert str(caught.value) == message


def test_a_text_alone_does_not_say_where_the_weights_are() -> None:
    with pytest.raises(dn.WeightsError, match="pass the weights too, or None for initial ones"):
        dn.load(b"[net]\nwidth=8\n")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("x", ("x.cfg", "x.weights")),
        ("x.cfg", ("x.cfg", "x.weights")),
        ("x.weights", ("x.cfg", "x.weights")),
        ("v1.0", ("v1.0.cfg", "v1.0.weights")),
        ("x.cfg.weights", ("x.cfg.cfg", "x.cfg.weights")),
        ("folder", ("folder.cfg", "folder.weights")),
    ],
)
def test_files_that_need_not_be_there(
    name: str, files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert files_of(name) == files
    assert with_suffix(name, ".cfg") == name
