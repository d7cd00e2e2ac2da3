"""What may be written: nothing that was read, nothing unasked, under its own suffix only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.fixture import save_fixture
from darknet_bn.formats.writing import is_same_file, require_suffix, require_writable
from tests.support.builders import cfg_text, random_model

X = np.zeros((1, 3, 8, 8), np.float32)
CFG = cfg_text("[convolutional] filters=2 size=1 activation=linear batch_normalize=1")

# `save_checkpoint`, one of these, continues in the files of the training that calls it.
KNOW_NO_MODEL = {"fixture.npz", "a.png", "b.backup"}


@pytest.fixture
def pair(tmp_path: Path) -> dn.Model:
    """A model that was read from ``net.cfg`` and ``net.weights``."""
    dn.save(random_model(CFG), tmp_path / "net.cfg", tmp_path / "net.weights")
    return dn.load(tmp_path / "net.cfg", tmp_path / "net.weights")


WRITERS: dict[str, Callable[..., object]] = {
    "a.weights": lambda model, path, **how: dn.save(model, None, path, **how),
    "a.cfg": lambda model, path, **how: dn.save(model, path, path.with_name("b.weights"), **how),
    "a.npz": lambda model, path, **how: dn.save_arrays(model, path, **how),
    "a.safetensors": lambda model, path, **how: dn.save_arrays(model, path, **how),
    "a.pt": lambda model, path, **how: dn.save_arrays(model, path, **how),
    "a.onnx": lambda model, path, **how: dn.export_onnx(model, path, prove=False, **how),
    "fixture.npz": lambda model, path, **how: save_fixture(path, X, {}, {}, **how),
    "record.npz": lambda model, path, **how: dn.record(model, path, X, **how),
    "a.png": lambda model, path, **how: dn.save_image(path, X[0], **how),
    "b.backup": lambda model, path, **how: dn.save_checkpoint(dn.train_state(model), path, **how),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_there_stays_unless_forced(
    name: str, pair: dn.Model, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(dn.DarknetError) as caught:
        WRITERS[name](pair, path)
    assert str(caught.value) == f"{path}: the file already exists; use force=True to overwrite it"
    assert (path.read_bytes(), sorted(os.listdir(tmp_path))) == (b"old", before)
    WRITERS[name](pair, path, force=True)
    assert path.read_bytes() != b"old"


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - KNOW_NO_MODEL))
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_the_model_was_read_from_is_never_written_over(
    name: str, link: Callable[..., None], pair: dn.Model, tmp_path: Path
) -> None:
    path = tmp_path / name
    for read in (tmp_path / "net.cfg", tmp_path / "net.weights"):
        if path.suffix == read.suffix:
            continue  # in place, as `save` may
        path.unlink(missing_ok=True)
        link(read, path)
        before = read.read_bytes()
        with pytest.raises(dn.DarknetError, match="is an input, and is never overwritten"):
            WRITERS[name](pair, path, force=True)
        assert read.read_bytes() == before


@pytest.mark.parametrize("name", WRITERS)
def test_the_suffix_of_another_kind_is_refused(name: str, pair: dn.Model, tmp_path: Path) -> None:
    for other in ("net.names", "net", "a.weights.bak"):
        with pytest.raises(dn.DarknetError) as caught:
            WRITERS[name](pair, tmp_path / other)
        assert (tmp_path / other).name in str(caught.value)
        assert Path(name).suffix in str(caught.value).replace(".backup", ".weights or .backup")
        assert not (tmp_path / other).exists()


def test_a_model_may_be_saved_in_its_place(pair: dn.Model, tmp_path: Path) -> None:
    folded = dn.fold_batchnorm(pair)
    dn.save(folded, tmp_path / "net.cfg", tmp_path / "net.weights", force=True)
    assert b"batch_normalize=1" not in (tmp_path / "net.cfg").read_bytes()


def test_arrays_go_into_no_file_that_they_came_from(pair: dn.Model, tmp_path: Path) -> None:
    dn.save_arrays(pair, tmp_path / "a.npz")
    again = dn.load_arrays(tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(dn.DarknetError, match="never overwritten"):
        dn.save_arrays(again, tmp_path / "a.npz", force=True)
    assert (tmp_path / "a.npz").read_bytes() == before


class TestRule:
    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        for name in (tmp_path, f"{tmp_path}/"):
            with pytest.raises(dn.DarknetError, match="this is a folder"):
                require_writable([name], force=True)

    def test_a_name_that_no_file_has(self) -> None:
        with pytest.raises(dn.DarknetError, match="no file can have this name"):
            require_writable(["a\0b"], force=True)

    def test_two_targets_are_two_files(self, tmp_path: Path) -> None:
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(dn.DarknetError, match="two files cannot have the same name"):
            require_writable([tmp_path / "a", tmp_path / "b"], force=True)

    def test_an_input_that_is_not_there_is_one_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(dn.DarknetError, match="never overwritten"):
            require_writable([tmp_path / "a"], force=True, inputs=[f"{tmp_path}/./a"])
        require_writable([tmp_path / "a"], force=True, inputs=[None, tmp_path / "b"])

    def test_a_link_that_leads_nowhere_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "gone")
        with pytest.raises(dn.DarknetError, match="use --force to overwrite it"):
            require_writable([tmp_path / "a"], force=False, how="--force")

    def test_files_are_told_apart_by_what_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"")
        (tmp_path / "b").write_bytes(b"")
        (tmp_path / "c").hardlink_to(tmp_path / "a")
        assert is_same_file(tmp_path / "a", tmp_path / "c")
        assert not is_same_file(tmp_path / "a", tmp_path / "b")
        assert not is_same_file(tmp_path / "a", "zero\0byte")
        assert is_same_file("zero\0byte", "zero\0byte")
        assert not is_same_file("zero\0byte", "another\0byte")

    def test_suffixes_in_any_case(self) -> None:
        require_suffix("A.ONNX", ".onnx")
        with pytest.raises(dn.DarknetError) as caught:
            require_suffix("net.weights", ".onnx")
        assert str(caught.value) == (
            "net.weights: the output file has the suffix of a different kind of file (expected a "
            "name "
            "ending in .onnx, found '.weights')"
        )

    def test_the_work_does_not_grow_with_the_square_of_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stat, calls = os.stat, []

        def counted(*args: object, **options: object) -> os.stat_result:
            calls.append(args)
            return stat(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "stat", counted)
        targets = [tmp_path / f"{number}.png" for number in range(100)]
        require_writable(targets, force=True, inputs=[f"{each}.jpg" for each in targets])
        assert 200 <= len(calls) < 2000  # some for each file, not for each pair: there are 10000
