"""Options that count or index other options: reported, or refused if no program can mean it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import Form
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.model.network import Network
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.onnx import write_onnx


def with_net(net: str, *sections: str) -> str:
    """Return a cfg with further options in ``[net]``."""
    return (
        cfg_text(*sections).decode().replace("[net]\n", f"[net]\n{net}\n" if net else "[net]\n", 1)
    )


def network(*sections: str, dialect: str = "alexeyab", net: str = "") -> Network:
    text = with_net(net, *sections)
    return dn.build_network(dn.parse_cfg(text), dialect)


def darknet_ends(folder: Path, *sections: str, net: str = "") -> bool:
    """Whether Debian's Darknet stops at a cfg, instead of running it."""
    if shutil.which("darknet") is None:
        pytest.skip("Debian's darknet is not installed")
    text = with_net(net, *sections)
    (folder / "net.cfg").write_text(text)
    # Its command that only loads a cfg, and counts operations.
    result = subprocess.run(
        ["darknet", "ops", "net.cfg"], cwd=folder, capture_output=True, timeout=300, check=False
    )
    return b"Floating Point Operations" not in result.stdout


CONV = "[convolutional] filters=4 size=1 activation=linear"
LAST = "[convolutional] filters=6 size=1 activation=linear"


class TestGroups:
    SECTIONS = ("[convolutional]", "[crnn] size=1", "[conv_lstm] size=1")

    @pytest.mark.parametrize("section", SECTIONS)
    @pytest.mark.parametrize("groups", [0, -2])
    def test_below_1_are_1_in_alexeyabs(self, section: str, groups: int) -> None:
        net = network(f"{section} groups={groups}")
        assert [odd.partition(" layer 0: ")[2] for odd in net.oddities] == [
            f"groups: {groups} is read as 1, as AlexeyAB's Darknet does"
        ]
        assert net.stored_floats == network(section).stored_floats

    @pytest.mark.parametrize("groups", [0, -2])
    def test_below_1_are_refused_elsewhere(self, groups: int) -> None:
        with pytest.raises(CfgError) as caught:
            network(f"[convolutional] groups={groups}", dialect="pjreddie")
        assert str(caught.value) == (
            "line 7: [convolutional] layer 0: groups: the value is too small "
            f"(expected at least 1, found {groups})"
        )

    def test_none_end_the_program(self, tmp_path: Path) -> None:
        assert darknet_ends(tmp_path, f"{CONV} groups=0")
        assert not darknet_ends(tmp_path, f"{CONV} groups=1")


class TestSteps:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("steps=1,2", r"policy: policy=steps needs steps= and scales= \(found no scales=\)"),
            ("scales=1,2", r"policy: policy=steps needs steps= and scales= \(found no steps=\)"),
            ("", r"policy: policy=steps needs steps= and scales= \(found no steps=\)"),
            ("steps=1,2,3\nscales=.1,.2", r"scales: .*\(expected 3, as steps= has, found 2\)"),
            ("steps=1,2\nscales=.1,.2\nseq_scales=1", r"seq_scales: .*\(expected 2, .*found 1\)"),
            ("steps=400 450\nscales=.1,.1\n", r"scales: .*|.*'400 450' is read as '400450'"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_need_as_many_scales(self, options: str, problem: str) -> None:
        if "400 450" in options:
            assert (
                "2 numbers for 1 steps" in network(CONV, net=f"policy=steps\n{options}").oddities[0]
            )
            return
        with pytest.raises(CfgError, match=rf"\[net\]: {problem}"):
            network(CONV, net=f"policy=steps\n{options}")

    @pytest.mark.parametrize("options", ["steps=1,2", "", "steps=1,2,3\nscales=.1"])
    def test_without_them_the_program_ends_too(self, tmp_path: Path, options: str) -> None:
        assert darknet_ends(tmp_path, CONV, net=f"policy=steps\n{options}")

    def test_scales_that_are_too_many_do_not_count(self, tmp_path: Path) -> None:
        options = "policy=steps\nsteps=1,2\nscales=.1,.2,.3"
        (odd,) = network(CONV, net=options).oddities
        assert odd == "line 4: [net]: scales: 3 numbers for 2 steps; the extra ones are ignored"
        assert not darknet_ends(tmp_path, CONV, net=options)

    @pytest.mark.parametrize("policy", ["sgdr", "constant", "poly"])
    def test_mean_nothing_under_another_policy(self, policy: str) -> None:
        assert network(CONV, net=f"policy={policy}\nsteps=1,2").oddities == ()


class TestCounters:
    def test_are_one_for_each_class(self) -> None:
        head = "[yolo] classes=1 anchors=1,2 counters_per_class="
        assert network(LAST, f"{head}7").oddities == ()
        with pytest.raises(
            CfgError,
            match=r"counters_per_class: .*\(expected 1, since classes=1, found 2\)",
        ):
            network(LAST, f"{head}7,8")

    def test_mean_nothing_in_pjreddies(self) -> None:
        net = network(
            LAST, "[yolo] classes=1 anchors=1,2 counters_per_class=7,8", dialect="pjreddie"
        )
        assert len(net.oddities) == 1
        assert "unknown to pjreddie" in net.oddities[0]


def test_no_more_channels_come_out_of_a_pool_than_go_in() -> None:
    assert network("[maxpool] maxpool_depth=1 out_channels=3").nodes[0].y.c == 3
    with pytest.raises(ShapeError, match=r"out_channels: .*\(expected at most 3, found 4\)"):
        network("[maxpool] maxpool_depth=1 out_channels=4")


class TestWhatAHeadSquashes:
    HEADS = (
        "[yolo] classes=1 anchors=1,2",
        "[region] classes=1 anchors=1,2",
        "[Gaussian_yolo] classes=1 anchors=1,2",
    )

    @pytest.mark.parametrize("activation", ["linear", "leaky", "relu"])
    @pytest.mark.parametrize("between", [(), ("[dropout]",), ("[route] layers=-1",)])
    def test_new_coords_ask_for_logistic(self, activation: str, between: tuple[str, ...]) -> None:
        last = LAST.replace("linear", activation)
        head = "[yolo] classes=1 anchors=1,2 new_coords=1"
        line = 1 + with_net("", last, *between, head).splitlines().index("new_coords=1")
        assert network(last, *between, head).oddities == (
            f"line {line}: [yolo] layer {1 + len(between)}: new_coords: the layer before has "
            f"activation={activation}, not logistic; new_coords=1 takes its values unchanged, so "
            "boxes and scores are wrong unless it was trained like this",
        )
        assert network(LAST.replace("linear", "logistic"), *between, head).oddities == ()

    @pytest.mark.parametrize("head", HEADS)
    def test_nothing_is_squashed_twice(self, head: str) -> None:
        filters = 10 if "Gaussian" in head else 6
        conv = f"[convolutional] filters={filters} size=1"
        assert network(f"{conv} activation=linear", head).oddities == ()
        for logistic in (f"{conv} activation=logistic", conv):  # which is the default
            (odd,) = network(logistic, head).oddities
            assert re.fullmatch(
                r"line \d+: \[\w+\] layer 1: the layer before has activation=logistic, "
                "and this one applies it again",
                odd,
            )

    def test_of_layers_without_activation_nothing_is_known(self) -> None:
        between = ("[upsample] stride=2", "[yolo] classes=1 anchors=1,2 new_coords=1")
        assert network(LAST, *between).oddities == ()
        text = cfg_text("[yolo] classes=0 anchors=1,2 new_coords=1", channels=5)
        assert dn.build_network(dn.parse_cfg(text), "alexeyab").oddities == ()


WITHOUT_CLASSES = {
    "yolo": (LAST.replace("6", "5"), "[yolo] classes=0 anchors=3,3"),
    "region": (LAST.replace("6", "5"), "[region] classes=0 anchors=1,1 softmax=1"),
    "detection": (
        "[connected] output=90 activation=linear",
        "[detection] classes=0 coords=4 num=2 side=3 softmax=1",
    ),
}


@pytest.mark.parametrize("head", ["raw", "decoded", "nms"])
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("name", WITHOUT_CLASSES)
def test_heads_without_classes_leave_as_onnx(
    tmp_path: Path, name: str, dialect: str, head: Form
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = random_model(cfg_text(*WITHOUT_CLASSES[name]), dialect)
    x = random_input(model)
    exported = write_onnx(model, tmp_path / "x.onnx", head=head, batch=2)
    assert dn.prove(model, exported, {"x": x}).ok
    assert dn.detections(model, x) == [[], []]
