"""Options read themselves: numbers as C reads them, words, lists, and what each program knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from darknet_bn.dialect import ALEXEYAB, HANK_AI, PJREDDIE, PJREDDIE_GPU, Dialect
from darknet_bn.errors import CfgError
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.layers import KINDS
from darknet_bn.layers.batchnorm import BatchNorm
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.convolutional import Convolutional
from darknet_bn.layers.net import Net
from darknet_bn.layers.options import Options, fact, option


@dataclass(frozen=True, kw_only=True)
class Sample(Options):
    whole: int = option(1)
    positive: int = option(1, at_least=1)
    maybe: int | None = option(None)
    real: float = option(0.5)
    share: float = option(0.0, at_least=0)
    flag: bool = option(False)
    text: str | None = option(None)
    word: str = option("red", choices=("red", "green", "blue"))
    shade: str = option(
        "dark", choices=("dark", "neon"), extended_choices=frozenset({"neon"}), fallback="dark"
    )
    numbers: tuple[int, ...] = option(())
    ratios: tuple[float, ...] | None = option(None)
    steps: tuple[int, ...] | None = option(None)
    counts: tuple[int, ...] = option((), at_least=0)
    newer: int = option(3, extended=True)
    older: int = option(4, original=True)
    varied: float = option(lambda dialect: 0.25 if dialect.extended else 0.75)
    from_: tuple[int, ...] = option((), reference=True)


@dataclass(frozen=True, kw_only=True)
class Needy(Options):
    layers: tuple[int, ...] = option((), required=True)


@dataclass(frozen=True, kw_only=True)
class Told(Options):
    everywhere: int = option(3, extended=True, stray=True)
    eps: float = fact(lambda dialect: dialect.eps)


@dataclass(frozen=True, kw_only=True)
class Differing(Options):
    most: int = option(200, original_default=90, at_least=0)
    own: int | None = option(1, original_default=None, extended=True)


def read(text: str, dialect: Dialect = ALEXEYAB) -> tuple[Sample, list[str]]:
    """Read a section from consecutive options; return it and what was odd."""
    cfg = parse_cfg("[net]\n" + "\n".join(text.split()), file="x.cfg")
    odd: list[str] = []
    return Sample.read(cfg, 0, dialect, odd.append), odd


def refused(text: str, dialect: Dialect = ALEXEYAB) -> str:
    with pytest.raises(CfgError) as caught:
        read(text, dialect)
    return str(caught.value)


class TestIntegers:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("0", 0),
            ("7", 7),
            ("-3", -3),
            ("+3", 3),
            ("007", 7),
            ("000000000000000000016", 16),
            ("2147483647", 2147483647),
            ("-2147483648", -2147483648),
            ("40#32", 40),
            ("40;32", 40),
            ("40#", 40),
        ],
    )
    def test_are_read(self, text: str, value: int) -> None:
        sample, odd = read(f"whole={text} maybe={text}")
        assert (sample.whole, sample.maybe) == (value, value)
        assert odd == []

    @pytest.mark.parametrize(
        ("text", "value"), [("1e3", 1), ("0x10", 0), ("0.5", 0), ("12abc", 12), ("-3,4", -3)]
    )
    def test_are_read_as_far_as_they_go_with_a_warning(self, text: str, value: int) -> None:
        sample, odd = read(f"whole={text}")
        assert sample.whole == value
        assert odd == [f"x.cfg:2: [net]: whole: '{text}' is read as {value}, as Darknet does"]

    @pytest.mark.parametrize("text", ["abc", "yes", ".5", "#5", "-", "+-1", "nan", "٣", "_0"])
    def test_other_text_is_refused_with_its_place(self, text: str) -> None:
        assert refused(f"whole={text}") == (
            f"x.cfg:2: [net]: whole: '{text}' is not an integer (expected an integer); "
            "Darknet would silently read 0 here"
        )

    @pytest.mark.parametrize("text", ["2147483648", "-2147483649", "9" * 30, "9" * 6000])
    def test_beyond_32_bits_are_refused(self, text: str) -> None:
        message = refused(f"whole={text}")
        assert "whole: the integer does not fit into 32 bits (found '" in message
        assert len(message) < 150

    def test_below_the_smallest_are_refused(self) -> None:
        assert refused("flag=1 positive=0") == (
            "x.cfg:3: [net]: positive: the value is too small (expected at least 1, found 0)"
        )
        assert read("positive=1")[0].positive == 1


class TestFloats:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-.25", -0.25),
            ("1e-3", 1e-3),
            ("1E3", 1000.0),
            ("+1.5e+2", 150.0),
            ("0x10", 16.0),
            ("0x1.8p1", 3.0),
            ("inf", math.inf),
            ("-Infinity", -math.inf),
            ("1e999", math.inf),
            ("0x1p99999", math.inf),
            ("-0x1p99999", -math.inf),
            ("0.9#x", 0.9),
        ],
    )
    def test_are_read(self, text: str, value: float) -> None:
        sample, odd = read(f"real={text}")
        assert sample.real == value
        assert odd == []

    def test_not_a_number_is_one_too_but_not_where_there_is_a_smallest(self) -> None:
        assert math.isnan(read("real=nan")[0].real)
        assert "too small (expected at least 0, found nan)" in refused("share=nan")

    @pytest.mark.parametrize(("text", "value"), [("0.5abc", 0.5), ("1,2", 1.0), ("1e", 1.0)])
    def test_are_read_as_far_as_they_go_with_a_warning(self, text: str, value: float) -> None:
        sample, odd = read(f"real={text}")
        assert sample.real == value
        assert odd == [f"x.cfg:2: [net]: real: '{text}' is read as {value}, as Darknet does"]

    @pytest.mark.parametrize("text", ["abc", ".", "e5", "-", "#1"])
    def test_other_text_is_refused(self, text: str) -> None:
        assert f"real: '{text}' is not a number (expected a number)" in refused(f"real={text}")


class TestFlags:
    @pytest.mark.parametrize(("text", "value"), [("0", False), ("1", True), ("2", True)])
    def test_are_numbers(self, text: str, value: bool) -> None:
        assert read(f"flag={text}")[0].flag is value

    def test_words_are_refused(self) -> None:
        assert "'true' is not an integer" in refused("flag=true")


class TestWords:
    def test_are_read(self) -> None:
        sample, odd = read("text=data/a=b.tree word=green")
        assert (sample.text, sample.word, odd) == ("data/a=b.tree", "green", [])

    def test_others_are_refused_with_the_nearest(self) -> None:
        assert refused("word=gren") == (
            "x.cfg:2: [net]: word: unknown word (expected one of blue, green, red, found 'gren'); "
            "did you mean 'green'?"
        )
        assert refused("word=xyz").endswith("found 'xyz')")

    def test_case_counts(self) -> None:
        assert refused("word=Red").endswith("found 'Red'); did you mean 'red'?")

    @pytest.mark.parametrize("comment", ["#x", ";x", "//x", "#", "#green"])
    def test_a_comment_after_one_is_named_as_the_cause(self, comment: str) -> None:
        assert refused(f"word=red{comment}") == (
            "x.cfg:2: [net]: word: Darknet treats the comment as part of the word (expected "
            f"'red' alone, found 'red{comment}'); put the comment on its own line"
        )
        assert "unknown word" in refused(f"word=rad{comment}")

    def test_a_comment_ends_them_in_hank_ai_s_fork(self) -> None:
        sample, odd = read("word=red#x", HANK_AI)
        assert (sample.word, odd) == ("red", [])
        with pytest.raises(CfgError, match="treats the comment as part"):
            read("word=red;x", HANK_AI)

    def test_words_of_the_fork_fall_back_elsewhere(self) -> None:
        assert read("shade=neon", ALEXEYAB) == read("shade=neon", HANK_AI)
        assert read("shade=neon")[0].shade == "neon"
        sample, odd = read("shade=neon", PJREDDIE)
        assert sample.shade == "dark"
        assert odd == [
            "x.cfg:2: [net]: shade: 'neon' is unknown to pjreddie, which uses 'dark' instead"
        ]


class TestLists:
    def test_are_read(self) -> None:
        sample, odd = read("numbers=1,-2,3 ratios=.1,1e2 counts=0 steps=4,5")
        assert (sample.numbers, sample.ratios, sample.counts) == ((1, -2, 3), (0.1, 100.0), (0,))
        assert sample.steps == (4, 5)
        assert all(isinstance(each, int) for each in sample.steps)
        assert odd == []

    def test_a_semicolon_does_not_separate_them(self) -> None:
        sample, odd = read("numbers=1;2;3")
        assert sample.numbers == (1,)
        assert odd == [
            "x.cfg:2: [net]: numbers: ';2;3' is treated as a comment: commas separate numbers"
        ]

    @pytest.mark.parametrize("comment", ["#", "#3", ";a3", "//3"])
    def test_a_comment_ends_them(self, comment: str) -> None:
        sample, odd = read(f"numbers=1,2{comment}")
        assert (sample.numbers, odd) == ((1, 2), [])

    @pytest.mark.parametrize("comment", ["#,3", ";a,3", "//,"])
    def test_a_comment_with_commas_is_odd(self, comment: str) -> None:
        sample, odd = read(f"numbers=1,2{comment}")
        assert sample.numbers == (1, 2)
        assert odd == [
            f"x.cfg:2: [net]: numbers: the comment '{comment}' is ignored, but Darknet may read "
            "numbers between its commas; put it on its own line"
        ]

    def test_a_comma_at_the_end_is_odd(self) -> None:
        sample, odd = read("numbers=1,2,")
        assert sample.numbers == (1, 2)
        assert odd == ["x.cfg:2: [net]: numbers: the comma at the end is ignored"]

    @pytest.mark.parametrize("text", ["1,,3", ",1", ",", "1,a"])
    def test_holes_are_refused(self, text: str) -> None:
        assert "is not an integer" in refused(f"numbers={text}")

    def test_each_item_has_the_smallest(self) -> None:
        assert "counts: the value is too small (expected at least 0, found -1)" in refused(
            "counts=1,-1"
        )


class TestDefaults:
    def test_of_what_is_absent(self) -> None:
        sample, odd = read("flag=0")
        assert sample == Sample(varied=0.25)
        assert (sample.whole, sample.maybe, sample.real, sample.word) == (1, None, 0.5, "red")
        assert odd == []

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_an_option_without_a_value_is_absent(self) -> None:
        sample, odd = read("whole positive=2 varied word=")
        assert (sample.whole, sample.positive, sample.varied, sample.word) == (1, 2, 0.25, "red")
        assert odd == []

    def test_may_differ_by_dialect(self) -> None:
        assert read("flag=0", ALEXEYAB)[0].varied == 0.25
        assert read("flag=0", PJREDDIE)[0].varied == 0.75
        assert read("varied=0.5", PJREDDIE)[0].varied == 0.5

    @pytest.mark.parametrize(("dialect", "values"), [(ALEXEYAB, (200, 1)), (PJREDDIE, (90, None))])
    def test_of_the_original(self, dialect: Dialect, values: tuple[int, int | None]) -> None:
        differing = Differing.read(parse_cfg("[net]\na=1\n"), 0, dialect, [].append)
        assert (differing.most, differing.own) == values
        assert Differing() == Differing.read(parse_cfg("[net]\na=1\n"), 0, PJREDDIE, [].append)
        given = Differing.read(parse_cfg("[net]\nmost=3\n"), 0, dialect, [].append)
        assert given.most == 3

    def test_a_required_option_must_be_there(self) -> None:
        cfg = parse_cfg("[net]\na=1\n", file="x.cfg")
        with pytest.raises(CfgError) as caught:
            Needy.read(cfg, 0, ALEXEYAB, [].append)
        assert str(caught.value) == (
            "x.cfg:1: [net]: the option 'layers' is missing (expected layers=)"
        )


class TestUnknownKeys:
    def test_are_told_with_the_nearest_known(self) -> None:
        _, odd = read("whloe=1 xyzzy=1")
        assert odd == [
            "x.cfg:2: [net]: whloe: unknown option, not used; did you mean 'whole'?",
            "x.cfg:3: [net]: xyzzy: unknown option, not used",
        ]

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_are_told_once(self) -> None:
        assert len(read("xyzzy=1 xyzzy=2")[1]) == 1

    def test_an_empty_key_has_its_line(self) -> None:
        assert read("flag=1 =5")[1] == ["x.cfg:3: [net]: unknown option, not used"]

    def test_of_one_program_only_are_not_used_by_the_other(self) -> None:
        sample, odd = read("newer=9 older=9", PJREDDIE)
        assert (sample.newer, sample.older) == (3, 9)
        assert odd == ["x.cfg:2: [net]: newer: unknown to pjreddie, not used (alexeyab knows it)"]
        sample, odd = read("newer=9 older=9", ALEXEYAB)
        assert (sample.newer, sample.older) == (9, 4)
        assert len(odd) == 1
        assert odd[0].startswith("x.cfg:3: [net]: older: unknown to alexeyab, not used")
        # What is not used need not make sense.
        assert read("newer=abc", PJREDDIE_GPU)[0].newer == 3

    def test_names_that_are_words_of_python(self) -> None:
        sample, odd = read("from=-1,2")
        assert sample.from_ == (-1, 2)
        assert sample.references("from") == (-1, 2)
        assert odd == []
        assert Sample.reference_keys() == ("from",)
        assert sample.value("from") == (-1, 2)

    def test_values_by_key(self) -> None:
        sample, _ = read("whole=7")
        assert (sample.value("whole"), sample.value("maybe", 5)) == (7, None)
        assert (sample.value("nowhere"), sample.value("nowhere", 5)) == (None, 5)

    def test_sets_of_keys_and_words(self) -> None:
        assert Sample.extended_keys() == {"newer"}
        assert Sample.extended_words() == {"shade": {"neon"}}

    def test_a_stray_key_tells_nothing_of_the_program(self) -> None:
        assert Told.extended_keys() == frozenset()
        cfg = parse_cfg("[net]\neverywhere=9\n")
        odd: list[str] = []
        assert Told.read(cfg, 0, PJREDDIE, odd.append).everywhere == 3
        assert odd == [
            "line 2: [net]: everywhere: unknown to pjreddie, not used (alexeyab knows it)"
        ]
        assert Told.read(cfg, 0, ALEXEYAB, odd.append).everywhere == 9
        assert len(odd) == 1


def test_what_the_dialect_says_no_cfg_can_change() -> None:
    cfg = parse_cfg("[net]\neps=0.5\n")
    for dialect in (ALEXEYAB, PJREDDIE):
        odd: list[str] = []
        assert Told.read(cfg, 0, dialect, odd.append).eps == dialect.eps
        assert odd == ["line 2: [net]: eps: unknown option, not used"]
    assert set(Told.declared()) == {"everywhere"}
    assert Told() == Told.read(parse_cfg("[net]\n"), 0, PJREDDIE, print)


# The tables of keys in the description of the formats.
COMMON = "dontload dontloadscales learning_rate stopbackward onlyforward clip"
COMMON_ORIGINAL = "dontsave numload truth smooth"
COMMON_EXTENDED = "dont_update burnin_update train_only_bn"
CONVOLUTIONAL = (
    "filters size stride pad padding groups activation batch_normalize binary xnor flipped dot"
)
CONVOLUTIONAL_EXTENDED = """
    stride_x stride_y dilation antialiasing assisted_excitation share_index cbn bin_output sway
    rotate stretch stretch_sway angle grad_centr reverse coordconv stream wait_stream
"""
NET = """
    batch subdivisions time_steps height width channels inputs learning_rate momentum decay
    max_batches adam B1 B2 eps burn_in power policy step scale steps scales gamma
    max_crop min_crop angle aspect saturation exposure hue
"""
NET_ORIGINAL = "notruth random center clip max_ratio min_ratio"
NET_EXTENDED = """
    learning_rate_min sgdr_cycle sgdr_mult loss_scale ema_alpha seq_scales track augment_speed
    sequential_subdivisions try_fix_nan weights_reject_freq equidistant_point
    badlabels_rejection_percentage num_sigmas_reject_badlabels use_cuda_graph dynamic_minibatch
    optimized_memory workspace_size_limit_MB flip blur gaussian_noise mixup cutmix mosaic
    letter_box mosaic_bound contrastive contrastive_jit_flip contrastive_color label_smooth_eps
    resize_step attention adversarial_lr max_chart_loss show_receptive_field unsupervised
"""


@pytest.mark.parametrize(
    ("kind", "both", "original", "extended"),
    [
        (Net, NET, NET_ORIGINAL, NET_EXTENDED),
        (
            Convolutional,
            f"{COMMON} {CONVOLUTIONAL}",
            COMMON_ORIGINAL,
            f"{COMMON_EXTENDED} {CONVOLUTIONAL_EXTENDED}",
        ),
        (
            Connected,
            f"{COMMON} output activation batch_normalize",
            COMMON_ORIGINAL,
            COMMON_EXTENDED,
        ),
        (BatchNorm, COMMON, COMMON_ORIGINAL, COMMON_EXTENDED),
    ],
    ids=["net", "convolutional", "connected", "batchnorm"],
)
def test_each_program_s_keys_are_declared(
    kind: type[Options], both: str, original: str, extended: str
) -> None:
    declared = kind.declared()
    # Two keys of [net] that published cfgs have and no program reads.
    unread = {"max_epochs", "seen"} if kind is Net else set()
    assert {key for key, each in declared.items() if each.rule.extended} == set(extended.split())
    assert {key for key, each in declared.items() if each.rule.original} == set(original.split())
    assert set(declared) - unread == set(f"{both} {original} {extended}".split())


@pytest.mark.parametrize("kind", [Net, *KINDS], ids=lambda kind: kind.__name__)
def test_every_declared_default_is_what_its_rule_allows(kind: type[Options]) -> None:
    for key, (field, _, rule, _) in kind.declared().items():
        assert field.removesuffix("_") == key
        value = getattr(kind, field, None)
        if rule.choices is not None and isinstance(value, str):
            assert value in rule.choices, key
        assert rule.choices is None or rule.extended_choices <= rule.choices, key
        assert not rule.extended_choices or rule.fallback in rule.choices, key
        assert not (rule.extended and rule.original), key
        assert not (rule.required and (rule.extended or rule.original)), key
