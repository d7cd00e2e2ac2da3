"""Pictures as compilers take them: our own preprocessing, in their layout and range."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.compilers.calibration import calibration_files
from darknet_bn.convert.compilers.table import COMPILERS, Calibration
from darknet_bn.pictures.prepare import read_picture
from tests.support.builders import cfg_text, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=4 size=1 activation=linear"


def model_of(channels: int = 3, size: int = 16) -> dn.Model:
    return random_model(cfg_text(CONV, channels=channels, width=size, height=size // 2))


def arrays(model: dn.Model, form: Calibration, pictures: list[str]) -> list[np.ndarray]:
    found = []
    for write in calibration_files(model, form, pictures, Path("folder/net")).values():
        stream = io.BytesIO()
        write(stream)
        stream.seek(0)
        found.append(np.load(stream))
        assert not stream.read()  # nothing after the array
    return found


@pytest.fixture
def pictures() -> list[str]:
    folder = FIXTURES / "preprocess"
    found = [str(path) for path in sorted(folder.glob("*.png"))]
    assert len(found) >= 2
    return found


def test_one_array_of_floats(pictures: list[str]) -> None:
    model = model_of()
    (x,) = arrays(model, COMPILERS["tensorrt"].calibration, pictures)
    expected = [read_picture(path, model)[1][0] for path in pictures]
    assert (x.shape, x.dtype) == ((len(pictures), 3, 8, 16), np.float32)
    np.testing.assert_array_equal(x, np.array(expected))


def test_one_array_of_levels_with_channels_last(pictures: list[str]) -> None:
    model = model_of()
    (x,) = arrays(model, COMPILERS["hailo"].calibration, pictures)
    assert (x.shape, x.dtype) == ((len(pictures), 8, 16, 3), np.uint8)
    for row, path in zip(x, pictures, strict=True):
        y = read_picture(path, model)[1][0].transpose(1, 2, 0)
        np.testing.assert_allclose(row / 255, y, atol=0.5 / 255 + 1e-6)


def test_one_file_for_each_picture(pictures: list[str]) -> None:
    model = model_of(channels=1)
    form = COMPILERS["rknn"].calibration
    names = list(calibration_files(model, form, pictures, Path("folder/net")))
    assert names[:2] == [Path("folder/net.calibration") / name for name in ("0000.npy", "0001.npy")]
    found = arrays(model, form, pictures)
    assert len(found) == len(pictures)
    assert {(x.shape, x.dtype.name) for x in found} == {((8, 16, 1), "uint8")}


def test_many_pictures_take_no_more_memory(pictures: list[str]) -> None:
    model = model_of(size=64)
    form = COMPILERS["tensorrt"].calibration
    many = pictures[:1] * 400
    size = 400 * 3 * 64 * 32 * 4
    (write,) = calibration_files(model, form, many, Path("net")).values()

    class Sink(io.RawIOBase):
        written = 0

        def write(self, data: object) -> int:
            self.written += len(memoryview(data).cast("B"))  # type: ignore[arg-type]
            return 0

    sink = Sink()
    tracemalloc.start()
    write(sink)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.written == size + 128
    assert peak < size / 4


def test_without_pictures_there_is_nothing(pictures: list[str]) -> None:
    assert not calibration_files(model_of(), COMPILERS["hailo"].calibration, [], Path("net"))


def test_what_is_no_picture_is_named(tmp_path: Path, pictures: list[str]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    files = calibration_files(
        model_of(), COMPILERS["hailo"].calibration, [*pictures, str(broken)], Path("net")
    )
    (write,) = files.values()
    with pytest.raises(dn.ImageError, match=r"broken\.png"):
        write(io.BytesIO())
    two = random_model(cfg_text(CONV, channels=2))
    with pytest.raises(dn.ShapeError):
        calibration_files(two, COMPILERS["hailo"].calibration, pictures, Path("net"))
