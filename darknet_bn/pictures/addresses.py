"""Files that are not on a local disk: ``s3://``, ``gs://``, ``zip://`` and others, by fsspec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from darknet_bn.errors import DarknetError, Where, one_line
from darknet_bn.optional import load_extra

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PIECE = 1 << 20  # bytes
_CHAIN = "::"


class NotThere(DarknetError):
    """There is no such file: nothing is wrong with the place where it would be."""


def is_address(name: str) -> bool:
    """Return whether a name is an address, such as ``s3://bucket/dog.jpg``.

    Of a chain of addresses, as in ``zip://dog.jpg::s3://bucket/photos.zip``, the first counts.
    """
    return _ADDRESS.match(name) is not None


def read_address(name: str, most: int) -> bytes:
    """Read a file, but no more than one byte beyond ``most``.

    Parameters
    ----------
    name : str
    most : int
        How many bytes it may have; the caller refuses it if it has more.

    Returns
    -------
    content : bytes

    Raises
    ------
    NotThere
        There is no such file.
    DarknetError
        The place does not answer, or its package is not installed.
    """
    try:
        with load_extra("fsspec").open(name, "rb") as stream:
            pieces = []
            while most >= 0 and (piece := stream.read(min(most + 1, _PIECE))):
                pieces.append(piece)
                most -= len(piece)
            return b"".join(pieces)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotThere("cannot be read: there is no such file", where=Where(file=name)) from error
    except Exception as error:  # each kind of place has its own
        raise _failed(name, error) from error


def list_address(name: str, *, recursive: bool = False) -> list[str]:
    """Return the files that an address names.

    Parameters
    ----------
    name : str
        A file, a folder, or a pattern with ``*``, ``?`` or ``[``.
    recursive : bool
        Whether to search folders inside a folder.

    Returns
    -------
    addresses : list of str
        Sorted, each with the form of ``name``.

    Raises
    ------
    DarknetError
        There is no such file or folder; the place does not answer, or its package is not installed.
    """
    fsspec = load_extra("fsspec")
    first, chain, rest = name.partition(_CHAIN)
    tail = chain + rest
    try:
        system, path = fsspec.core.url_to_fs(name)
        scheme = first.partition("://")[0]
        if any(each in first for each in "*?["):
            found = _files(system.glob(path, detail=True).values())
        elif system.isdir(path) and recursive:
            found = system.find(path)
        elif system.isdir(path):
            found = _files(system.ls(path, detail=True))
        elif system.exists(path):
            return [name]
        else:
            raise NotThere("there is no such file or folder", where=Where(file=name))
    except DarknetError:
        raise
    except Exception as error:  # each kind of place has its own
        raise _failed(name, error) from error
    return sorted(f"{scheme}://{each.removeprefix(f'{scheme}://')}{tail}" for each in found)


def _files(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of those that are no folders."""
    return [each["name"] for each in entries if each["type"] == "file"]


def _failed(name: str, error: Exception) -> DarknetError:
    """Return the error of a place that does not answer."""
    reason = one_line(error) or type(error).__name__
    hint = None
    if isinstance(error, ImportError):  # says which package has to be installed
        hint = "the package that reads such addresses is not a part of any extra"
    return DarknetError(f"cannot be read: {reason}", where=Where(file=name), hint=hint)
