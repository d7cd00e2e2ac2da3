"""Pictures that cannot be read: each is one line that says why, and nothing else happens."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import darknet_bn as dn
from darknet_bn.errors import ImageError
from darknet_bn.pictures import images
from darknet_bn.pictures.images import from_bytes, load_image, save_image
from darknet_bn.predictions.drawing import draw_detections
from darknet_bn.work import measured
from tests.support.pictures import COLOURS, NOISE, PNGS, encoded, png

KINDS = ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA"]


def refusal(source: Path | bytes) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.where.file == (None if isinstance(source, bytes) else str(source))
    return message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "dog.jpg"
    assert refusal(path) == f"{path}: cannot be read: No such file or directory"
    with pytest.raises(ImageError, match=r"cannot be read: no file can have this name"):
        load_image("dog\0.jpg")


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: cannot be read: ")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the file is empty (expected one of AVIF, BMP,"),
        (b"[net]\nbatch=1\n" * 99, "not a picture, or its header is damaged"),
        (struct.pack("<iiii", 0, 2, 0, 7) + bytes(4000), "not a picture"),  # weights
        (b"\x93NUMPY\x01\0v\0", "not a picture"),
        (b"\xff\xd8\xff", "not a picture"),
    ],
    ids=["empty", "text", "weights", "npy", "head of a JPEG"],
)
def test_a_file_that_is_no_picture(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(data)
    assert refusal(path).startswith(f"{path}: {problem}")
    assert refusal(data).startswith(problem)


def test_an_eps_file_never_starts_another_program() -> None:
    data = encoded(Image.fromarray(COLOURS), "EPS")
    assert Image.open(io.BytesIO(data)).format == "EPS"
    assert "not a picture" in refusal(data)


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_file(kind: str, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(NOISE), kind)
    path = tmp_path / "half"
    path.write_bytes(data[: len(data) // 2])
    assert refusal(path).startswith(f"{path}: the picture is damaged or cut off: ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_wherever_a_file_is_cut_off(kind: str) -> None:
    data = encoded(Image.fromarray(NOISE[:20, :20]), kind)
    whole = load_image(data)
    # Behind the pixels of a PNG are two check sums and an empty piece, 20 bytes that may be lost.
    spare = 20 if kind == "PNG" else 0
    for length in range(len(data)):
        if length < len(data) - spare:
            refusal(data[:length])
        else:
            np.testing.assert_array_equal(load_image(data[:length]), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_are_refused_or_read_but_nothing_else_happens(kind: str) -> None:
    rng = np.random.default_rng(3)
    data = encoded(Image.fromarray(COLOURS), kind)
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        try:
            im = load_image(bytes(damaged))
        except ImageError:
            continue
        assert im.shape[0] == 3
        assert 0 <= im.min() <= im.max() <= 1


@pytest.mark.parametrize("side", [10_000, 20_000, 100_000])
def test_a_decompression_bomb_is_refused_before_it_goes_off(side: int) -> None:
    bomb = png(side, side, 8, 2, bytes(1000))
    assert len(bomb) < 200
    message = refusal(bomb)
    assert message.startswith("the picture is too large (expected at most 33554432 pixels")


def test_the_limit_is_exact_and_judged_from_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(COLOURS), "PNG")
    pixels = COLOURS.shape[0] * COLOURS.shape[1]
    monkeypatch.setattr(images, "MOST_PIXELS", pixels)
    monkeypatch.setattr(images, "_PIXELS_PER_BYTE", 0)
    load_image(data)
    monkeypatch.setattr(images, "MOST_PIXELS", pixels - 1)
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is decoded
    message = refusal(data)
    assert (
        f"the picture is too large (expected at most {pixels - 1} pixels, found 5 x 6)" in message
    )


def test_a_file_as_large_as_photographs_are_may_have_more_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(Image.fromarray(COLOURS), "PNG")
    pixels = COLOURS.shape[0] * COLOURS.shape[1]
    monkeypatch.setattr(images, "MOST_PIXELS", 1)
    load_image(data)  # a byte or more for each pixel
    monkeypatch.setattr(images, "_PIXELS_PER_BYTE", (pixels - 1) / len(data))
    assert f"(expected at most {pixels - 1}" in refusal(data).replace(".0 pixels", " pixels")
    monkeypatch.setattr(images, "_PIXELS_PER_BYTE", 50)
    monkeypatch.setattr(images, "_MOST_OF_PHOTOGRAPHS", pixels - 1)
    assert f"(expected at most {pixels - 1} pixels, found 5 x 6)" in refusal(data)


def test_memory_that_is_not_there_is_an_error_of_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(images, "planes_of", no_memory)
    message = refusal(encoded(Image.fromarray(COLOURS), "PNG"))
    assert message == "there is not enough memory for the picture"


def test_metadata_that_cannot_be_read_are_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: Any) -> Any:
        raise ValueError("no EXIF")

    data = encoded(Image.fromarray(COLOURS), "PNG")
    whole = load_image(data)
    monkeypatch.setattr(Image.Image, "getexif", damaged)
    np.testing.assert_array_equal(load_image(data), whole)


def test_a_picture_is_the_same_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    for exif in (None, *range(1, 9)):
        picture = Image.fromarray(NOISE)
        more = {} if exif is None else {"exif": Image.Exif()}
        if exif is not None:
            more["exif"][0x0112] = exif
        data = encoded(picture, "PNG", **more)
        monkeypatch.setattr(measured, "PICTURE_STRIP", 1 << 20)
        whole = [load_image(data, channels) for channels in (3, 1)]
        for pixels in (1, 3 * NOISE.shape[1]):
            monkeypatch.setattr(measured, "PICTURE_STRIP", pixels)
            for channels, expected in zip((3, 1), whole, strict=True):
                np.testing.assert_array_equal(load_image(data, channels), expected)


def test_pillow_s_own_limit_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(COLOURS), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", COLOURS.shape[0] * COLOURS.shape[1] - 1)
    assert "too large" in refusal(data)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 5]], np.int32),
        np.array([[0, 255]], np.float32),
        np.array([[-0.1, 1]], np.float32),
        np.array([[np.nan, 1]], np.float32),
    ],
)
def test_values_without_a_known_white_are_refused(values: npt.NDArray[Any]) -> None:
    message = refusal(encoded(Image.fromarray(values), "TIFF"))
    assert "which of its 32-bit values is white" in message


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_odd_numbers_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(ImageError, match="1, 3 or 4 channels"):
        load_image(PNGS[0], channels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_array_of_opencv_is_refused_with_what_makes_a_picture_of_it(channels: int) -> None:
    array: Any = np.zeros((5, 6, channels), np.uint8)
    for read in (
        load_image,
        lambda im: dn.resize_image(im, 3, 3),
        lambda im: dn.letterbox(im, 3, 3),
    ):
        with pytest.raises(dn.DarknetError) as caught:
            read(array)
        message = str(caught.value)
        assert f"found uint8 (5, 6, {channels})" in message
        assert message.endswith(
            "; darknet_bn.pictures.images.from_bytes converts a picture of bytes (h, w, c) in "
            "RGB order; OpenCV uses BGR: from_bytes(im[:, :, ::-1])"
        )


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.uint8), [[[1, 2, 3]]], None]
)
def test_bytes_are_bytes(pixels: Any) -> None:
    with pytest.raises(dn.ShapeError, match=r"not a picture of bytes \(expected uint8 \(h, w, c\)"):
        from_bytes(pixels)


def test_without_pillow_the_error_tells_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    im = load_image(PNGS[0])
    monkeypatch.setitem(sys.modules, "PIL", None)
    hint = r"Pillow is needed for pictures; pip install 'darknet-bn\[image\]'"
    with pytest.raises(ImageError, match=hint):
        load_image(PNGS[0])
    with pytest.raises(ImageError, match=hint):
        save_image(tmp_path / "out.png", im)
    with pytest.raises(ImageError, match=hint):
        draw_detections(im, [])


def test_pillow_is_imported_only_where_it_is_needed() -> None:
    code = "import sys, darknet_bn.predictions.drawing; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
