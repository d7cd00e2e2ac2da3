"""``darknet-bn train``: what it writes, says and refuses; interrupting and resuming."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import darknet_bn as dn
from darknet_bn.cli.program import main

CFG = """[net]
batch=4
inputs=6
learning_rate=0.1
max_batches=12
[connected]
output=8
batch_normalize=1
activation=leaky
[connected]
output=3
activation=linear
[softmax]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net and a data set of ten examples, in the working directory."""
    (tmp_path / "net.cfg").write_text(CFG)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.random((10, 6), np.float32), y=np.arange(10) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def rows(path: Path) -> Sequence[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_it_writes_weights_log_and_chart(folder: Path) -> None:
    result = run("net.cfg", "data.npz")
    assert result.exit_code == 0, result.output
    assert "data: 10 examples; training begins" in result.output
    assert "trained: 12 iterations, 48 images; loss " in result.output
    assert (
        "written: net.weights, net_log.csv, net_chart.svg, 4 checkpoints in ./; each weights file "
        "has its .state"
    ) in result.output
    assert dn.load("net.cfg", "net.weights").header.seen == 48
    log = rows(folder / "net_log.csv")
    assert [int(row["iteration"]) for row in log] == list(range(1, 13))
    assert float(log[-1]["epoch"]) == 4.8
    assert {float(row["rate"]) for row in log} == {0.1}
    ET.parse(folder / "net_chart.svg")


def test_names_that_will_be_too_long_are_refused_before_the_work(folder: Path) -> None:
    """Checkpoints and their states have longer names than the cfg."""
    (folder / "net.cfg").rename(folder / ("n" * 230 + ".cfg"))
    result = run("n" * 230 + ".cfg", "data.npz")
    assert result.exit_code == 2
    assert "the name is too long for the file system" in result.output
    assert len(os.listdir(folder)) == 2
    (folder / ("n" * 230 + ".cfg")).rename(folder / ("n" * 227 + ".cfg"))
    assert run("n" * 227 + ".cfg", "data.npz").exit_code == 0


@pytest.mark.parametrize("name", ["net_log.csv", "net_chart.svg", "net.weights", "net.backup"])
def test_work_of_another_run_stays_unless_forced(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"two days of training")
    before = sorted(os.listdir(folder))
    result = run("net.cfg", "data.npz")
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {name}: ")
    assert "--force" in result.output
    assert (folder / name).read_bytes() == b"two days of training"
    assert sorted(os.listdir(folder)) == before
    assert run("net.cfg", "data.npz", "--force").exit_code == 0


def test_an_interrupt_in_the_last_save_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("net.cfg", "data.npz", "-o", "whole").exit_code == 0
    real, hit = dn.save_checkpoint, []

    def interrupted(state: dn.TrainState, weights: str, **options: bool) -> None:
        if weights.endswith("net.weights") and not hit:
            hit.append(weights)
            raise KeyboardInterrupt
        real(state, weights, **options)

    monkeypatch.setattr(dn, "save_checkpoint", interrupted)
    result = run("net.cfg", "data.npz", "-o", "cut")
    assert (result.exit_code, hit) == (130, [os.path.join("cut", "net.weights")])
    line = f"stopped after the last iteration; {hit[0]} is complete"
    assert line in result.output.splitlines()
    whole = folder / "whole" / "net.weights"
    assert (folder / hit[0]).read_bytes() == whole.read_bytes()


def test_checkpoints_of_every_epoch(folder: Path) -> None:
    run("net.cfg", "data.npz")
    names = {path.name for path in folder.glob("net_*.weights")}
    assert names == {f"net_{epoch}.weights" for epoch in (1, 2, 3, 4)}


def test_alexeyabs_names(folder: Path) -> None:
    result = run("net.cfg", "data.npz", "--dialect", "alexeyab", "--iterations", 100)
    assert "written: net_final.weights" in result.output
    assert (folder / "net_last.weights").exists()


def test_the_weights_of_a_broken_off_training_go_on(folder: Path) -> None:
    run("net.cfg", "data.npz", "--iterations", 12)
    whole = (folder / "net.weights").read_bytes()
    run("net.cfg", "data.npz", "--iterations", 5, "--force")
    first = rows(folder / "net_log.csv")
    os.rename("net.weights", "half.weights")
    os.rename("net.weights.state", "half.weights.state")
    result = run("net.cfg", "data.npz", "half.weights")
    assert "training resumes after iteration 5" in result.output
    assert (folder / "net.weights").read_bytes() == whole
    log = rows(folder / "net_log.csv")
    assert [int(row["iteration"]) for row in log] == list(range(1, 13))
    assert log[:5] == first


def test_clear_counts_anew(folder: Path) -> None:
    run("net.cfg", "data.npz", "--iterations", 5)
    result = run("net.cfg", "data.npz", "net.weights", "--clear", "--force", "--iterations", 3)
    assert "data: 10 examples; training begins" in result.output
    assert dn.load("net.cfg", "net.weights").header.seen == 12


def test_epochs_and_batch(folder: Path) -> None:
    result = run("net.cfg", "data.npz", "--epochs", 2, "--batch", 10)
    assert "trained: 2 iterations, 20 images" in result.output


def test_seeds(folder: Path) -> None:
    found = []
    for seed in (0, 1, 0):
        run("net.cfg", "data.npz", "--seed", seed, "--force")
        found.append((folder / "net.weights").read_bytes())
    assert found[0] == found[2]
    assert found[0] != found[1]


def test_another_folder(folder: Path) -> None:
    (folder / "out").mkdir()
    result = run("net.cfg", "data.npz", "-o", "out", "--json")
    answer = json.loads(result.output)
    assert answer["iteration"] == 12
    assert answer["written"]["weights"] == os.path.join("out", "net.weights")
    assert (folder / "out/net.weights").exists()
    assert not list(folder.glob("net*.weights"))


def test_what_was_written_is_listed_for_programs(folder: Path) -> None:
    answer = json.loads(run("net.cfg", "data.npz", "-o", "new/out", "--json").output)
    names = [f"net_{epoch}.weights" for epoch in (1, 2, 3, 4)]
    listed = answer["written"]
    assert listed == {
        "weights": "new/out/net.weights",
        "log": "new/out/net_log.csv",
        "chart": "new/out/net_chart.svg",
        "tensorboard": None,
        "checkpoints": [f"new/out/{name}" for name in names],
        "states": [f"new/out/{name}.state" for name in (*names, "net.weights")],
    }
    there = {str(path) for path in Path("new/out").iterdir()}
    files = {*listed.pop("checkpoints"), *listed.pop("states"), *listed.values()} - {None}
    assert there == files
    assert answer["seconds"] > 0
    assert answer["bad_labels"] == answer["without_labels"] == []


def test_one_checkpoint_is_named(folder: Path) -> None:
    result = run("net.cfg", "data.npz", "--iterations", 3, "-o", "out")
    assert (
        "written: out/net.weights, out/net_1.weights, out/net_log.csv, out/net_chart.svg; "
    ) in result.output


def test_how_long_it_took_is_told_to_people(folder: Path) -> None:
    result = run("net.cfg", "data.npz")
    assert re.fullmatch(r"took: [\d.]+ m?s, [\d.]+ m?s an iteration\n", result.stderr)
    assert "took:" not in result.stdout
    assert run("net.cfg", "data.npz", "--force", "--json").stderr == ""


def test_a_checkpoint_that_was_read_is_not_overwritten(folder: Path) -> None:
    run("net.cfg", "data.npz", "--iterations", 3, "-o", "out")
    before = (folder / "out/net_1.weights").read_bytes()
    for name in ("net.weights", "net_log.csv", "net_chart.svg"):
        os.remove(f"out/{name}")
    words = ("net.cfg", "data.npz", "out/net_1.weights", "--clear", "--batch", 5, "-o", "out")
    result = run(*words)
    assert result.exit_code == 0
    assert (
        "warning: out/net_1.weights: this checkpoint is the input of the run and is not"
        in result.stderr
    )
    assert (folder / "out/net_1.weights").read_bytes() == before
    assert "5 checkpoints in out/" in result.output
    assert run(*words, "--force").exit_code == 0
    assert (folder / "out/net_1.weights").read_bytes() != before


def test_a_backbone_begins(folder: Path) -> None:
    run("net.cfg", "data.npz", "--iterations", 2)
    whole = (folder / "net.weights").read_bytes()
    (folder / "net.conv.1").write_bytes(whole[: 20 + 4 * (8 + 48 + 24)])
    result = run("net.cfg", "data.npz", "net.conv.1", "--clear", "--force", "--iterations", 1)
    assert result.exit_code == 2
    assert "'partial'" in result.output
    result = run(
        "net.cfg", "data.npz", "net.conv.1", "--partial", "--clear", "--force", "--iterations", 1
    )
    assert result.exit_code == 0, result.output
    assert "warning: the file ends after layer 0 of 2" in result.output
    assert "trained: 1 iteration, 4 images" in result.output


class TestRefused:
    def test_a_training_that_is_over(self, folder: Path) -> None:
        run("net.cfg", "data.npz")
        before = (folder / "net.weights").read_bytes()
        result = run("net.cfg", "data.npz", "net.weights", "--force")
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        assert line == (
            "error: net.cfg:5: [net]: max_batches: training is already finished: the weights have "
            "had 12 "
            "iterations (48 images seen, 4 an iteration), and max_batches=12; "
            "--iterations N with N above 12 continues, --clear starts the count at 0 again"
        )
        assert not (folder / "net.backup").exists()
        assert len(rows(folder / "net_log.csv")) == 12
        assert (folder / "net.weights").read_bytes() == before

    def test_weights_that_are_there(self, folder: Path) -> None:
        run("net.cfg", "data.npz")
        before = (folder / "net.weights").read_bytes()
        result = run("net.cfg", "data.npz")
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
        assert "net.weights: the file already exists; use --force to overwrite it" in result.output
        assert (folder / "net.weights").read_bytes() == before

    def test_iterations_and_epochs(self, folder: Path) -> None:
        result = run("net.cfg", "data.npz", "--iterations", 2, "--epochs", 1)
        assert result.exit_code == 2
        assert "cannot be used together" in result.output

    def test_a_folder_that_is_not_there(self, folder: Path) -> None:
        (folder / "list.txt").write_text("ant/1.png\n")
        (folder / "set.data").write_text("train=list.txt\nlabels=x.names\nbackup=nowhere\n")
        (folder / "x.names").write_text("ant\nbee\ncat\n")
        (folder / "ant").mkdir()
        (folder / "ant/1.png").write_bytes(b"")
        cfg = CFG.replace("inputs=6", "width=2\nheight=2\nchannels=3")
        (folder / "net.cfg").write_text(cfg)
        result = run("net.cfg", "set.data")
        assert result.exit_code == 2
        assert result.output == (
            "error: set.data: backup: the folder does not exist (found nowhere); create it, or "
            "choose "
            "another with -o\n"
        )

    def test_a_file_in_the_place_of_the_folder(self, folder: Path) -> None:
        (folder / "out").write_text("")
        result = run("net.cfg", "data.npz", "-o", "out")
        assert result.exit_code == 2
        assert "out: cannot be created: " in result.output

    def test_weights_that_another_run_left(self, folder: Path) -> None:
        (folder / "net.backup").write_text("precious")
        result = run("net.cfg", "data.npz")
        assert result.exit_code == 2
        assert result.output == (
            "error: net.backup: these weights belong to another run; give them as WEIGHTS to "
            "resume it, "
            "or use --force to overwrite them\n"
        )
        assert (folder / "net.backup").read_text() == "precious"
        assert not (folder / "net_log.csv").exists()
        assert run("net.cfg", "data.npz", "--force").exit_code == 0

    def test_what_is_not_a_data_set(self, folder: Path) -> None:
        result = run("net.cfg", "net.weights", "data.npz")
        assert result.exit_code == 2
        assert result.output.splitlines()[0] == (
            "error: expected CFG DATA WEIGHTS; try: darknet-bn train net.cfg data.npz net.weights"
        )
        result = run("net.cfg", "voc.yaml")
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
        assert "voc.yaml: no such file (expected .data, .npz, .yaml or .json, or a" in result.output

    def test_no_end(self, folder: Path) -> None:
        (folder / "net.cfg").write_text(CFG.replace("max_batches=12\n", ""))
        result = run("net.cfg", "data.npz")
        assert result.exit_code == 2
        assert "the end of training is not specified" in result.output

    def test_a_state_of_another_model(self, folder: Path) -> None:
        run("net.cfg", "data.npz", "--iterations", 3)
        np.savez(folder / "net.weights.state", about="no JSON")
        os.rename("net.weights.state.npz", "net.weights.state")
        result = run("net.cfg", "data.npz", "net.weights", "--force")
        assert result.exit_code == 2
        assert "net.weights.state: this is not a training state" in result.output

    def test_a_hostile_state(self, folder: Path) -> None:
        run("net.cfg", "data.npz", "--iterations", 3)
        with np.load(folder / "net.weights.state") as archive:
            arrays = dict(archive)
        for name, array in (
            ("updates/0/weights", np.zeros((9, 9), np.float32)),
            ("updates/7/weights", np.zeros(3, np.float32)),
            ("updates/0/../x", np.zeros(3, np.float32)),
            ("updates/0/weights", np.array([{}], object)),
        ):
            with open("net.weights.state", "wb") as stream:
                np.savez(stream, **{**arrays, name: array})
            result = run("net.cfg", "data.npz", "net.weights", "--force")
            assert result.exit_code == 2, name
            assert result.output.count("\n") == 1
            assert "net.weights.state" in result.output


def test_a_loss_that_is_no_number_saves_what_was_before(folder: Path) -> None:
    (folder / "net.cfg").write_text(CFG.replace("0.1", "1e25"))
    result = run("net.cfg", "data.npz")
    assert result.exit_code == 2
    assert "the loss is not finite" in result.output
    assert (folder / "net.backup").exists()
    assert not (folder / "net.weights").exists()
    assert "written: net.backup, net_log.csv, net_chart.svg; each weights file" in result.output


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX systems")
def test_ctrl_c_saves_and_stops(folder: Path) -> None:
    (folder / "net.cfg").write_text(CFG.replace("max_batches=12", "max_batches=1000000"))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "darknet_bn", "train", "net.cfg", "data.npz"),
            *("--batch", "5", "--dialect", "pjreddie"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell without job control has its background jobs ignore the signal, and theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    log = folder / "net_log.csv"
    try:
        until = time.monotonic() + 300  # on a busy machine numba takes long
        while not log.exists() or len(log.read_text().splitlines()) <= 20:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    *notes, written, stopped_line = errors.splitlines()
    assert all("compil" in note for note in notes)  # said by the first run with numba
    assert re.fullmatch(r"written: net_log.csv, net_chart.svg, \d+ checkpoints in ./; .*", written)
    assert re.fullmatch(
        r"stopped after iteration \d+; resume with: darknet-bn train net.cfg data.npz net.backup "
        r"--batch 5 --dialect pjreddie",
        stopped_line,
    )
    model = dn.load("net.cfg", "net.backup")
    state = dn.load_checkpoint(model, "net.backup")
    assert state is not None
    assert state.iteration == int(rows(log)[-1]["iteration"])
    # The command that is shown resumes.
    words = stopped_line.partition("darknet-bn train ")[2].split()
    result = run(*words, "--iterations", state.iteration + 1)
    assert f"training resumes after iteration {state.iteration}" in result.output
    assert result.exit_code == 0


def test_help_names_the_command() -> None:
    result = CliRunner().invoke(main, ["train", "--help"])
    command = main.commands["train"]
    assert "Example: darknet-bn train " in (command.help or "")
    for param in command.params:
        assert isinstance(param, click.Argument) or param.help, param.name
    assert "Ctrl-C saves and stops" in " ".join(result.output.split())
