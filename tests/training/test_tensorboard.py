"""The hook of each step, and the event files that TensorBoard reads: they say what the CSV says."""

from __future__ import annotations

import csv
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import darknet_bn as dn
from darknet_bn.cli.program import main
from darknet_bn.training.log import COLUMNS
from darknet_bn.training.tensorboard import SCALARS, open_tensorboard

CFG = """[net]
batch=4
inputs=6
learning_rate=0.1
max_batches=6
[connected]
output=3
batch_normalize=1
activation=linear
[softmax]
"""
# The CSV has 6 digits or 4 after the point, the event files 24 bits.
SAME = {"rel": 1e-5, "abs": 6e-5}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.cfg").write_text(CFG)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.random((10, 6), np.float32), y=np.arange(10) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, words)])


def events(file: Path) -> Iterator[Any]:
    """The events of a file: each has its length, a checksum of it, and a checksum of itself."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 12 + length + 4
    assert at == len(content)


def scalars(place: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard shows of a folder: a file that begins at a step replaces what came later."""
    from tensorboardX.proto.event_pb2 import SessionLog

    found: dict[int, dict[str, float]] = {}
    for file in sorted(place.iterdir()):
        for event in events(file):
            if event.session_log.status == SessionLog.START:
                found = {step: row for step, row in found.items() if step < event.step}
            for value in event.summary.value:
                found.setdefault(event.step, {})[value.tag] = value.simple_value
    return found


def assert_as_the_csv(place: Path, log: Path) -> None:
    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = scalars(place)
    assert list(found) == [int(row["iteration"]) for row in rows]
    for row in rows:
        shown = found[int(row["iteration"])]
        assert tuple(shown) == SCALARS
        for name in set(SCALARS) - {"images_per_second"}:
            assert shown[name] == pytest.approx(float(row[name]), **SAME), name
        # It has one digit after the point there.
        assert shown["images_per_second"] == pytest.approx(
            float(row["images_per_second"]), abs=0.051, rel=1e-6
        )


@pytest.fixture
def tensorboard() -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")


# -- the hook ------------------------------------------------------------------------------


def test_the_hook_gets_what_is_handed_out_before_it_is(folder: Path) -> None:
    model = dn.load("net.cfg", None)
    data = dn.load_dataset("data.npz", model, train=True)
    told: list[dn.Progress] = []
    for count, now in enumerate(dn.train(dn.train_state(model), data, on_step=told.append), 1):
        assert len(told) == count
        assert told[-1] is now
    assert [now.iteration for now in told] == [1, 2, 3, 4, 5, 6]


def test_an_error_in_the_hook_ends_the_training(folder: Path) -> None:
    model = dn.load("net.cfg", None)
    data = dn.load_dataset("data.npz", model, train=True)

    def refuse(now: dn.Progress) -> None:
        raise KeyError(now.iteration)

    with pytest.raises(KeyError, match="1"):
        next(dn.train(dn.train_state(model), data, on_step=refuse))


# -- event files ---------------------------------------------------------------------------


def test_the_columns_of_both_logs_are_the_same() -> None:
    assert ("iteration", *SCALARS) == COLUMNS


@pytest.mark.usefixtures("tensorboard")
def test_event_files_say_what_the_csv_says(folder: Path) -> None:
    result = run("net.cfg", "data.npz", "--log", "tensorboard", "--json")
    assert result.exit_code == 0
    written = json.loads(result.stdout)["written"]
    assert (written["tensorboard"], written["log"]) == ("net_tensorboard", "net_log.csv")
    assert_as_the_csv(Path("net_tensorboard"), Path("net_log.csv"))
    assert len(scalars(Path("net_tensorboard"))) == 6


@pytest.mark.usefixtures("tensorboard")
def test_a_resumed_training_replaces_what_came_after_its_checkpoint(folder: Path) -> None:
    words = ("--log", "tensorboard", "--force")
    assert run("net.cfg", "data.npz", "--iterations", 4, *words).exit_code == 0
    Path("net.weights").rename("four.weights")
    Path("net.weights.state").rename("four.weights.state")
    for last in (6, 5):  # and once more from the same place
        for number, file in enumerate(sorted(Path("net_tensorboard").iterdir())):
            file.rename(file.with_name(f"{number}-{file.name}"))  # as if made in another second
        result = run("net.cfg", "data.npz", "four.weights", "--iterations", last, *words)
        assert result.exit_code == 0
        assert_as_the_csv(Path("net_tensorboard"), Path("net_log.csv"))
        assert list(scalars(Path("net_tensorboard"))) == list(range(1, last + 1))


@pytest.mark.usefixtures("tensorboard")
def test_event_files_of_another_run_are_left_alone(folder: Path) -> None:
    Path("net_tensorboard").mkdir()
    result = run("net.cfg", "data.npz", "--log", "tensorboard")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: net_tensorboard: these event files belong to another run; --force adds to them\n"
    )
    assert run("net.cfg", "data.npz", "--log", "tensorboard", "--force").exit_code == 0


@pytest.mark.usefixtures("tensorboard")
def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    Path("file").touch()
    told = pytest.raises(dn.DarknetError, match=r"^file/log: cannot be written: ")
    with told, open_tensorboard("file/log", 0):
        raise AssertionError("it must not be opened")


def test_what_is_absent_is_said_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    result = run("net.cfg", "data.npz", "--log", "tensorboard")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: the package tensorboardx is not installed; pip install 'darknet-bn[tensorboard]'\n"
    )
    assert sorted(each.name for each in folder.iterdir()) == ["data.npz", "net.cfg"]


def test_without_it_there_are_no_event_files(folder: Path) -> None:
    result = run("net.cfg", "data.npz", "--json")
    assert json.loads(result.stdout)["written"]["tensorboard"] is None
    assert not Path("net_tensorboard").exists()
    assert Path("net_log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
