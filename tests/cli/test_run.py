from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.pictures.prepare import Fit

from .conftest import FIXTURES, PICTURE, TINY, Cli

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"


@pytest.fixture
def golden() -> dict[str, np.ndarray]:
    with np.load(f"{TINY}.npz") as archive:
        return {name: archive[name] for name in archive.files if name != "provenance"}


def test_the_outputs_are_those_of_darknet(
    cli: Cli, tmp_path: Path, golden: dict[str, np.ndarray]
) -> None:
    answer = cli("run", TINY, f"{TINY}.npz", "-o", tmp_path / "out", "--layers", "all")
    assert (answer.code, answer.err) == (0, "")
    with np.load(tmp_path / "out.npz") as archive:
        assert set(archive.files) == {*golden, "provenance"}
        for name, expected in golden.items():
            # A sum of float32 in another order; the fixture's own tolerance is 4e-6, and folding
            # rounds the weights once more.
            limit = 8e-6 * np.abs(expected).max()
            np.testing.assert_allclose(archive[name], expected, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize(
    ("layers", "way"), [("outputs", ["--fast"]), ("all", []), ("3,11", [])], ids=str
)
def test_what_it_writes_can_be_verified_to_the_last_bit(
    cli: Cli, tmp_path: Path, layers: str, way: list[str]
) -> None:
    target = tmp_path / "out.npz"
    assert cli("run", TINY, "-o", target, "--layers", layers).code == 0
    assert cli("verify", TINY, target, *way, "--tolerance", "0").code == 0
    assert dn.load_fixture(target).provenance["program"] == "darknet-bn"


def test_the_numbers_are_those_of_the_arrays(cli: Cli) -> None:
    facts = cli("run", TINY, "--seed", "3", "--layers", "-1,2", "--json").json
    model = dn.load(f"{TINY}.cfg", f"{TINY}.weights")
    x = np.random.default_rng(3).random((1, 3, 64, 64), np.float32)
    outputs = dn.forward(model, x, [11, 2])
    assert facts["input"] == "random, seed 3"
    assert [row["layer"] for row in facts["outputs"]] == [11, 2]
    assert [row["section"] for row in facts["outputs"]] == ["yolo", "convolutional"]
    for row in facts["outputs"]:
        array = outputs[row["layer"]]
        assert row["shape"] == list(array.shape)
        assert row["min"] == array.min()
        assert row["max"] == array.max()
        assert row["mean"] == pytest.approx(array.mean(dtype=np.float64))
        assert row["first"] == array.flat[:4].tolist()


def test_the_text_has_a_line_for_each_output(cli: Cli) -> None:
    answer = cli("run", TINY)
    dialect, origin, heading, row = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert origin == "input: random, seed 0, 1 x 3 x 64 x 64"
    assert heading.split()[:6] == ["layer", "section", "shape", "min", "mean", "max"]
    assert row.split()[:9] == ["11", "yolo", "1", "x", "21", "x", "16", "x", "16"]


def test_a_random_input_holds_a_whole_sequence(cli: Cli) -> None:
    facts = cli("run", FIXTURES / "layers/lstm/model", "--dialect", "pjreddie", "--json").json
    assert [each["shape"] for each in facts["outputs"]] == [[3, 4]]


def test_the_seed_decides_the_input(cli: Cli) -> None:
    def first(*words: str) -> list[float]:
        return cli("run", TINY, "--json", *words).json["outputs"][0]["first"]

    assert first() == first("--seed", "0")
    assert first("--seed", "1") != first("--seed", "0")


@pytest.mark.parametrize("form", ["npy", "npz", "npz of one", "flat", "float64"])
def test_the_forms_of_an_input(
    cli: Cli, tmp_path: Path, golden: dict[str, np.ndarray], form: str
) -> None:
    x = golden["input"]
    path = tmp_path / ("x.npz" if "npz" in form else "x.npy")
    if form == "npz":
        np.savez(path, input=x, other=np.zeros(3))
    elif form == "npz of one":
        np.savez(path, x)
    else:
        np.save(path, {"flat": x.reshape(1, -1), "float64": x.astype(np.float64)}.get(form, x))
    facts = cli("run", TINY, path, "--json").json
    assert facts["input"] == str(path)
    assert facts["outputs"] == cli("run", TINY, f"{TINY}.npz", "--json").json["outputs"]


def test_an_input_behind_both_files_may_have_any_name(
    cli: Cli, tmp_path: Path, golden: dict[str, np.ndarray]
) -> None:
    with (tmp_path / "data").open("wb") as stream:
        np.save(stream, golden["input"])
    assert cli("run", f"{TINY}.cfg", f"{TINY}.weights", tmp_path / "data").code == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 32, 32), np.float32), "does not fit the network (expected (n, 3, 64, 64)"),
        (np.zeros((3, 64, 64), np.float32), "does not fit the network (expected (n, 3, 64, 64)"),
        (np.zeros((0, 3, 64, 64), np.float32), "does not fit the network (expected (n, 3, 64, 64)"),
        (np.zeros((1, 3, 64, 64), np.uint8), "the input does not hold floating-point numbers"),
        (np.array([{}], object), "not a NumPy file"),  # would have to be unpickled
    ],
    ids=["size", "no batch axis", "no image", "integers", "objects"],
)
def test_an_array_that_does_not_fit_is_refused(
    cli: Cli, tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, array)
    answer = cli("run", TINY, path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{path}: ")
    assert message in answer.error


def test_a_head_that_promises_too_much_takes_no_memory(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 3, 64, 64), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1, 3, 64, 64)", b"(1<<40, 3, 64)".ljust(14)))
    assert cli("run", TINY, path).code == 2
    path.write_bytes(path.read_bytes().replace(b"(1<<40, 3, 64)", b"(99999999, 64)"))
    assert "not a NumPy file" in cli("run", TINY, path).error


def test_an_archive_must_say_which_array_is_meant(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(1), b=np.zeros(1))
    error = cli("run", TINY, tmp_path / "x.npz").error
    assert "the archive does not say which array is the input" in error
    assert "found a, b" in error


def test_another_kind_of_file_is_answered_with_what_is_accepted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"\xff\xd8\xff\xe0 a picture")
    answer = cli("run", TINY, tmp_path / "x.npz")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        f"{tmp_path}/x.npz: not a NumPy file (expected a picture, or an .npy or .npz file as "
        "numpy.save and numpy.savez write them)"
    )


# -- pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "dialect", "fit", "text"),
    [
        (
            TINY,
            "pjreddie",
            "letterbox",
            "letterboxed to 64 x 64 (as pjreddie/darknet on the CPU does)",
        ),
        (TINY, "alexeyab", "stretch", "stretched to 64 x 64 (as AlexeyAB/darknet does)"),
        (
            CLASSIFIER,
            "alexeyab",
            "crop",
            "scaled and cropped to 7 x 6 (as AlexeyAB/darknet does)",
        ),
    ],
    ids=["letterbox", "stretch", "crop"],
)
def test_a_picture_is_prepared_as_the_dialect_does(
    cli: Cli, tmp_path: Path, model: Path, dialect: str, fit: Fit, text: str
) -> None:
    words = ("run", model, PICTURE, "--dialect", dialect)
    answer = cli(*words, "-o", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    loaded = dn.load(f"{model}.cfg", f"{model}.weights", dialect=dialect)
    x = dn.prepare(dn.load_image(PICTURE), loaded, fit)
    with np.load(tmp_path / "out.npz") as archive:
        np.testing.assert_array_equal(archive["input"], x)
    dims = " x ".join(map(str, x.shape))
    assert answer.out.splitlines()[1:3] == [f"input: {PICTURE}, {dims}", f"prepared: {text}"]
    facts = cli(*words, "--json").json
    assert (facts["input"], facts["fit"]) == (str(PICTURE), fit)
    assert facts["outputs"][0]["first"] == dn.forward(loaded, x).popitem()[1].flat[:4].tolist()


def test_record_and_compare_take_pictures_too(cli: Cli, tmp_path: Path) -> None:
    recording = tmp_path / "out.npz"
    answer = cli("record", TINY, "--input", PICTURE, "-o", recording)
    assert answer.code == 0
    prepared = "prepared: letterboxed to 64 x 64 (as pjreddie/darknet on the CPU does)"
    assert answer.out.splitlines()[1:3] == [f"input: {PICTURE}", prepared]
    assert cli("verify", TINY, recording, "--tolerance", "0").code == 0
    answer = cli("compare", TINY, PICTURE, "--with", TINY)
    assert answer.code == 0
    assert answer.out.splitlines()[1:3] == [f"input: {PICTURE}", prepared]
    assert cli("compare", TINY, PICTURE, "--with", TINY, "--json").json["fit"] == "letterbox"
    assert cli("compare", TINY, "--with", recording, "--json").json["fit"] is None


def test_pictures_that_cannot_be_the_input(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    assert cli("run", TINY, bad).error.startswith(f"{bad}: not a picture, or its header is damaged")
    assert cli("run", TINY, tmp_path / "no.png").error.endswith("No such file or directory")
    flat = FIXTURES / "layers" / "connected_only" / "model"
    error = cli("run", flat, PICTURE).error
    assert error.startswith(f"{PICTURE}: the network does not take pictures")
    sequence = FIXTURES / "layers" / "crnn" / "model"
    assert "ends inside a sequence" in cli("run", sequence, PICTURE).err


def test_a_picture_needs_pillow(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert cli("run", TINY, PICTURE).error.endswith("; pip install 'darknet-bn[image]'")


def test_a_folder_is_no_input(cli: Cli, photos: Path) -> None:
    for word in (photos, photos / "*.png"):
        answer = cli("run", TINY, word)
        assert (answer.code, answer.out) == (2, "")
        assert answer.error == f"{word}: expected one picture, or an .npy or .npz file"


def test_an_input_that_is_missing(cli: Cli, tmp_path: Path) -> None:
    error = cli("run", TINY, tmp_path / "x.npy").error
    assert error == f"{tmp_path}/x.npy: cannot be read: No such file or directory"


def test_a_seed_and_an_input_contradict_each_other(cli: Cli) -> None:
    answer = cli("run", TINY, f"{TINY}.npz", "--seed", "1")
    assert answer.code == 2
    assert "--seed is for random input" in answer.err


def test_a_layer_that_does_not_exist(cli: Cli) -> None:
    assert "there is no such layer (expected 0 to 11" in cli("run", TINY, "--layers", "12").error


def test_values_that_are_not_finite_are_words_in_json(cli: Cli, nan_tiny: Path) -> None:
    facts = cli("run", nan_tiny, "--layers", "0", "--json").json
    assert facts["outputs"][0]["min"] == "nan"


def test_nothing_is_overwritten_without_force(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    target.write_text("mine")
    answer = cli("run", TINY, "-o", target)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{target}: the file already exists; use --force to overwrite it"
    assert target.read_text() == "mine"
    assert cli("run", TINY, "-o", target, "--force").code == 0
    assert dn.load_fixture(target).layers == (11,)


def test_a_net_without_image_input(cli: Cli) -> None:
    answer = cli("run", FIXTURES / "layers" / "connected_only" / "model")
    assert answer.code == 0
