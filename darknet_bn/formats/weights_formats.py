"""Files given as ``.weights`` that are something else: recognised by how they begin."""

from __future__ import annotations

import re
from typing import NamedTuple

from darknet_bn.errors import WeightsError, one_line, quoted
from darknet_bn.formats.foreign import FETCH_IT, LFS_POINTER

START = 512
"""How many bytes of a file are examined: a tar archive has its name at byte 257."""

_CONVERT = "darknet-bn convert CFG FILE OUT.weights reads it, under its own suffix"
_PACKED = "this is a packed archive (or a PyTorch file), not Darknet weights"


class _Form(NamedTuple):
    """How a format begins, what it is, and what to do with it."""

    magic: bytes
    problem: str
    hint: str | None = None
    at: int = 0


_FORMS = (
    _Form(LFS_POINTER, FETCH_IT),
    _Form(b"\x1f\x8b", _PACKED, "gunzip unpacks it, or tar xzf"),
    _Form(b"7z\xbc\xaf", _PACKED, "7z x unpacks it"),
    _Form(b"Rar!\x1a\x07", _PACKED, "unrar x unpacks it"),
    _Form(b"\xfd7zXZ\0", _PACKED, "unxz unpacks it, or tar xJf"),
    _Form(b"\x28\xb5\x2f\xfd", _PACKED, "unzstd unpacks it"),
    _Form(b"1AY&SY", _PACKED, "bunzip2 unpacks it, or tar xjf", at=4),
    _Form(b"ustar", _PACKED, "tar xf unpacks it", at=257),
    _Form(
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        "this is a PyTorch file from before version 1.6, not Darknet weights",
        "torch.save(torch.load(path), path) in a newer PyTorch writes one that darknet-bn convert "
        "reads",
    ),
    _Form(b"\x93NUMPY", "this is a NumPy array (.npy), not Darknet weights"),
    _Form(b"\x89HDF\r\n\x1a\n", "this is an HDF5 file (Keras), not Darknet weights"),
    _Form(b"TFL3", "this is a TensorFlow Lite file, not Darknet weights", at=4),
    _Form(b"GGUF", "this is a GGUF file, not Darknet weights"),
    _Form(b"ftrt", "this is a TensorRT engine, not Darknet weights"),
    _Form(b"7767517", "this is an ncnn .param file, not Darknet weights"),
    _Form(b"\xff\xd8\xff", "this is a picture (JPEG), not weights"),
    _Form(b"\x89PNG\r\n\x1a\n", "this is a picture (PNG), not weights"),
    _Form(b"RIFF", "this is a picture, sound or video (RIFF), not weights"),
    _Form(b"ftyp", "this is a video or picture (MP4, AVIF), not weights", at=4),
    _Form(b"%PDF", "this is a PDF, not weights"),
    _Form(b"\x7fELF", "this is a program, not weights"),
)
# The version of the format and the name of a producer, or the graph: the first fields of a model.
_ONNX = re.compile(rb"\x08[\x03-\x1f](\x12[\x01-\x40][ -~]|\x1a|\x22|\x2a|\x3a)", re.DOTALL)
_SAFETENSORS = re.compile(rb".{3}\0{5}\{\s*\"", re.DOTALL)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95c}\](q\x8a]", re.DOTALL)
_TEXT = re.compile(rb"[\t\n\r -~]{24,}")


def refuse_other_formats(start: bytes) -> None:
    """Refuse a file that is plainly something else.

    Parameters
    ----------
    start : bytes
        The first ``START`` bytes of the file, or all of them.

    Raises
    ------
    WeightsError
        The message says what the file is instead, and what to do.
    """
    if not start:
        raise WeightsError("the file is empty")
    text = b"" if b"\0" in start else start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError("this is an HTML page, not weights: was the download refused?")
    if text.startswith((b"[net", b"#", b"[conv")):
        raise WeightsError("this is text such as a cfg, not weights; the cfg comes first")
    for form in _FORMS:
        if start.startswith(form.magic, form.at):
            raise WeightsError(form.problem, hint=form.hint)
    if start.startswith(b"PK\x03\x04"):
        raise _of_archive(start)
    for pattern, what in ((_ONNX, "an ONNX model"), (_SAFETENSORS, "a safetensors file")):
        if pattern.match(start):
            raise WeightsError(f"this is {what}, not Darknet weights", hint=_CONVERT)
    if _PICKLE.match(start):
        raise WeightsError("this is a pickled Python object, not Darknet weights")
    if _TEXT.fullmatch(start):
        found = quoted(one_line(start.decode("ascii")))
        raise WeightsError("this is text, not weights", found=found)


def _of_archive(start: bytes) -> WeightsError:
    """Distinguish PyTorch and NumPy files from other zip archives by the first file inside."""
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    if name.endswith((b"data.pkl", b"byteorder", b".format_version", b"/version")):
        return WeightsError("this is a PyTorch file, not Darknet weights", hint=_CONVERT)
    if name.endswith(b".npy"):
        return WeightsError("this is a NumPy archive (.npz), not Darknet weights", hint=_CONVERT)
    return WeightsError(_PACKED, hint="unzip unpacks it")
