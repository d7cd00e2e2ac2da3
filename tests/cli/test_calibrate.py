"""The command calibrate."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from tests.support.labelled import NAMES, box_set
from tests.support.pictures import PREPROCESS

from .conftest import TINY, Cli, as_classifier

STATISTICS = ("rolling_mean", "rolling_variance")


def load(cfg: Path, weights: Path | None = None) -> dn.Model:
    return dn.load(cfg.with_suffix(".cfg"), (weights or cfg).with_suffix(".weights"))


def require_same(one: dn.Model, other: dn.Model) -> None:
    for a, b in zip(one.params, other.params, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            # A batch of another size is multiplied in another order.
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)


def inputs(model: dn.Model, names: tuple[str, ...] = NAMES) -> np.ndarray:
    return np.concatenate(
        [dn.prepare(dn.load_image(PREPROCESS / f"{name}.png"), model) for name in names]
    )


@pytest.mark.parametrize("way", ["folder", "pattern", "data", "npz"])
def test_it_writes_what_the_library_computes(
    cli: Cli, tiny: Path, tmp_path: Path, way: str
) -> None:
    before = load(tiny)
    x = inputs(before)
    data = box_set(tmp_path, {})
    np.savez(tmp_path / "set.npz", x=x, y=np.zeros((3, 1, 5), np.float32))
    words = {
        "folder": tmp_path,
        "pattern": tmp_path / "*.png",
        "data": data,
        "npz": tmp_path / "set.npz",
    }
    out = tmp_path / "new"
    answer = cli("calibrate", tiny, words[way], "-o", out)
    assert (answer.code, answer.err) == (0, "")
    after = load(tiny, out)
    require_same(after, dn.calibrate(before, [x])[0])
    assert after.header == before.header
    assert not (tmp_path / "new.cfg").exists()
    for old, new in zip(before.params, after.params, strict=True):
        for name, array in old.items():
            assert np.array_equal(array, new[name]) != (name in STATISTICS)


def test_it_prints_how_far_the_statistics_moved(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    box_set(tmp_path, {})
    answer = cli("calibrate", tiny, tmp_path, "-o", tmp_path / "new", "--stretch")
    dialect, fit, headings, *rows, done, written = answer.out.splitlines()
    assert dialect.startswith("dialect: ")
    assert fit == "input: stretched to 64 x 64 (given)"
    assert headings.split("  ")[0] == "layer"
    assert [row.split()[:3] for row in rows] == [
        [layer, "convolutional", channels]
        for layer, channels in zip("023469", ("8", "16", "16", "16", "32", "32"), strict=True)
    ]
    model = load(tiny)
    x = [
        dn.resize_image(dn.load_image(PREPROCESS / f"{name}.png"), 64, 64) for name in sorted(NAMES)
    ]
    _, report = dn.calibrate(model, [np.stack(x)])
    first = report.layers[0]
    ratio = f"{first.variance_ratio_min:#.3g} to {first.variance_ratio_max:#.3g}"
    assert rows[0].endswith(f"{first.mean_shift:#.3g}{' ' * (20 - len(ratio))}{ratio}".lstrip())
    assert done == ("calibrated: 6 of 6 batch norms, layer by layer, with 3 images in batches of 8")
    assert written == f"written: {tmp_path / 'new.weights'}; the cfg is unchanged"


def test_json(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    out = tmp_path / "new.weights"
    answer = cli("calibrate", tiny, data, "-o", out, "--json", "--batch", 2, "--method", "one-pass")
    facts = answer.json
    assert answer.err == ""
    assert facts["seconds"] > 0
    assert (facts["method"], facts["images"], facts["batch"], facts["work"]) == (
        "one-pass",
        3,
        2,
        1.0,
    )
    assert facts["written"] == {"weights": str(out)}
    assert facts["fit"] == "letterbox"
    assert [row["layer"] for row in facts["layers"]] == [0, 2, 3, 4, 6, 9]
    model = load(tiny)
    x = inputs(model)
    require_same(load(tiny, out), dn.calibrate(model, [x[:2], x[2:]], method="one-pass")[0])


def test_some_of_the_images(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((7, 3, 64, 64), np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=np.zeros((7, 1, 5), np.float32))
    words = ("calibrate", tiny, tmp_path / "set.npz", "--force", "-o", tmp_path / "new", "--images")
    assert cli(*words, 3, "--json").json["images"] == 3
    require_same(load(tiny, tmp_path / "new"), dn.calibrate(load(tiny), [x[[0, 2, 4]]])[0])
    assert cli(*words, 8, "--json").json["images"] == 7


def test_the_list_of_a_data_file(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    (tmp_path / "one.txt").write_text(f"{NAMES[2]}.png\n")
    data.write_text("train=one.txt\nvalid=valid.txt\n")
    for words, count in (((), 1), (("--list", "train"), 1), (("--list", "valid"), 3)):
        answer = cli("calibrate", tiny, data, "-o", tmp_path / "new", "--force", "--json", *words)
        assert answer.json["images"] == count


def test_a_classifier_gets_its_pictures_cropped(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    as_classifier(tiny)
    answer = cli("calibrate", tiny, PREPROCESS, "-o", tmp_path / "new", "--json")
    assert answer.json["fit"] == "crop"


def test_what_is_there_stays_unless_forced(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    old = tmp_path / "old.weights"
    old.write_bytes(b"old")
    answer = cli("calibrate", tiny, data, "-o", old)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{old}: the file already exists; use --force to overwrite it"
    assert old.read_bytes() == b"old"
    assert cli("calibrate", tiny, data, "-o", old, "--force").code == 0
    assert len(old.read_bytes()) == len(tiny.with_suffix(".weights").read_bytes())


def test_the_weights_that_are_read_are_never_written_over(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    data = box_set(tmp_path, {})
    weights = tiny.with_suffix(".weights")
    before = weights.read_bytes()
    (tmp_path / "link.weights").symlink_to(weights)
    (tmp_path / "twin.weights").hardlink_to(weights)
    for out in (tiny, tmp_path / "link", tmp_path / "twin.weights"):
        answer = cli("calibrate", tiny, data, "-o", out, "--force")
        assert (answer.code, answer.out) == (2, "")
        assert "this file is an input, and is never overwritten" in answer.error
    assert weights.read_bytes() == before


def test_a_broken_picture_is_reported_and_left_out(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    (tmp_path / f"{NAMES[1]}.png").write_bytes(b"nothing")
    answer = cli("calibrate", tiny, data, "-o", tmp_path / "new")
    assert answer.code == 1
    (line,) = answer.err.splitlines()  # once, though every pass asks for it
    assert line.startswith(f"warning: {tmp_path / NAMES[1]}.png: not a picture")
    assert line.endswith("it is left out")
    (tmp_path / "valid.txt").write_text(
        "".join(f"{name}.png\n" for name in NAMES if name != NAMES[1])
    )
    assert cli("calibrate", tiny, data, "-o", tmp_path / "same").code == 0
    files = [(tmp_path / f"{name}.weights").read_bytes() for name in ("new", "same")]
    assert files[0] == files[1]


def test_where_no_picture_is_left_there_is_no_file(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    for name in NAMES:
        (tmp_path / f"{name}.png").write_bytes(b"nothing")
    answer = cli("calibrate", tiny, data, "-o", tmp_path / "new")
    assert (answer.code, answer.out) == (2, "")
    assert f"{NAMES[0]}.png: " in answer.error
    assert not [name for name in os.listdir(tmp_path) if "new" in name]


def test_what_keeps_its_statistics_is_told(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    cfg = tiny.with_suffix(".cfg")
    text = cfg.read_text().replace("filters=32\n", "filters=32\ndontloadscales=1\n", 1)
    cfg.write_text(text)
    weights = tiny.with_suffix(".weights")
    model = dn.load(cfg, None)
    dn.save(model, cfg, weights, force=True)
    answer = cli("calibrate", tiny, PREPROCESS, "-o", tmp_path / "new")
    assert answer.code == 0
    told = "layer 6 [convolutional] keeps its statistics: dontloadscales: the file does not hold"
    assert told in answer.out
    assert "calibrated: 5 of 6 batch norms" in answer.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "missing argument: DATA"),
        (("missing.data",), 2, "missing.data: cannot be read"),
        (("missing.npz",), 2, "missing.npz: "),
        (("missing.png",), 2, "missing.png: "),
        (("missing",), 2, "missing: no such file (expected a picture, a folder, a list, a .data "),
        (
            ("coco.json",),
            2,
            "error: coco.json: expected a picture, a folder, a list, a .data or an .npz file; "
            "give pictures only, such as 'photos/*.jpg'\n",
        ),
        (("list.txt",), 2, "list.txt: cannot be read: No such file or directory"),
        (
            ("clip.mp4",),
            2,
            "extract frames first: mkdir frames; ffmpeg -i clip.mp4 frames/%05d.jpg",
        ),
        (("https://a/b.jpg",), 2, "URLs, cameras and video streams are not supported"),
    ],
)
def test_what_cannot_be_used_is_refused(
    cli: Cli, tiny: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = cli("calibrate", tiny, *words, "-o", tmp_path / "new")
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert not (tmp_path / "new.weights").exists()


def test_labels_do_not_matter(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    (tmp_path / f"{NAMES[0]}.txt").write_text("no box\n")
    (tmp_path / f"{NAMES[1]}.txt").unlink()
    answer = cli("calibrate", tiny, data, "-o", tmp_path / "new")
    assert (answer.code, answer.err) == (0, "")


def test_all_pictures_that_are_missing_are_named(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    for name in NAMES[1:]:
        (tmp_path / f"{name}.png").unlink()
    answer = cli("calibrate", tiny, data, "-o", tmp_path / "new")
    assert (answer.code, answer.out) == (2, "")
    first, second = answer.err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'valid.txt'}: 2 of 3 pictures do not exist; ")
    assert second.startswith(f"  {tmp_path / 'valid.txt'}:3: the picture does not exist (expected ")


def test_how_long_it_took_is_told_to_people(tmp_path: Path) -> None:
    data = box_set(tmp_path, {})
    words = [str(word) for word in ("calibrate", TINY, data, "-o", tmp_path / "new")]
    result = CliRunner().invoke(main, words)
    assert re.fullmatch(r"took: [\d.]+ m?s, [\d.]+ m?s a picture\n", result.stderr)
    assert "took:" not in result.stdout
    result = CliRunner().invoke(main, [*words, "--json", "--force"])
    assert result.stderr == ""
    assert json.loads(result.stdout)["seconds"] > 0
