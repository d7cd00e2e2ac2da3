"""The verbs of ``edit``: what they say, prove and write; and what Darknet does with the result."""

from __future__ import annotations

import errno
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from darknet_bn.checks import edit as checks
from darknet_bn.cli.commands import DARKNET_EDITS
from darknet_bn.cli.program import main
from darknet_bn.model.model import load_again
from tests.support.builders import cfg_text, random_model, weights_bytes
from tests.support.debian_detector import DARKNET, lines_of_darknet
from tests.support.paths import FIXTURES

from .conftest import TINY, Cli

PICTURE = FIXTURES / "preprocess" / "gradient_31x17.png"
EDIT = main.commands["edit"]
assert isinstance(EDIT, click.Group)
VERBS: dict[str, tuple[object, ...]] = {
    "average": (),
    "classes": ("--keep", 1),
    "dialect": ("--to", "alexeyab"),
    "header": ("--version", "0.2.0", "--seen", 9),
    "partial": ("--layers", 5),
    "rescale": ("--scale", 0.5, "--shift", 0),
    "prune": ("--keep", "80%", "--exact"),
    "reset": (),
    "resize": ("--width", 96, "--height", 128),
    "rgbgr": (),
}
NOTHING = "nothing was written; -o OUT writes the model"


def test_every_verb_is_here() -> None:
    assert isinstance(EDIT, click.Group)
    assert sorted(EDIT.commands) == sorted(VERBS)
    assert set(DARKNET_EDITS) <= set(VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_and_option_has_help(cli: Cli, verb: str) -> None:
    assert isinstance(EDIT, click.Group)
    command = EDIT.commands[verb]
    assert f"Example: darknet-bn edit {verb} " in str(command.help)
    assert all(isinstance(each, click.Argument) or each.help for each in command.params)
    answer = cli("edit", verb, "-h")
    assert (answer.code, answer.err) == (0, "")
    assert "130 interrupted." in answer.out.splitlines()[-1]
    (line,) = (each for each in cli("edit", "-h").out.splitlines() if f"  {verb} " in each)
    assert line


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_without_o_nothing_is_written(cli: Cli, tiny: Path, verb: str) -> None:
    before = {path: path.read_bytes() for path in tiny.parent.iterdir()}
    answer = cli("edit", verb, tiny, *VERBS[verb])
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1] == NOTHING
    assert any(line.startswith("proven: ") for line in answer.out.splitlines())
    assert {path: path.read_bytes() for path in tiny.parent.iterdir()} == before


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"partial"}))
def test_what_is_written_is_what_the_library_makes(cli: Cli, tiny: Path, verb: str) -> None:
    model = dn.load(tiny)
    edited = {
        "average": lambda: model,
        "classes": lambda: dn.keep_classes(model, [1]),
        "dialect": lambda: dn.to_dialect(model, "alexeyab")[0],
        "header": lambda: dn.with_header(model, version=(0, 2, 0), seen=9),
        "prune": lambda: dn.prune_channels(model, keep=0.8, exact=True).model,
        "rescale": lambda: dn.rescale_input(model, 0.5, 0),
        "reset": lambda: dn.with_header(model, seen=0),
        "resize": lambda: model.resized(128, 96),
        "rgbgr": lambda: dn.swap_red_blue(model),
    }[verb]()
    out, own = tiny.with_name("out"), tiny.with_name("own")
    answer = cli("edit", verb, tiny, *VERBS[verb], "-o", out, "--picture", PICTURE, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["written"] == [f"{out}.cfg", f"{out}.weights"]
    inputs = [each["input"] for each in answer.json["proof"]["differences"]]
    assert inputs[-2:] == (["random", str(PICTURE)] if verb != "average" else inputs[-2:])
    dn.save(edited, f"{own}.cfg", f"{own}.weights")
    for suffix in (".cfg", ".weights"):
        assert Path(f"{out}{suffix}").read_bytes() == Path(f"{own}{suffix}").read_bytes()


def test_the_first_layers(cli: Cli, tiny: Path) -> None:
    answer = cli("edit", "partial", tiny, "--layers", 5, "-o", tiny.with_name("back"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-2:] == [
        "proven: the outputs of layers 0 to 4: equal to the bit",
        f"written: {tiny.with_name('back')}.conv.5",
    ]
    dn.save_first_layers(dn.load(tiny), tiny.with_name("own"), 5)
    assert tiny.with_name("back.conv.5").read_bytes() == tiny.with_name("own").read_bytes()
    assert cli("edit", "partial", tiny, "--layers", 13).code == 2


def test_what_changes_is_said(cli: Cli, tiny: Path) -> None:
    lines = cli("edit", "resize", tiny, "--width", 96).out.splitlines()
    assert "cfg line 5: width=64 -> width=96" in lines
    assert "parameters: 21373" in lines
    row = next(line for line in lines if line.startswith("    0  convolutional"))
    assert row.split("  ")[-1].strip() == "248"
    assert "32 x 32 x 8 -> 48 x 32 x 8" in row
    assert cli("edit", "rgbgr", tiny).out.splitlines()[1:4] == [
        "cfg: no line changes",
        "layer  section        output       parameters",
        "    0  convolutional  32 x 32 x 8         248",
    ]


def test_a_cfg_that_names_a_file_is_edited_from_any_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    (home / "three.tree").write_text("a -1\nb 0\nc 0\n")
    head = "[region] anchors=1,2 num=1 classes=3 coords=4 softmax=1 tree=three.tree"
    cfg = cfg_text("[convolutional] filters=8 size=1", head)
    monkeypatch.chdir(home)
    (home / "net.cfg").write_bytes(cfg.replace(b"size=1\n", b"size=1\nfilters=9\n"))
    (home / "net.weights").write_bytes(weights_bytes(cfg))
    monkeypatch.chdir(other)
    answer = cli("edit", "rgbgr", home / "net", "-o", "out", "--json")
    assert answer.code == 0
    assert answer.err.count("occurs twice") == 1  # not again when the files are read back
    (note,) = answer.json["notes"]
    assert note == "the cfg names the file three.tree, which is not in the folder of the new cfg"
    assert cli("edit", "rgbgr", home / "net", "-o", home / "out", "--json").json["notes"] == []


def test_what_another_program_leaves_out_is_told(cli: Cli, tmp_path: Path) -> None:
    cfg = cfg_text("[convolutional] filters=4 size=3 dilation=2", "[avgpool]")
    (tmp_path / "net.cfg").write_bytes(cfg)
    (tmp_path / "net.weights").write_bytes(weights_bytes(cfg))
    answer = cli("edit", "dialect", tmp_path / "net", "--to", "pjreddie")
    assert answer.code == 1
    assert "dilation: unknown to pjreddie" in answer.err
    assert "--tolerance" not in answer.err


def test_a_shift_at_a_padded_border_is_proven_inside(cli: Cli, tiny: Path) -> None:
    answer = cli("edit", "rescale", tiny, "--json")
    assert answer.code == 0
    assert "away from the border" in answer.json["equal"]
    assert "outputs near the border differ" in answer.json["notes"][0]
    assert answer.json["proof"]["worst"]["shape"] == [1, 8, 30, 30]


def test_outputs_that_are_no_numbers_prove_nothing(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    model = dn.load(tiny)
    variance = -np.ones_like(model.params[0]["rolling_variance"])
    params = ({**model.params[0], "rolling_variance": variance}, *model.params[1:])
    dn.save(replace(model, params=params), tmp_path / "odd.cfg", tmp_path / "odd.weights")
    (note,) = cli("edit", "rgbgr", tmp_path / "odd", "--json").json["notes"]
    assert note == (
        "layer 0 [convolutional]: 8 rolling variances are negative: the outputs are NaN; "
        "NaN in both models proves nothing"
    )


def test_a_revision_that_changes_the_arithmetic_is_told(cli: Cli, tiny: Path) -> None:
    notes = cli("edit", "header", tiny, "--version", "0.2.5", "--json").json["notes"]
    assert len(notes) == 1
    assert "loaded with the arithmetic of alexeyab" in notes[0]
    assert cli("edit", "header", tiny, "--seen", 5, "--json").json["notes"] == []


@pytest.mark.parametrize("verb", sorted(DARKNET_EDITS))
def test_the_verbs_of_darknet_are_commands_too(cli: Cli, tiny: Path, verb: str) -> None:
    words = (verb, tiny, *VERBS[verb])
    assert cli(*words).out == cli("edit", *words).out


def test_classes_by_name(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    names = tmp_path / "two.names"
    names.write_text("cat\nsea horse\n")
    out = tmp_path / "out"
    words = ("edit", "classes", tiny, "--names", names)
    answer = cli(*words, "--keep", "sea horse, 0", "-o", out, "--json")
    assert answer.json["classes"] == [{"old": 1, "name": "sea horse"}, {"old": 0, "name": "cat"}]
    assert answer.json["written"][-1] == f"{out}.names"
    assert (tmp_path / "out.names").read_text() == "sea horse\ncat\n"
    assert "did you mean cat?" in cli(*words, "--keep", "cats").error
    assert "class names need --names" in cli("edit", "classes", tiny, "--keep", "cat").error
    assert "the classes to keep are not valid" in cli(*words, "--keep", "0,0").error
    assert "--keep: a class is missing" in cli(*words, "--keep", "0,,1").err
    names.write_text("cat\ncat\n")
    assert "expected one of the numbers 0, 1, found cat" in cli(*words, "--keep", "cat").error
    assert cli(*words, "--keep", "1").code == 0


def test_the_mean_of_files_and_statistics_for_it(cli: Cli, tmp_path: Path) -> None:
    digits = FIXTURES / "digits"
    model = dn.load(digits / "digits")
    other = dn.rescale_input(model, 2, 0)
    dn.save(other, None, tmp_path / "b.weights")
    words = ("average", f"{digits / 'digits'}.cfg", f"{digits / 'digits'}.weights")
    more = (tmp_path / "b.weights", "-o", tmp_path / "mean")
    answer = cli(*words, *more, "--pictures", digits / "test.npz", "--images", 60)
    assert (answer.code, answer.err) == (0, "")
    assert "averaged: 2 files" in answer.out.splitlines()
    assert "calibrated: 3 of 3 batch norms, with 60 images" in answer.out.splitlines()
    mean = dn.load(tmp_path / "mean")
    np.testing.assert_array_equal(mean.params[0]["weights"], 1.5 * model.params[0]["weights"])
    assert (
        mean.params[0]["rolling_mean"]
        != dn.average_models([model, other]).params[0]["rolling_mean"]
    ).any()


def test_pruning_says_what_each_step_costs(cli: Cli, tmp_path: Path) -> None:
    digits = FIXTURES / "digits"
    words = ("edit", "prune", digits / "digits", "--keep", "90%", "--data", digits / "test.npz")
    more = ("--pictures", digits / "train.npz", "--images", 400, "-o", tmp_path / "out", "--json")
    answer = cli(*words, *more)
    assert (answer.code, answer.err) == (0, "")
    facts = answer.json
    assert [each["step"] for each in facts["steps"]] == [
        *("before", "scales of 0", "pruned", "calibrated")
    ]
    assert facts["border"] == [1, 2]
    assert (facts["removed"], facts["channels"], facts["constant"]) == (11, 112, 0)
    assert 0 < facts["border_error"] < 1
    small = dn.load(tmp_path / "out")
    examples = dn.load_dataset(digits / "test.npz", small, train=False)
    report = dn.evaluate(small, examples)
    assert isinstance(report, dn.Accuracy)
    assert report.top_1 == facts["steps"][-1]["value"] > facts["steps"][-2]["value"]
    assert small.network.stored_floats == facts["new_parameters"] < facts["parameters"]


def test_wrong_usage(cli: Cli, tiny: Path) -> None:
    for words, error in (
        (("edit",), "missing argument: VERB"),
        (("edit", "rgb"), "no such verb: rgb; did you mean rgbgr?"),
        (("edit", "resize", tiny), "missing option: --width or --height"),
        (("edit", "prune", tiny), "expected --keep or --scale-below, and not both"),
        (("edit", "prune", tiny, "--keep", "0"), "Invalid value for '--keep': must be above 0 %"),
        (("edit", "prune", tiny, "--keep", "x"), "Invalid value for '--keep': 'x' is not valid"),
        (("edit", "header", tiny), "missing option: --version or --seen"),
        (("edit", "header", tiny, "--version", "2"), "Invalid value for '--version': '2' is"),
        (("edit", "rescale", tiny, "--scale", "x"), "Invalid value for '--scale': 'x' is not"),
        (("edit", "rgbgr", tiny, "-out", "x"), "no such option: -out"),
        (
            ("edit", "rgbgr", f"{tiny}.weights", f"{tiny}.cfg", "--force"),
            f"expected CFG WEIGHTS; try: darknet-bn edit rgbgr {tiny}.cfg {tiny}.weights --force",
        ),
    ):
        answer = cli(*words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"error: {error}"), answer.err


def test_what_does_not_prove_right_is_not_written(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: dn.Model) -> dn.Model:
        return dn.rescale_input(model, 1.001, 0)

    before = sorted(tiny.parent.iterdir())
    monkeypatch.setattr(dn, "swap_red_blue", wrong)
    for words in ((), ("-o", tiny.with_name("out"))):
        answer = cli("edit", "rgbgr", tiny, *words)
        assert (answer.code, answer.out) == (1, "")
        assert "does not compute what it should; nothing was written" in answer.error
    assert sorted(tiny.parent.iterdir()) == before


def test_a_file_with_other_parameters_is_not_written(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*words: Any, **options: Any) -> dn.Model:
        return dn.rescale_input(load_again(*words, **options), 1.0001, 0)

    monkeypatch.setattr(checks, "load_again", damaged)
    answer = cli("edit", "reset", tiny, "-o", tiny.with_name("out"))
    assert answer.code == 1
    assert "the file does not hold the edited parameters" in answer.error
    assert not tiny.with_name("out.cfg").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt, 130)],
)
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_what_stops_writing_leaves_all_as_it_was(
    cli: Cli,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    error: BaseException,
    code: int,
) -> None:
    def write(stream: BinaryIO, *args: Any) -> None:
        stream.write(b"half of it")
        raise error

    before = {path: path.read_bytes() for path in tiny.parent.iterdir()}
    monkeypatch.setattr("darknet_bn.model.model.write_weights", write)
    monkeypatch.setattr(checks, "write_weights", write)
    answer = cli("edit", verb, tiny, *VERBS[verb], "-o", tiny, "--force")
    assert (answer.code, answer.out) == (code, "")
    if code == 2:
        assert answer.error.endswith("cannot be written: No space left on device")
    assert {path: path.read_bytes() for path in tiny.parent.iterdir()} == before


# -- Debian's darknet ------------------------------------------------------------------------


@pytest.fixture
def bgr(tmp_path: Path) -> Path:
    """The picture, with red and blue exchanged."""
    path = tmp_path / "bgr.png"
    Image.fromarray(np.asarray(Image.open(PICTURE).convert("RGB"))[:, :, ::-1].copy()).save(path)
    return path


@pytest.mark.parametrize("verb", ["average", "header", "reset", "rgbgr"])
def test_darknet_prints_the_same_lines(
    cli: Cli, tiny: Path, tmp_path: Path, bgr: Path, verb: str
) -> None:
    before = lines_of_darknet(tmp_path, tiny, PICTURE)
    assert len(before) > 100
    assert cli("edit", verb, tiny, *VERBS[verb], "-o", tmp_path / "out").code == 0
    picture = bgr if verb == "rgbgr" else PICTURE
    assert lines_of_darknet(tmp_path, tmp_path / "out", picture) == before


def test_darknet_prints_the_lines_of_the_classes_that_are_kept(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.names").write_text("left shoe\nright shoe\n")
    words = ("--names", tmp_path / "two.names", "-o", tmp_path / "out")
    answer = cli("edit", "classes", tiny, "--keep", "right shoe", *words)
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out.names").read_text() == "right shoe\n"
    # Without suppression: boxes of a class are suppressed apart from other classes', but are
    # listed in an order that depends on these.
    before = lines_of_darknet(tmp_path, tiny, PICTURE)
    after = lines_of_darknet(tmp_path, tmp_path / "out", PICTURE, classes=1)
    kept = [line.replace("class 1", "class 0") for line in before if line.startswith("class 1:")]
    assert len(kept) > 100
    assert sorted(after) == sorted(kept)


def test_darknet_computes_what_alexeyab_s_program_did(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    theirs, back = tmp_path / "theirs", tmp_path / "back"
    assert cli("edit", "dialect", tiny, "--to", "alexeyab", "-o", theirs).code == 0
    assert dn.load(theirs).dialect is dn.ALEXEYAB
    assert cli("edit", "dialect", theirs, "--to", "pjreddie", "-o", back).code == 0
    assert lines_of_darknet(tmp_path, back, PICTURE) == lines_of_darknet(tmp_path, tiny, PICTURE)


def test_darknet_prints_the_same_lines_without_dead_channels(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    model = dn.load(tiny)
    dead = dn.prune_channels(model, keep=0.8, exact=True).silenced
    dn.save(dead, f"{tmp_path / 'dead'}.cfg", f"{tmp_path / 'dead'}.weights")
    words = ("--scale-below", 0, "-o", tmp_path / "out", "--json")
    answer = cli("edit", "prune", tmp_path / "dead", *words)
    assert answer.json["constant"] == answer.json["removed"] == 13
    lines = lines_of_darknet(tmp_path, tmp_path / "dead", PICTURE)
    assert len(lines) > 100
    assert lines_of_darknet(tmp_path, tmp_path / "out", PICTURE) == lines


def test_darknet_names_the_classes_of_a_classifier_that_are_kept(cli: Cli, tmp_path: Path) -> None:
    cfg = cfg_text(
        "[convolutional] filters=8 size=3 stride=2 pad=1 batch_normalize=1 activation=leaky",
        "[convolutional] filters=5 size=1 activation=linear",
        "[avgpool]",
        "[softmax]",
        width=32,
        height=32,
    )
    net, out, names = (tmp_path / each for each in ("net", "out", "net.names"))
    dn.save(random_model(cfg, "pjreddie"), f"{net}.cfg", f"{net}.weights")
    names.write_text("".join(f"class {number}\n" for number in range(5)))
    words = ("--keep", "4,1,2", "--names", names, "-o", out)
    assert cli("edit", "classes", net, *words, "--dialect", "pjreddie").code == 0
    before, after = (shares_of_darknet(tmp_path, stem) for stem in (net, out))
    assert sorted(after) == ["class 1", "class 2", "class 4"]
    whole = sum(before[name] for name in after)
    for name, share in after.items():
        assert share == pytest.approx(before[name] / whole, abs=5e-4)  # of two digits of a percent


def shares_of_darknet(folder: Path, stem: Path) -> dict[str, float]:
    """Return what Debian's program prints for a classifier and a picture."""
    if DARKNET is None:
        pytest.skip("Debian's darknet is not installed")
    classes = len(Path(f"{stem}.names").read_text().splitlines())
    data = f"classes={classes}\nnames={stem}.names\ntop={classes}\n"
    (folder / "their.data").write_text(data)
    command = [DARKNET, "classifier", "predict", "their.data", f"{stem}.cfg", f"{stem}.weights"]
    result = subprocess.run(
        [*command, str(PICTURE)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = [line.split("%: ") for line in result.stdout.splitlines() if "%: " in line]
    return {name: float(percent) / 100 for percent, name in lines}


def test_darknet_runs_another_size(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("edit", "resize", tiny, "--width", 96, "--height", 96, "-o", out).code == 0
    lines = cli("detect", out, PICTURE, "--thresh", 0.5).out.splitlines()
    theirs = lines_of_darknet(tmp_path, out, PICTURE)
    found = [line for line in lines if re.match(r"class \d: \d+%", line)]
    assert len(theirs) > 100
    assert [line.partition("\t")[0] for line in found] == theirs


def test_the_files_may_be_edited_in_their_place(cli: Cli, tiny: Path) -> None:
    whole = Path(f"{tiny}.weights").read_bytes()
    for _ in range(2):
        assert cli("edit", "rgbgr", tiny, "-o", tiny, "--force").code == 0
    assert Path(f"{tiny}.weights").read_bytes() == whole
    assert Path(f"{tiny}.cfg").read_bytes() == Path(f"{TINY}.cfg").read_bytes()
