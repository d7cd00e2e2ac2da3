from __future__ import annotations

import os
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.model.summary import summary_text

from .conftest import TINY, Cli


def test_the_table_stands_in_front_of_what_the_files_say(cli: Cli, tiny: Path) -> None:
    answer = cli("info", f"{tiny}.cfg", f"{tiny}.weights")
    assert (answer.code, answer.err) == (0, "")
    model = dn.load(f"{tiny}.cfg", f"{tiny}.weights")
    table, facts = answer.out[: -len(answer.out) + len(summary_text(model.network))], answer.out
    assert table == summary_text(model.network)
    assert facts.removeprefix(table).splitlines()[1:] == [
        "batch norm: 6 layers",
        "header: version 0.2.0, 20 bytes; 0 images seen in training",
        f"dialect: pjreddie ({model.reason})",
    ]


def test_the_cfg_alone_will_do(cli: Cli, tiny: Path) -> None:
    with_weights = cli("info", tiny).out.splitlines()
    os.remove(f"{tiny}.weights")
    answer = cli("info", f"{tiny}.cfg")
    assert (answer.code, answer.err) == (0, "")
    *table, weights, dialect = answer.out.splitlines()
    assert table == with_weights[:-2]
    assert weights == f"weights: none; {tiny}.weights does not exist"
    assert dialect == "dialect: pjreddie (no fork-only options)"


def test_weights_that_are_named_must_exist(cli: Cli, tiny: Path) -> None:
    for words in ([f"{tiny}.cfg", f"{tiny}-2.weights"], [f"{tiny}-2.weights"]):
        answer = cli("info", *words)
        assert (answer.code, answer.out) == (2, "")
        assert "No such file" in answer.error


def test_no_weights_are_drawn_for_the_table(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*args: object) -> None:
        raise AssertionError("weights were drawn")

    os.remove(f"{tiny}.weights")
    monkeypatch.setattr("darknet_bn.model.model.initial_params", draw)
    assert cli("info", tiny).code == 0


def test_without_weights_the_cfg_decides_the_dialect(cli: Cli, tiny: Path) -> None:
    os.remove(f"{tiny}.weights")
    cfg = tiny.with_name("tiny.cfg")
    cfg.write_text(cfg.read_text().replace("random=0", "scale_x_y=1.05\nfocal_loss=9=8"))
    answer = cli("info", tiny, "--json")
    assert answer.json["dialect"] == "alexeyab"
    assert answer.json["reason"].startswith("scale_x_y= in line ")
    assert cli("info", tiny, "--dialect", "pjreddie-gpu").out.endswith("pjreddie-gpu (given)\n")


def test_oddities_of_options_are_told_without_weights(cli: Cli, tiny: Path) -> None:
    os.remove(f"{tiny}.weights")
    cfg = tiny.with_name("tiny.cfg")
    cfg.write_text(cfg.read_text().replace("random=0", "rando=0\nrandom=0\nrandom=1"))
    answer = cli("info", tiny, "--json")
    twice, unknown = answer.json["oddities"]
    assert "occurs twice" in twice
    assert "rando" in unknown
    assert answer.err.splitlines() == [f"warning: {twice}", f"warning: {unknown}"]


def test_json_has_a_row_for_each_layer_and_the_totals(cli: Cli) -> None:
    facts = cli("info", TINY, "--json").json
    model = dn.load(f"{TINY}.cfg", f"{TINY}.weights")
    assert [row["layer"] for row in facts["layers"]] == list(range(12))
    assert facts["layers"][0] == {
        "layer": 0,
        "section": "convolutional",
        "filters": 8,
        "size": "3 x 3 / 2",
        "input": "64 x 64 x 3",
        "output": "32 x 32 x 8",
        "bflops": 2 * 8 * 27 * 32 * 32 / 1e9,
        "parameters": 4 * 8 + 8 * 27,
    }
    assert facts["parameters"] == sum(row["parameters"] for row in facts["layers"])
    assert facts["parameters"] == model.network.stored_floats
    assert facts["bytes"] == os.path.getsize(f"{TINY}.weights")
    assert facts["bflops"] == pytest.approx(sum(row["bflops"] for row in facts["layers"]))


def test_a_folded_model_has_no_batch_norm(cli: Cli, tiny: Path) -> None:
    assert cli("fold", tiny, "-o", f"{tiny}-folded").code == 0
    assert "batch norm: none" in cli("info", f"{tiny}-folded").out.splitlines()
