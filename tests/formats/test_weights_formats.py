"""Files that are given as weights and are something else: written by their own programs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from darknet_bn.formats.weights_formats import START, refuse_other_formats
from darknet_bn.model.weights import Header
from tests.support.builders import cfg_text, random_model, weights_bytes
from tests.support.onnx import write_onnx
from tests.support.pictures import COLOURS, encoded

CFG = cfg_text("[convolutional] filters=5 size=3 batch_normalize=1")
WEIGHTS = weights_bytes(CFG)


def refusal(data: bytes) -> str:
    with pytest.raises(dn.WeightsError) as caught:
        dn.load(CFG, data)
    return str(caught.value)


def tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("yolo.weights")
        entry.size = len(WEIGHTS)
        archive.addfile(entry, io.BytesIO(WEIGHTS))
    return stream.getvalue()


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, WEIGHTS)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, weights=np.ones(50, np.float32))
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones(50, np.float32))
    return stream.getvalue()


PACKED = {
    "gzip": (gzip.compress(WEIGHTS), "gunzip unpacks it"),
    "bzip2": (bz2.compress(WEIGHTS), "bunzip2 unpacks it"),
    "xz": (lzma.compress(WEIGHTS), "unxz unpacks it"),
    "tar": (tar("w"), "tar xf unpacks it"),
    "tar.gz": (tar("w:gz"), "or tar xzf"),
    "zip": (zipped("yolo.weights"), "unzip unpacks it"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_files_say_how_to_unpack_them(kind: str) -> None:
    data, hint = PACKED[kind]
    message = refusal(data)
    assert message.startswith("this is a packed archive (or a PyTorch file), not Darknet weights; ")
    assert hint in message


OTHERS = {
    "npz": (npz(), "a NumPy archive (.npz)"),
    "npy": (npy(), "a NumPy array (.npy)"),
    "pickle": (pickle.dumps({"weights": [1.0] * 50}), "a pickled Python object"),
    "JPEG": (encoded(Image.fromarray(COLOURS), "JPEG"), "a picture (JPEG)"),
    "PNG": (encoded(Image.fromarray(COLOURS), "PNG"), "a picture (PNG)"),
    "WebP": (encoded(Image.fromarray(COLOURS), "WEBP"), "a picture, sound or video (RIFF)"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file (Keras)"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(100), "a TensorFlow Lite file"),
    "MP4": (b"\0\0\0\x20ftypisom" + bytes(100), "a video or picture (MP4, AVIF)"),
    "old PyTorch": (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M" + bytes(50),
        "a PyTorch file from before version 1.6",
    ),
    "JSON": (b'{"message": "Not Found", "status": 404}', 'text, not weights (found \'{"message"'),
    "text": (b"Access to this file was denied.\n" * 20, "text, not weights (found 'Access to this"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named(kind: str) -> None:
    data, what = OTHERS[kind]
    message = refusal(data)
    assert message.startswith("this is ")
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".onnx"])
def test_what_convert_reads_says_so(tmp_path: Path, suffix: str) -> None:
    path, model = tmp_path / f"model{suffix}", random_model(CFG)
    if suffix == ".onnx":
        pytest.importorskip("onnx", reason="the package onnx is not installed")
        write_onnx(model, path)
    else:
        dn.save_arrays(model, path)
    message = refusal(path.read_bytes())
    assert message.endswith(
        "; darknet-bn convert CFG FILE OUT.weights reads it, under its own suffix"
    )


def test_files_of_torch_are_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    path = tmp_path / "x.pt"
    torch.save({"weights": torch.ones(50)}, path)
    assert "this is a PyTorch file" in refusal(path.read_bytes())
    torch.save({"weights": torch.ones(50)}, path, _use_new_zipfile_serialization=False)
    assert "this is a PyTorch file from before version 1.6" in refusal(path.read_bytes())


def test_no_header_of_darknet_is_taken_for_another_file() -> None:
    rates = np.float32([1e-5, 1e-4, 0.001, 0.01, 0.1, 0.0005, 0.00261, 0.013, 1])
    legacy = [
        Header(*(int(word) for word in np.float32([rate, momentum, decay]).view(np.int32)))
        for rate in rates
        for momentum in (0.9, 0.949, 0.973)
        for decay in (0.0005, 0.0001, 0)
    ]
    for header in (
        Header(),
        Header(minor=1, seen_bytes=4),
        *(Header(revision=5, seen=seen) for seen in (0, 64, 32013312, 500200 * 64, 2**40)),
        *legacy,
    ):
        assert header.plausible
        refuse_other_formats((header.to_bytes() + WEIGHTS[20:])[:START])
