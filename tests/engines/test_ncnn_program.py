"""The program in C++ that finds objects with exported files prints what our `detect` does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions.text import detection_lines
from tests.support.paths import FIXTURES, PROJECT

SOURCE = PROJECT / "examples" / "ncnn" / "detect.cpp"
PLACES = [Path(each) for each in (os.environ.get("NCNN_DIR", "/usr"), "/usr", "/usr/local")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; NCNN_DIR may say where ncnn is installed."""
    found = [each for each in PLACES if (each / "include/ncnn/net.h").exists()]
    compiler = shutil.which("c++")
    if not found or compiler is None:
        pytest.skip("ncnn's headers or a compiler are not installed")
    place, target = found[0], tmp_path_factory.mktemp("program") / "detect"
    words = [compiler, "-O1", "-std=c++11", "-Wall", "-Wextra", "-fopenmp", str(SOURCE)]
    words += [f"-I{place}/include/ncnn", "-o", str(target), f"-L{place}/lib", "-lncnn", "-lpthread"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def write_ppm(path: Path, picture: np.ndarray) -> None:
    levels = np.rint(picture.transpose(1, 2, 0) * 255).astype(np.uint8)
    path.write_bytes(b"P6\n%d %d\n255\n" % levels.shape[1::-1] + levels.tobytes())


def finds_what_we_do(program: Path, stem: Path, threshold: float, folder: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    model = dn.load(stem, dialect="pjreddie")
    picture = dn.load_image(PROJECT / "docs" / "dog.jpg")
    dn.export_ncnn(model, folder / "net.param", head="decoded", prove=False)
    write_ppm(folder / "dog.ppm", picture)
    files = [str(folder / each) for each in ("net.param", "net.bin", "dog.ppm")]
    drawn = folder / "found.ppm"
    words = [str(program), *files, f"{threshold}", str(drawn)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x = dn.prepare(picture, model)
    (head, *_) = model.network.heads.values()
    names = [f"class {number}" for number in range(head.classes)]
    sizes = picture.shape[1:]
    (found,) = dn.detections(model, x, image_sizes=sizes, threshold=threshold, names=names)
    lines = detection_lines(found, positions=True)
    assert sorted(done.stdout.splitlines()) == sorted(lines)
    assert len(lines) >= 4
    before, after = ((folder / "dog.ppm").read_bytes(), drawn.read_bytes())
    assert len(after) == len(before)
    assert after != before


def test_the_program_finds_what_we_do(program: Path, tmp_path: Path) -> None:
    finds_what_we_do(program, FIXTURES / "tiny" / "tiny", 0.7, tmp_path)


def test_so_it_does_with_a_trained_model(program: Path, shared: Path, tmp_path: Path) -> None:
    finds_what_we_do(program, shared / "models/yolov3-tiny/yolov3-tiny", 0.3, tmp_path)


def test_what_it_cannot_read_ends_it(program: Path, tmp_path: Path) -> None:
    done = subprocess.run([str(program), "no.param", "no.bin", "no.ppm"], capture_output=True)
    assert done.returncode == 2
