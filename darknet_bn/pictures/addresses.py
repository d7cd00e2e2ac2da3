"""Files that are not on a local disk: ``s3://``, ``gs://``, ``zip://`` and others, by fsspec."""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from darknet_bn.errors import DarknetError, Where, one_line
from darknet_bn.optional import load_extra

if TYPE_CHECKING:
    from darknet_bn.formats.writing import Writer

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PIECE = 1 << 20  # bytes
_CHAIN = "::"
_STORES = ("s3", "s3a", "gs", "gcs", "memory")  # where a file appears whole, and replaces none


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
    with open_address(name) as stream:
        pieces = []
        while most >= 0 and (piece := stream.read(min(most + 1, _PIECE))):
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)


@contextmanager
def open_address(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading, of which parts may be read in any order.

    Parameters
    ----------
    name : str

    Raises
    ------
    NotThere
        There is no such file.
    DarknetError
        The place does not answer, or its package is not installed; also while the file is read, in
        the block.
    """
    with _answering(name), load_extra("fsspec").open(name, "rb") as stream:
        yield stream


def beside(address: str, name: str) -> str:
    """Return the address of a file that a list calls ``name``.

    Parameters
    ----------
    address : str
        Of the list.
    name : str
        An address; or a path that is relative to the folder of the list, unless it is one of a
        local file.
    """
    if is_address(name) or os.path.isabs(name) or os.path.lexists(name):
        return name
    first, chain, rest = address.partition(_CHAIN)
    scheme, _, path = first.partition("://")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    return f"{scheme}://{joined}{chain}{rest}"


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
    with _answering(name):
        system, path = fsspec.core.url_to_fs(name)
        scheme = first.partition("://")[0]
        if any(each in first for each in "*?[") and not system.exists(path):
            found = _files(system.glob(path, detail=True).values())
        elif system.isdir(path) and recursive:
            found = system.find(path)
        elif system.isdir(path):
            found = _files(system.ls(path, detail=True))
        elif system.exists(path):
            return [name]
        else:
            raise NotThere("there is no such file or folder", where=Where(file=name))
    return sorted(f"{scheme}://{each.removeprefix(f'{scheme}://')}{tail}" for each in found)


class AddressFolder:
    """A folder in a store of objects, to which files are added.

    Parameters
    ----------
    name : str
        Its address, such as ``s3://bucket/found``.

    Raises
    ------
    DarknetError
        It is at a place of another kind, which does not answer, or its package is not installed.
    """

    def __init__(self, name: str) -> None:
        fsspec = load_extra("fsspec")
        self._name = name.rstrip("/")
        if _CHAIN in name or name.partition("://")[0].lower() not in _STORES:
            raise DarknetError(
                "nothing can be written there",
                where=Where(file=name),
                expected="a local folder, or one at s3:// or gs://",
                hint="write into a local folder, and copy it",
            )
        with _answering(name):
            self._system, self._path = fsspec.core.url_to_fs(self._name)

    def names(self) -> list[str]:
        """Return the names of the files in it, sorted; there are none if it does not exist."""
        try:
            with _answering(self._name):
                self._system.invalidate_cache(self._path)
                found = self._system.ls(self._path, detail=True)
        except NotThere:
            return []
        return sorted(posixpath.basename(each) for each in _files(found))

    def address(self, name: str) -> str:
        """Return the address of a file in it."""
        return f"{self._name}/{name}"

    def create(self, name: str, write: Writer) -> None:
        """Write a new file, which appears whole or not at all.

        Parameters
        ----------
        name : str
        write : function
            It writes to the binary stream that it gets.

        Raises
        ------
        DarknetError
            There is such a file, or the place does not take it.
        """
        where = self.address(name)
        content = io.BytesIO()
        write(content)
        try:
            with _answering(where, "cannot be written"):
                try:
                    path = f"{self._path}/{name}"
                    self._system.pipe_file(path, content.getvalue(), mode="create")
                except FileExistsError as error:
                    problem = "the file already exists"
                    raise DarknetError(problem, where=Where(file=where)) from error
        except NotThere as error:  # such as a bucket
            raise DarknetError("there is no such place", where=Where(file=where)) from error


def _files(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of those that are no folders."""
    return [each["name"] for each in entries if each["type"] == "file"]


@contextmanager
def _answering(name: str, what: str = "cannot be read") -> Iterator[None]:
    """In the block, turn what a place raises into one line."""
    try:
        yield
    except DarknetError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotThere(f"{what}: there is no such file", where=Where(file=name)) from error
    except Exception as error:  # each kind of place has its own
        reason = one_line(error) or type(error).__name__
        hint = None
        if isinstance(error, ImportError):  # says which package has to be installed
            hint = "the package that reads such addresses is not a part of any extra"
        raise DarknetError(f"{what}: {reason}", where=Where(file=name), hint=hint) from error
