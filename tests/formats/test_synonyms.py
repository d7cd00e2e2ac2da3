"""Hints for words of other programs; they lead to words that Darknet has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.formats.synonyms import OPTIONS, SECTIONS, WORDS, hint
from darknet_bn.layers import KINDS, LAYERS
from darknet_bn.layers.net import Net
from tests.support.builders import weights_bytes
from tests.support.paths import FIXTURES

DECLARED = {key: each for kind in (Net, *KINDS) for key, each in kind.declared().items()}


def refused(section: str) -> str:
    with pytest.raises(dn.CfgError) as caught:
        dn.build_network(
            dn.parse_cfg(f"[net]\nwidth=8\nheight=8\nchannels=3\n{section}"), "alexeyab"
        )
    return str(caught.value)


def oddity(section: str) -> str:
    cfg = dn.parse_cfg(f"[net]\nwidth=8\nheight=8\nchannels=3\n{section}")
    (odd,) = dn.build_network(cfg, "alexeyab").oddities
    return odd


class TestTables:
    def test_keys_are_plain(self) -> None:
        for table in (SECTIONS, OPTIONS, *WORDS.values()):
            assert all(key == key.lower() and key.isalnum() for key in table)

    def test_sections_lead_to_sections(self) -> None:
        assert {each for each in SECTIONS.values() if " " not in each} <= set(LAYERS)
        assert not set(SECTIONS) & set(LAYERS) - {"batchnorm"}

    def test_options_lead_to_options(self) -> None:
        assert {each for each in OPTIONS.values() if " " not in each} <= set(DECLARED)
        assert not {key for key in OPTIONS if key in DECLARED} - {"outputs"}

    @pytest.mark.parametrize("key", WORDS)
    def test_words_lead_to_words(self, key: str) -> None:
        known = {
            word
            for kind in (Net, *KINDS)
            if key in kind.declared()
            for word in kind.declared()[key].rule.choices or ()
        }
        assert {each for each in WORDS[key].values() if " " not in each} <= known


class TestActivations:
    def test_the_report(self) -> None:
        with pytest.raises(dn.CfgError) as caught:
            dn.load(FIXTURES / "reports/silu/net.cfg", None)
        message = str(caught.value)
        assert "net.cfg:12: [convolutional] layer 0: activation: unknown word" in message
        assert message.endswith("found 'silu'); 'silu' is called 'swish' in Darknet")

    @pytest.mark.parametrize(
        ("word", "meant"),
        [
            ("silu", "swish"),
            ("SiLU", "swish"),
            ("LeakyReLU", "leaky"),
            ("lrelu", "leaky"),
            ("sigmoid", "logistic"),
            ("identity", "linear"),
            ("none", "linear"),
        ],
    )
    def test_have_other_names(self, word: str, meant: str) -> None:
        message = refused(f"[convolutional]\nactivation={word}\n")
        assert message.endswith(f"; {word!r} is called {meant!r} in Darknet")

    @pytest.mark.parametrize(
        ("word", "meant"),
        [
            ("hardmish", "hard_mish"),
            ("hard-mish", "hard_mish"),
            ("Mish", "mish"),
            ("leaky_relu", "leaky"),
            ("hardtanh", "hardtan"),
        ],
    )
    def test_are_written_otherwise(self, word: str, meant: str) -> None:
        message = refused(f"[convolutional]\nactivation={word}\n")
        assert message.endswith(f"; did you mean {meant!r}?")

    @pytest.mark.parametrize("word", ["hardswish", "hard_swish", "h_swish", "softplus", "prelu"])
    def test_are_not_there(self, word: str) -> None:
        assert "; Darknet has no " in refused(f"[convolutional]\nactivation={word}\n")

    def test_of_another_section(self) -> None:
        message = refused("[connected]\nactivation=silu\n")
        assert message.endswith("'silu' is called 'swish' in Darknet, but not supported here")

    def test_opencv_takes_silu_as_what_it_is(self) -> None:
        cfg = dn.parse_cfg((FIXTURES / "reports/silu/net.cfg").read_bytes())
        network = dn.build_network(cfg, "opencv")
        assert network.nodes[0].layer.activation == "swish"  # type: ignore[attr-defined]
        assert network.oddities == ()


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("conv2d", "[conv2d] is called [convolutional] in Darknet"),
        ("fc", "[fc] is called [connected] in Darknet"),
        ("concat", "[concat] is called [route] in Darknet"),
        ("residual", "[residual] is called [shortcut] in Darknet"),
        ("convolution", "did you mean [convolutional]?"),
        ("gaussian_yolo", "did you mean [Gaussian_yolo]?"),
        ("Max-Pool", "did you mean [maxpool]?"),
        ("batch_normalize", "did you mean [batchnorm]?"),
        ("depthwise_conv", "a depthwise convolution is [convolutional] with as many groups="),
        ("implicit_add", "a section of YOLOR's cfgs for PyTorch"),
    ],
)
def test_sections_have_other_names(word: str, text: str) -> None:
    message = refused(f"[{word}]\n")
    assert "the section is unknown" in message
    assert text in message


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("batch_norm=1", "did you mean 'batch_normalize'?"),
        ("bn=1", "'bn' is called 'batch_normalize' in Darknet"),
        ("kernel_size=3", "'kernel_size' is called 'size' in Darknet"),
        ("kernel=3", "'kernel' is called 'size' in Darknet"),
        ("out_channels=3", "'out_channels' is called 'filters' in Darknet"),
        ("strides=2", "did you mean 'stride'?"),
    ],
)
def test_options_have_other_names(option: str, text: str) -> None:
    odd = oddity(f"[convolutional]\n{option}\n")
    assert odd.endswith(f"unknown option, not used; {text}")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("lr=0.1", "'lr' is called 'learning_rate' in Darknet"),
        ("input_size=416", "width and height"),
        ("weight_decay=1", "'weight_decay' is called 'decay' in Darknet"),
    ],
)
def test_options_of_net_have_other_names(option: str, text: str) -> None:
    cfg = dn.parse_cfg(f"[net]\nwidth=8\nheight=8\nchannels=3\n{option}\n[avgpool]\n")
    (odd,) = dn.build_network(cfg, "alexeyab").oddities
    assert odd.endswith(f"unknown option, not used; {text}")


def test_nothing_near_gives_no_hint() -> None:
    assert hint("xyzzy", ("linear", "leaky"), WORDS["activation"]) is None
    assert hint("lineer", ("linear", "leaky"), {}) == "did you mean 'linear'?"


def test_silu_is_swish_in_opencv(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    cfg, weights = FIXTURES / "reports/silu/net.cfg", tmp_path / "net.weights"
    text = cfg.read_bytes().replace(b"batch_normalize=1\n", b"")
    (tmp_path / "net.cfg").write_bytes(text)
    weights.write_bytes(weights_bytes(text, "opencv"))
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    net = cv2.dnn.readNetFromDarknet(str(tmp_path / "net.cfg"), str(weights))
    net.setInput(x)
    model = dn.load(tmp_path / "net.cfg", weights, dialect="opencv")
    # two float32 computations of 27 products each
    np.testing.assert_allclose(dn.forward(model, x)[0], net.forward(), rtol=1e-5, atol=1e-5)


def test_a_very_long_word_costs_no_time() -> None:
    assert hint("a" * 1_000_000, WORDS["activation"], {}) is None
