"""Whose cfg and weights these are, and what each program's batch norm divides by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, DIALECTS, HANK_AI, PJREDDIE, PJREDDIE_GPU
from darknet_bn.formats.cfg import load_cfg, parse_cfg
from darknet_bn.model.network import build_network, detect_dialect
from darknet_bn.model.weights import Header
from tests.support.builders import cfg_text, random_floats, random_model, weights_bytes
from tests.support.onnx import write_onnx

PLAIN = cfg_text("[convolutional] filters=2 activation=leaky")


def detected(*sections: str) -> tuple[str, str]:
    dialect, reason = detect_dialect(parse_cfg(cfg_text(*sections)))
    return dialect.name, reason


class TestChoice:
    def test_the_names(self) -> None:
        assert list(DIALECTS) == ["pjreddie", "pjreddie-gpu", "alexeyab", "hank-ai", "opencv"]
        assert all(name == dialect.name for name, dialect in DIALECTS.items())

    def test_how_the_programs_differ(self) -> None:
        # pjreddie's on the CPU, on the GPU, AlexeyAB's, hank-ai's: from the description's table.
        # OpenCV computes as AlexeyAB's does but for its eps and the order of [region].
        for name, values in {
            "extended": (False, False, True, True, True),
            "batchnorm_stores_biases": (False, False, True, True, True),
            "batch_norm_trains_biases": (True, True, False, False, False),
            "rolling_keep": (0.99, 0.99, 0.9, 0.9, 0.9),
            "rolling_keep_connected": (0.99, 0.99, 0.95, 0.95, 0.95),
            "region_by_cell": (False, False, True, True, False),
            "dropout_probability": (0.5, 0.5, 0.2, 0.2, 0.2),
            "filters_from_normal": (True, True, False, False, False),
            "weights_revision": (0, 0, 5, 5, 5),
            "checkpoint_names": ("backup", "backup", "last", "last", "last"),
            "random_sizes": ("squares", "squares", "around", "around", "around"),
            "adam_eps": (1e-7, 1e-7, 1e-6, 1e-6, 1e-6),
            "mends_groups": (False, False, True, True, True),
            "shortcut_adds_all": (False, False, True, True, True),
            "fork_yolo_loss": (False, False, True, True, True),
            "fork_region_loss": (False, False, True, True, True),
        }.items():
            assert tuple(getattr(each, name) for each in DIALECTS.values()) == values, name

    @pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
    def test_a_given_one_is_in_force_whatever_the_files_say(self, dialect: dn.Dialect) -> None:
        for wanted in (dialect, dialect.name):
            model = dn.load(PLAIN, weights_bytes(PLAIN), dialect=wanted)
            assert model.dialect is dialect
            assert model.reason == "given"

    def test_an_unknown_name_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(dn.DarknetError, match=r"pjreddie, pjreddie-gpu, alexeyab, hank-ai"):
            dn.load(PLAIN, None, dialect="yolo")

    def test_revision_5_is_of_the_forks(self) -> None:
        model = dn.load(PLAIN, weights_bytes(PLAIN, header=Header(revision=5)))
        assert model.dialect is ALEXEYAB
        assert "revision 5" in model.reason

    @pytest.mark.parametrize(
        "header",
        [
            Header(),
            Header(minor=1, seen_bytes=4),
            Header(revision=1),
            Header(major=0x3A83126F, minor=0x3F666666, revision=5, seen_bytes=4),
        ],
        ids=["0.2.0", "0.1.0", "0.2.1", "legacy"],
    )
    def test_other_headers_leave_it_to_the_cfg(self, header: Header) -> None:
        model = dn.load(PLAIN, weights_bytes(PLAIN, header=header))
        assert model.dialect is PJREDDIE
        assert header.version in model.reason
        mish = PLAIN.replace(b"leaky", b"mish")
        assert dn.load(mish, weights_bytes(mish, header=header)).dialect is ALEXEYAB

    @pytest.mark.parametrize(
        ("section", "reason"),
        [
            ("[convolutional] activation=mish", "activation=mish in line 7"),
            ("[convolutional] dilation=2", "dilation= in line 7"),
            ("[maxpool] size=2 maxpool_depth=1 out_channels=1", "maxpool_depth= in line 8"),
            ("[local_avgpool] size=2", "[local_avgpool] in line 6"),
            ("[empty]", "[empty] in line 6"),
        ],
    )
    def test_words_that_one_fork_only_knows(self, section: str, reason: str) -> None:
        assert detected("[convolutional] filters=1")[0] == "pjreddie"
        name, why = detected(section)
        assert (name, why) == ("alexeyab", f"{reason} is fork-only")

    def test_an_option_of_net_tells_too(self) -> None:
        text = PLAIN.replace(b"[net]", b"[net]\nmosaic=1")
        assert detect_dialect(parse_cfg(text))[0] is ALEXEYAB

    def test_unknown_sections_and_options_tell_nothing(self) -> None:
        assert detected("[convolutional] foo=1", "[bar]")[0] == "pjreddie"

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_no_published_cfg_of_pjreddie_is_taken_for_the_fork_s(self, shared: Path) -> None:
        for path in sorted(shared.glob("cfg/pjreddie/*.cfg")):
            assert detect_dialect(load_cfg(path)) == (
                PJREDDIE,
                "no fork-only options",
            ), path.name

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_published_cfgs_of_yolov4_and_later_are_known_as_the_fork_s(self, shared: Path) -> None:
        for name in ("yolov4", "yolov4-tiny", "yolov4-csp", "yolov7-tiny", "enet-coco"):
            cfg = load_cfg(shared / f"cfg/alexeyab/{name}.cfg")
            assert detect_dialect(cfg)[0] is ALEXEYAB, name


class TestWhatOneForkOnlyKnows:
    def test_its_options_are_not_used_elsewhere_and_a_warning_says_so(self) -> None:
        cfg = cfg_text("[convolutional] filters=2 size=3 pad=1 dilation=2 stride_x=2")
        with pytest.warns(dn.DarknetWarning) as caught:
            model = dn.load(cfg, None, dialect="pjreddie")
        layer = model.network.nodes[0].layer
        assert (layer.dilation, layer.stride_x) == (1, None)
        assert [str(each.message) for each in caught] == [
            "line 10: [convolutional] layer 0: dilation: unknown to pjreddie, not used "
            "(alexeyab knows it)",
            "line 11: [convolutional] layer 0: stride_x: unknown to pjreddie, not used "
            "(alexeyab knows it)",
        ]
        assert dn.load(cfg, None, dialect="alexeyab").network.nodes[0].layer.dilation == 2

    def test_its_activations_are_what_the_others_take_for_an_unknown_word(self) -> None:
        cfg = cfg_text("[convolutional] activation=mish")
        with pytest.warns(dn.DarknetWarning, match="'mish' is unknown to pjreddie.*uses 'relu'"):
            model = dn.load(cfg, None, dialect="pjreddie")
        assert model.network.nodes[0].layer.activation == "relu"
        assert dn.load(cfg, None, dialect="hank-ai").network.nodes[0].layer.activation == "mish"

    def test_its_sections_are_refused_elsewhere(self) -> None:
        with pytest.raises(dn.CfgError, match=r"\[empty\] layer 0: pjreddie has no such section"):
            build_network(parse_cfg(cfg_text("[empty]")), PJREDDIE)

    def test_the_other_s_sections_tell_too_and_are_refused_here(self) -> None:
        for name in ("deconvolutional", "deconv", "l2norm", "logistic", "iseg"):
            assert detected(f"[{name}]") == (
                "pjreddie",
                f"[{name}] in line 6 is pjreddie-only",
            )
            with pytest.raises(dn.CfgError, match="alexeyab has no such section; the dialect pjre"):
                build_network(parse_cfg(cfg_text(f"[{name}]")), ALEXEYAB)
        # what comes first counts
        assert detected("[empty]", "[l2norm]")[0] == "alexeyab"
        assert detected("[l2norm]", "[empty]")[0] == "pjreddie"

    def test_batchnorm_layers_store_biases_there_only(self) -> None:
        cfg = cfg_text("[convolutional] filters=5 size=1", "[batchnorm]")
        floats = {
            name: len(random_floats(build_network(parse_cfg(cfg), dialect))) // 4
            for name, dialect in DIALECTS.items()
        }
        convolution = 5 + 5 * 3
        assert floats == {
            "pjreddie": convolution + 15,
            "pjreddie-gpu": convolution + 15,
            "alexeyab": convolution + 20,
            "hank-ai": convolution + 20,
            "opencv": convolution + 20,
        }


class TestWhatOpencvReads:
    YOLO = "[yolo] mask=0,1 anchors=10,20,30,40 num=2 classes=2 thresh=0.5 nms_threshold=0.3"

    def test_its_keys_are_not_used_elsewhere_and_a_warning_says_so(self) -> None:
        cfg = parse_cfg(cfg_text(self.YOLO, channels=14))
        network = build_network(cfg, dn.OPENCV)
        assert network.oddities == ()
        assert (network.nodes[0].layer.thresh, network.nodes[0].layer.nms_threshold) == (0.5, 0.3)
        for dialect in (PJREDDIE, ALEXEYAB):
            network = build_network(cfg, dialect)
            told = f"thresh: unknown to {dialect.name}, not used (opencv knows it)"
            assert told in network.oddities[0]
            assert network.nodes[0].layer.thresh == 0.2

    @pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB, dn.OPENCV])
    def test_its_defaults_are_its_own(self, dialect: dn.Dialect) -> None:
        kinds = ("[convolutional]", "[connected]", "[maxpool]", "[reorg]", "[upsample]")
        theirs = dialect == dn.OPENCV
        found = [
            build_network(parse_cfg(cfg_text(kind, channels=4)), dialect).nodes[0].layer
            for kind in kinds
        ]
        word = "linear" if theirs else "logistic"
        assert [each.activation for each in found[:2]] == [word, word]
        assert (found[2].size, found[2].stride) == ((2, 2) if theirs else (None, 1))
        assert [each.stride for each in found[3:]] == ([2, 1] if theirs else [1, 2])

    def test_a_net_needs_no_size(self) -> None:
        cfg = parse_cfg(b"[net]\n[maxpool]\n")
        assert build_network(cfg, dn.OPENCV).input.dims == (3, 416, 416)
        with pytest.raises(dn.CfgError, match="the size of the input is missing"):
            build_network(cfg, ALEXEYAB)

    def test_the_last_of_two_lines_counts(self) -> None:
        text = cfg_text("[convolutional] activation=leaky activation=mish filters=2")
        with pytest.warns(dn.DarknetWarning, match="occurs twice; the first, in line 7, is used"):
            cfg = parse_cfg(text)
        ab, opencv = (build_network(cfg, dialect) for dialect in (ALEXEYAB, dn.OPENCV))
        assert [each.nodes[0].layer.activation for each in (ab, opencv)] == ["leaky", "mish"]
        (told,) = opencv.oddities
        assert told.endswith("activation: opencv uses the last one, in line 8")
        assert ab.oddities == ()

    def test_alpha_of_a_shortcut_counts(self) -> None:
        conv = "[convolutional] filters=3 activation=linear"
        cfg = cfg_text(conv, conv, "[shortcut] from=-2 activation=linear alpha=0.5")
        weights = weights_bytes(cfg, "opencv")
        x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
        for dialect, alpha in (("opencv", 0.5), ("pjreddie", 0.5)):
            y = dn.forward(dn.load(cfg, weights, dialect=dialect), x, "all")
            np.testing.assert_allclose(y[2], alpha * y[1] + y[0], rtol=1e-5, atol=1e-6)

    def test_a_softmax_is_of_each_pixel_and_does_not_learn(self) -> None:
        cfg = cfg_text("[convolutional] filters=4", "[softmax]")
        model = random_model(cfg, "opencv")
        x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
        shares = dn.forward(model, x)[1]
        assert shares.shape == (2, 4, 8, 8)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        with pytest.raises(
            dn.TrainingError, match="OpenCV's softmax of each pixel cannot be trained"
        ):
            dn.train_step(dn.train_state(model), x, np.zeros((2, 256), np.float32))
        assert dn.forward(random_model(cfg, "alexeyab"), x)[1].shape == (2, 256)

    def test_a_softmax_of_each_pixel_is_expressed_in_onnx(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
        model = random_model(cfg_text("[convolutional]", "[softmax] temperature=2"), "opencv")
        exported = write_onnx(model, tmp_path / "net.onnx")
        x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
        proof = dn.prove(model, exported, {"random": x})
        assert proof.ok, str(proof.worst)


class TestSigma:
    # The C sources write 1e-6f and 1e-5f: float32 constants, whatever the precision around them.
    VARIANCES = (10.0, 1.0, 0.01, 1e-4, 1e-6, 0.0)

    def test_the_divisor_of_each_program(self) -> None:
        v = np.array(self.VARIANCES, np.float64)
        outside = np.sqrt(v) + np.float64(np.float32(1e-6))
        inside = np.sqrt(v + np.float64(np.float32(1e-5)))
        np.testing.assert_array_equal(PJREDDIE.sigma(v), outside)
        for dialect in (PJREDDIE_GPU, ALEXEYAB, HANK_AI):
            np.testing.assert_array_equal(dialect.sigma(v), inside)

    def test_float32_stays_float32_within_two_roundings(self) -> None:
        v = np.array(self.VARIANCES, np.float32)
        for dialect in DIALECTS.values():
            sigma = dialect.sigma(v)
            assert sigma.dtype == np.float32
            # Two operations, each rounded once: at most 2 ulp of 2**-23 from the exact value.
            np.testing.assert_allclose(sigma, dialect.sigma(v.astype(np.float64)), rtol=2.4e-7)

    def test_the_variance_given_is_not_changed(self) -> None:
        v = np.array([1e-40, 0.5], np.float32)
        kept = v.copy()
        for dialect in DIALECTS.values():
            dialect.sigma(v)
            dialect.delta_sigma(v)
        np.testing.assert_array_equal(v, kept)

    @pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_subnormal_variances_count_as_zero(self, dialect: dn.Dialect, kind: type) -> None:
        v = np.array([-7e-44, 7e-44, -1e-45, -1.1e-38, 0.0], np.float32).astype(kind)
        np.testing.assert_array_equal(dialect.sigma(v), np.full(5, dialect.sigma(v[-1:])[0]))

    def test_negative_variances_give_nan_unless_eps_makes_up_for_them(self) -> None:
        v = np.array([-1e-3, -1e-6], np.float32)
        assert np.isnan(PJREDDIE.sigma(v)).all()
        np.testing.assert_array_equal(np.isnan(ALEXEYAB.sigma(v)), [True, False])

    def test_the_backward_pass_swaps_the_places_of_eps(self) -> None:
        v = np.array([1e-4], np.float32)
        inside, outside = np.sqrt(1.1e-4), np.sqrt(1e-4) + 1e-5
        for dialect, expected in (
            (PJREDDIE, inside),
            (PJREDDIE_GPU, inside),
            (ALEXEYAB, outside),
            (HANK_AI, outside),
        ):
            # float32 arithmetic of two operations
            np.testing.assert_allclose(dialect.delta_sigma(v), expected, rtol=2.4e-7)
