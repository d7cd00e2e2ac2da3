"""``darknet-bn train --engine torch``: the files of a training, and resuming."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from tests.support.train_builders import Squares, small_model

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)  # small nets are faster so, beside other tests


def run(*more: str) -> Any:
    return CliRunner().invoke(main, ["train", "net.cfg", "data.npz", *more])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.cfg").write_bytes(small_model("burn_in=3").cfg.to_bytes())
    np.savez(tmp_path / "data.npz", x=Squares(6).x, y=Squares(6).kinds)
    monkeypatch.chdir(tmp_path)


def test_it_trains_and_resumes() -> None:
    result = run("--engine", "torch", "--device", "cpu", "-o", "whole")
    assert result.exit_code == 0, result.output
    assert run("-o", "ours").exit_code == 0
    for name in ("net.weights", "net_5.weights"):
        one, other = (dn.load("net.cfg", f"{each}/{name}") for each in ("whole", "ours"))
        assert one.header == other.header
    assert sorted(os.listdir("whole")) == sorted(os.listdir("ours"))
    assert run("--engine", "torch", "--iterations", "7", "-o", "half").exit_code == 0
    rest = run("half/net.weights", "--engine", "torch", "-o", "rest")
    assert "training resumes after iteration 7" in rest.output
    whole, parted = (Path(each, "net.weights").read_bytes() for each in ("whole", "rest"))
    assert parted == whole


def test_a_device_is_for_pytorch() -> None:
    assert "--device is for --engine torch" in run("--device", "cpu").output
    result = run("--engine", "torch", "--device", "cuda:7")
    assert result.exit_code == 2
    assert result.output.startswith("error: PyTorch cannot use this device")
    assert not os.path.exists("net_log.csv")


def test_what_dn_train_refuses() -> None:
    model = small_model()
    state, examples = dn.train_state(model), Squares()
    with pytest.raises(dn.DarknetError, match=r"no such engine for training.*numpy or torch"):
        dn.train(state, examples, engine="opencv")
    with pytest.raises(dn.DarknetError, match="our own engine has no devices"):
        dn.train(state, examples, device="cuda")
