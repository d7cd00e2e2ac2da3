"""README and the pages under ``docs/`` are true: what they show is what happens, by name.

By default pages that take seconds are left out: the others have blocks of every kind too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.commands import SHORT_HELP
from darknet_bn.cli.program import main
from darknet_bn.layers import LAYERS
from darknet_bn.predictions.drawing import _text

from .support.pages import KINDS, PAGES, Block, Ran, blocks_of, follow, follow_page, inside, label
from .support.paths import FIXTURES, PROJECT

TEXTS = {label(page): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [block for block in BLOCKS if block.kind in KINDS]
LONG = {  # pages that train, or that look at a large net in many ways
    *("docs/guides/doctor.md", "docs/guides/engines.md", "docs/guides/npu.md"),
    *("docs/guides/report.md", "docs/guides/training.md"),
}
CONSOLES = [block for block in RUN if block.kind == "console"]
PRINTS = [block for block in BLOCKS if block.name.endswith("-output")]
TRAINED = "digits.weights"  # what the guide's training writes
PERCENT = re.compile(r"\d+\.\d\d\b")
# The last digits of errors depend on the order in which a processor's BLAS adds up, and so do those
# of probabilities and boxes in files for programs, how short arrays become if they are compressed,
# and whether fewer filters give the same bits.
NOISE = re.compile(
    r"\d(\.\d+)?e-0\d|worst is layer_?\d+|loss [\d.]+|(onnxruntime|litert|ncnn) [\d.]+|[01]\.\d{7,}"
    r"|took: .*|speed: .*|loss: at most 0\.\d+ .*|(?<= layers in )\d+(?= bytes)"
    r"|(?<=classes that are kept: )(?:equal to the bit|relative difference at most .*\n  \(.*\))"
    r"|differs: \d+ values|(?<=,)\d+\.\d+|(?m:^\d+( 0\.\d{4}){4}$)"
)
long = pytest.mark.exhaustive
Follow = Callable[[str], tuple[dict[str, Ran], Path]]


@pytest.fixture(scope="module")
def follow_whole(tmp_path_factory: pytest.TempPathFactory, shared_or_none: Path | None) -> Follow:
    """Pages, each followed once from top to bottom in a folder that looks like a fresh checkout."""
    done: dict[str, tuple[dict[str, Ran], Path]] = {}

    def followed(page: str) -> tuple[dict[str, Ran], Path]:
        if page not in done:
            folder = tmp_path_factory.mktemp("checkout")
            done[page] = (follow_page(PROJECT / page, folder, shared_or_none), folder)
        return done[page]

    return followed


def for_each(blocks: Iterable[Block]) -> pytest.MarkDecorator:
    """A test of each block; by default of those of short pages."""
    params = [
        pytest.param(block, id=str(block), marks=long if block.page in LONG else ())
        for block in blocks
    ]
    return pytest.mark.parametrize("block", params)


def block_named(name: str) -> Block:
    (block,) = (block for block in BLOCKS if str(block) == name)
    return block


def ran(follow_whole: Follow, block: Block) -> Ran:
    """Return what a block did; its error is raised, and a block without what it needs skipped."""
    done, _ = follow_whole(block.page)
    if block.name not in done:
        pytest.skip(f"absent: {', or '.join(block.needs)}")
    if (error := done[block.name].error) is not None:
        raise error
    return done[block.name]


def normal(text: str) -> str:
    """Return output without what depends on the machine: its noise, and how long it took."""
    return re.sub(r" +", " ", NOISE.sub("~", re.sub(r"^took: .*\n", "", text, flags=re.MULTILINE)))


@for_each(CONSOLES)
def test_commands_print_what_is_shown(follow_whole: Follow, block: Block) -> None:
    printed = ran(follow_whole, block).printed
    for (command, expected), found in zip(block.shown, printed, strict=True):
        found, expected = normal(found), normal(expected)
        if TRAINED in command.split():
            # Training adds up in another order elsewhere: by its end, some digits are classified
            # differently, up to 3 of some 36 of a class, so 9 points.
            shares, told = PERCENT.findall(found), PERCENT.findall(expected)
            np.testing.assert_allclose(np.array(shares, float), np.array(told, float), atol=9)
            found, expected = PERCENT.sub("~", found), PERCENT.sub("~", expected)
        assert found == expected, command


@for_each(block for block in RUN if block.kind == "python")
def test_programs_run(follow_whole: Follow, block: Block) -> None:
    assert len(ran(follow_whole, block).printed) == 1


@for_each(PRINTS)
def test_programs_print_what_is_shown(follow_whole: Follow, block: Block) -> None:
    program = block_named(str(block).removesuffix("-output"))
    assert program.needs == block.needs
    (printed,) = ran(follow_whole, program).printed
    assert normal(printed) == normal(block.text)


@for_each(block for block in RUN if block.kind == "yaml")
def test_steps_of_a_pipeline_succeed_without_a_word(follow_whole: Follow, block: Block) -> None:
    assert block.shown
    assert ran(follow_whole, block).printed == [""] * len(block.shown)


def test_every_block_that_can_run_has_a_name() -> None:
    named = [str(each) for each in BLOCKS if each.kind in KINDS or each.kind == "text"]
    assert [each for each in named if each.endswith(":")] == []
    assert len(set(named)) == len(named)
    programs = {str(each) for each in RUN if each.kind == "python"}
    assert {str(each).removesuffix("-output") for each in PRINTS} <= programs
    # What a program prints is shown, but for one whose output is compared with what detect finds.
    quiet = {str(each) for each in RUN if each.kind == "python" and "print(" in each.text}
    assert quiet - {str(each).removesuffix("-output") for each in PRINTS} == {
        "docs/guides/onnx.md:alone"
    }


def test_short_pages_have_blocks_of_every_kind() -> None:
    assert set(TEXTS) >= LONG
    assert {each.kind for each in RUN if each.page not in LONG} == {each.kind for each in RUN}


def test_every_command_is_shown() -> None:
    lines = [command for each in CONSOLES for command, _ in each.shown]
    commands = {name for line in lines for name in re.findall(r"darknet-bn (\w+)", line)}
    assert commands >= set(SHORT_HELP)


def test_readme_is_one_screen() -> None:
    assert len(README.encode()) <= 8000


def test_the_main_job_folds_and_verifies(follow_whole: Follow) -> None:
    block = block_named("README.md:main")
    _, folder = follow_whole("README.md")
    with inside(folder):
        again = follow(block)  # the block works a second time too
    words = [command.split()[1] for command, _ in block.shown]
    assert words == ["fold", "verify", "evaluate", "evaluate"]
    for printed in (ran(follow_whole, block).printed, again.printed):
        before, after = (
            next(line for line in output.splitlines() if line.startswith("accuracy: "))
            for output in printed[2:]
        )
        assert before == after
        assert "top 1 98.61 %" in after


def test_ci_finds_the_line_that_tests() -> None:
    lines = [line for line in README.splitlines() if "-m pytest" in line]
    assert len(lines) == 1
    assert "'.[test]'" in lines[0]
    assert block_named("README.md:tests").text == f"{lines[0]}\n"


def test_the_picture_shows_what_the_text_lists(follow_whole: Follow) -> None:
    (printed,) = ran(follow_whole, block_named("README.md:detect")).printed
    # The picture in the README is what the command writes, the names of all lines in it.
    _, folder = follow_whole("README.md")
    found, there = dn.load_image(folder / "found.jpg"), dn.load_image(PROJECT / "docs/dog.jpg")
    different = np.abs(found - there).max(axis=0) > 32 / 255  # beyond what JPEG does
    # The line of a box that is rounded the other way takes less than this, a name takes more.
    assert different.mean() < 1e-3
    lines = {line.replace(":", "") for line in printed.splitlines() if line.endswith("%")}
    names = ran(follow_whole, block_named("docs/guides/pictures.md:python")).names
    labels = [each for box in names["found"] for each in _text(box, plain=True).split(", ")]
    assert (len(labels), set(labels)) == (5, lines)


def test_python_folds(follow_whole: Follow) -> None:
    names = ran(follow_whole, block_named("docs/start.md:python")).names
    assert isinstance(names["outputs"], dict)
    folded = dn.load(follow_whole("docs/start.md")[1] / "tiny-folded")
    assert not any("scales" in params for params in folded.params)


def test_python_draws_boxes(follow_whole: Follow) -> None:
    ran(follow_whole, block_named("docs/guides/pictures.md:python"))
    _, folder = follow_whole("docs/guides/pictures.md")
    assert dn.load_image(folder / "boxes.jpg").shape == (3, 576, 768)


@long
def test_python_exports(follow_whole: Follow) -> None:
    names = ran(follow_whole, block_named("docs/guides/onnx.md:python")).names
    assert (follow_whole("docs/guides/onnx.md")[1] / names["exported"].path).exists()
    session = ran(follow_whole, block_named("docs/guides/engines.md:session")).names
    assert "all 12 layers agree" in str(names["exported"].proof) + str(session["report"])


def test_python_with_nothing_of_ours_finds_what_detect_finds(follow_whole: Follow) -> None:
    alone = block_named("docs/guides/onnx.md:alone")
    assert len([line for line in alone.text.splitlines() if line]) <= 20
    (printed,) = ran(follow_whole, alone).printed
    lines = re.findall(r"^(\S+) ([\d.]+)% \[(.*)\]$", printed, re.MULTILINE)
    found = sorted((name, float(score), *map(float, sides.split())) for name, score, sides in lines)

    words = ["detect", "yolov3-tiny", "dog.jpg", "--names", "coco.names", "--json"]
    with inside(follow_whole(alone.page)[1]):
        (picture,) = json.loads(CliRunner().invoke(main, words).stdout)["pictures"]
    expected = []
    for each in picture["objects"]:
        left, top, width, height = each["box"].values()
        box = (left, top, left + width, top + height)
        expected.append((each["name"], 100 * each["confidence"], *box))
    expected.sort()

    assert [name for name, *_ in found] == [name for name, *_ in expected]
    assert len(found) == 5
    # Both are rounded to hundredths, the second before a sum; else float32 rounds otherwise.
    np.testing.assert_allclose(
        [each[1:] for each in found], [each[1:] for each in expected], rtol=0, atol=0.025
    )


@long
def test_python_trains(follow_whole: Follow) -> None:
    done = ran(follow_whole, block_named("docs/guides/training.md:python"))
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+),", done.printed[0])]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    assert done.names["now"].iteration == 135
    assert done.names["accuracy"] > 0.85
    assert isinstance(done.names["trained"], dn.Model)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_the_table_of_sections_names_proofs() -> None:
    page = TEXTS["docs/reference/dialects.md"]
    rows = re.findall(r"^\| (`\w+`.*?) \| (\S+) \| (\S+) \|$", page, re.MULTILINE)
    proven = {name: cells for names, *cells in rows for name in re.findall(r"`(\w+)`", names)}
    kinds = {kind.names[0] for kind in LAYERS.values()}
    assert kinds <= set(proven)
    for section in sorted(kinds):
        for dialect, case in zip(("pjreddie", "alexeyab"), proven[section], strict=True):
            if case == "–":
                continue
            folder = FIXTURES / "layers" / case
            assert (folder / f"{dialect}.npz").exists(), (section, case)
            cfg = dn.load_cfg(folder / "model.cfg")
            assert any(LAYERS[each.name].names[0] == section for each in cfg.sections[1:])


def test_the_table_of_dialects_has_their_sigma() -> None:
    page = TEXTS["docs/reference/dialects.md"]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .*? \| (√.*?) \|$", page, re.MULTILINE))
    exponents = {1e-5: "10⁻⁵", 1e-6: "10⁻⁶"}
    assert rows == {
        name: f"√(v + {exponents[each.eps]})"
        if each.eps_inside_sqrt
        else f"√v + {exponents[each.eps]}"
        for name, each in dn.DIALECTS.items()
    }
