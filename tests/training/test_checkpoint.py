"""Checkpoints: Darknet's names, when they are due, and that states belong to their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.training.checkpoint import due, final, fingerprint, state_path, stopped
from tests.support.crashes import dies
from tests.support.train_builders import small_model


@pytest.mark.parametrize(
    ("dialect", "detects", "iteration", "epoch", "names"),
    [
        ("pjreddie", True, 99, None, []),
        ("pjreddie", True, 100, None, ["_100.weights", ".backup"]),
        ("pjreddie", True, 900, 1, ["_900.weights", ".backup"]),
        ("pjreddie", True, 1000, None, [".backup"]),
        ("pjreddie", True, 20_000, None, ["_20000.weights", ".backup"]),
        ("pjreddie", False, 100, None, []),
        ("pjreddie", False, 77, 3, ["_3.weights"]),
        ("pjreddie", False, 1000, 4, ["_4.weights", ".backup"]),
        ("alexeyab", True, 100, None, ["_last.weights"]),
        ("alexeyab", True, 1000, None, ["_1000.weights", "_last.weights"]),
        ("alexeyab", False, 77, 3, []),
    ],
)
def test_when_which_is_due(
    dialect: str, detects: bool, iteration: int, epoch: int | None, names: list[str]
) -> None:
    assert due(iteration, epoch, small_model(dialect=dialect), detects=detects) == names


def test_long_trainings_of_alexeyab_save_less_often() -> None:
    cfg = small_model().cfg.edited({(0, "max_batches"): "50000"})
    model = dn.load(cfg.to_bytes(), None, dialect="alexeyab")
    assert due(1000, None, model, detects=True) == ["_last.weights"]
    assert due(10_000, None, model, detects=True) == ["_10000.weights", "_last.weights"]


def test_names_at_the_end() -> None:
    pjreddie, alexeyab = small_model(), small_model(dialect="alexeyab")
    assert final(pjreddie, detects=True) == "_final.weights"
    assert final(pjreddie, detects=False) == ".weights"
    assert final(alexeyab, detects=False) == "_final.weights"
    assert (stopped(pjreddie), stopped(alexeyab)) == (".backup", "_last.weights")


def test_a_state_of_other_weights_does_not_count(tmp_path: Path) -> None:
    one, other = small_model(seed=1), small_model(seed=2)
    path = tmp_path / "net.weights"
    dn.save_checkpoint(dn.train_state(one), path, force=True)
    loaded = dn.load(one.cfg.to_bytes(), path)
    assert dn.load_checkpoint(loaded, path) is not None
    state = Path(state_path(path)).read_bytes()
    dn.save_checkpoint(dn.train_state(other), path, force=True)
    Path(state_path(path)).write_bytes(state)
    with pytest.warns(dn.DarknetWarning, match=r"net.weights.state: this state does not belong to"):
        assert dn.load_checkpoint(dn.load(one.cfg.to_bytes(), path), path) is None


def test_a_save_that_dies_at_any_point_leaves_weights_with_their_state(tmp_path: Path) -> None:
    """Every call that names, renames or removes a file is the last once."""
    old, new = (dn.train_state(small_model(seed=seed)) for seed in (1, 2))
    states = {fingerprint(each.model): each.seed for each in (old, new)}
    died = 0
    for last in range(1, 100):
        folder = tmp_path / str(last)
        folder.mkdir()
        path = folder / "net.backup"
        dn.save_checkpoint(old, path)
        if not dies(lambda path=path: dn.save_checkpoint(new, path, force=True), last):
            break
        died += 1
        model = dn.load(old.model.cfg.to_bytes(), path)
        assert fingerprint(model) in states
        assert dn.load_checkpoint(model, path) is not None
        dn.save_checkpoint(new, path, force=True)  # leftovers are in no one's way
        assert sorted(each.name for each in folder.iterdir() if each.name[0] != ".") == [
            "net.backup",
            "net.backup.state",
        ]
    assert died >= 6


def test_without_a_state_there_is_none(tmp_path: Path) -> None:
    model = small_model()
    dn.save(model, tmp_path / "net.cfg", tmp_path / "net.weights", force=True)
    assert dn.load_checkpoint(model, tmp_path / "net.weights") is None


def test_as_coded_is_remembered(tmp_path: Path) -> None:
    state = dn.train_state(small_model(), as_coded=True)
    dn.save_checkpoint(state, tmp_path / "net.weights", force=True)
    read = dn.load_checkpoint(
        dn.load(small_model().cfg.to_bytes(), tmp_path / "net.weights"), tmp_path / "net.weights"
    )
    assert read is not None
    assert read.as_coded
    assert read.dialect == state.dialect
