"""Read what a file names; write so that readers see the old content or the new, never half."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from darknet_bn.errors import CfgError, DarknetError, Where

_MOST_NAME = 100  # bytes of a name that go into that of a file beside it; systems end at 255
_MOST_BYTES = 4 << 20  # the largest file that a published cfg names, a tree, has 190 kB

Name = str | os.PathLike[str]
Writer = Callable[[BinaryIO], object]


def read_beside(name: str, file: str | None) -> bytes:
    """Read the small file that another one names.

    Parameters
    ----------
    name : str
        A path relative to the folder of that other file; where nothing is there, to the working
        directory, as Darknet takes it.
    file : str or None
        The path of that other file; None where it is none.

    Returns
    -------
    content : bytes

    Raises
    ------
    CfgError
        There is no such file, or it cannot be read or be meant; without the place that names it.
    """
    places = [Path(file).parent / name] if file is not None else []
    places.append(Path(name))
    tried = " or ".join(dict.fromkeys(map(_printable, places)))
    try:
        found = next((each for each in places if each.is_file()), None)
        if found is None:
            raise CfgError("it names a file that is not there", expected=tried)
        with found.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CfgError(f"it names a file that cannot be read: {reason}", found=tried) from error
    if len(content) > _MOST_BYTES:
        raise CfgError(
            "it names a file that is too large to be meant",
            expected=f"at most {_MOST_BYTES >> 20} MiB",
            found=_printable(found),
        )
    return content


def _printable(path: Path) -> str:
    """Return a path for a message; a cfg may hold any bytes, and any number of them."""
    text = str(path).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 200 else f"…{text[-199:]}"


def require_suffix(target: Name, *suffixes: str) -> None:
    """Refuse to write a file under the suffix of another kind of file.

    Parameters
    ----------
    target : path
        The file to write.
    suffixes : str
        Those that it may have, each with its dot and in lower case.

    Raises
    ------
    DarknetError
        It has none of them.
    """
    name = os.fspath(target)
    if not name.lower().endswith(suffixes):
        raise DarknetError(
            "the file to write has the suffix of another kind",
            where=Where(file=name),
            expected=f"a name that ends in {' or '.join(suffixes)}",
            found=repr(Path(name).suffix),
        )


def require_writable(
    targets: Iterable[Name],
    *,
    force: bool,
    inputs: Iterable[Name | None] = (),
    how: str = "force=True",
) -> None:
    """Refuse to write what would be lost, or lose something else, before any work is done.

    Parameters
    ----------
    targets : iterable of path
        The files to write.
    force : bool
        Whether files may be there already.
    inputs : iterable of path or None
        What was read, which is never written over, forced or not, through links neither.
    how : str
        What the user writes to force it, for the message.

    Raises
    ------
    DarknetError
        A folder does not exist, or is named instead of a file; two targets are one file; one is no
        regular file, or an input; or it exists, and ``force`` is off.
    """
    read = [os.fspath(each) for each in inputs if each is not None]
    seen: dict[str, str] = {}
    for target in [os.fspath(each) for each in targets]:
        where = Where(file=target)
        if "\0" in target:
            raise DarknetError("no file can have this name", where=where)
        folder = Path(target).parent
        if not folder.is_dir():
            raise DarknetError("there is no such folder", where=Where(file=str(folder)))
        if os.path.isdir(target) or not os.path.basename(target):
            raise DarknetError("this is a folder", where=where, expected="the name of a file")
        other = seen.setdefault(os.path.realpath(target), target)
        if other is not target:
            raise DarknetError("two files cannot be written under one name", where=where)
        if os.path.exists(target) and not os.path.isfile(target):
            raise DarknetError("this is no regular file, and is never replaced", where=where)
        if any(is_same_file(target, each) for each in read):
            raise DarknetError(
                "this file is read as input, and is never written over",
                where=where,
                hint="choose another name for the output",
            )
        if not force and os.path.lexists(target):
            raise DarknetError(
                "the file already exists", where=where, hint=f"use {how} to overwrite it"
            )


def is_same_file(one: Name, other: Name) -> bool:
    """Tell whether two names lead to one file, through links of either kind too."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them leads nowhere
        return os.path.realpath(one) == os.path.realpath(other)
    except ValueError:  # a zero byte, which no name of a file has
        return False


def write_files(
    writers: Mapping[Path, Writer],
    check: Callable[[], object] | None = None,
    *,
    force: bool,
    inputs: Iterable[Name | None] = (),
) -> None:
    """Write several files so that all of them appear, or none.

    Each is written beside its target under another name, flushed to the disk, and renamed when
    all are complete.  The last is the one without which nobody reads the others, as the cfg is
    of a pair: if it is there already it is taken away first, and comes back last.  So a program
    that is killed in between leaves the old files, the new ones, or no complete set, but never
    old with new.

    Parameters
    ----------
    writers : mapping from path to function
        The function writes to the open binary stream that it is handed, and may read again what it
        wrote: the stream's ``name`` is the path.
    check : function, optional
        Called while a thread writes; what it raises keeps all files from appearing.
    force, inputs : bool, iterable of path
        As in `require_writable`, which is asked first.

    Raises
    ------
    DarknetError
        A file may not or cannot be written; the targets are as they were, or the message says
        under which name the old file is kept.
    """
    require_writable(writers, force=force, inputs=inputs)
    written: dict[Path, Path] = {}
    given_up = threading.Event()

    def write_all() -> None:
        for name, write in writers.items():
            target = Path(os.path.realpath(name))  # a link goes on to lead to the file
            with _named(name):
                beside = _write_beside(target, write)
                if given_up.is_set():  # nobody waits any more who would remove it
                    beside.unlink()
                    return
                written[target] = beside

    try:
        if check is None:
            write_all()
        else:
            with ThreadPoolExecutor(1, "writing") as pool:
                writing = pool.submit(write_all)
                check()
                writing.result()
        _rename_all(written, force=force)
    finally:
        given_up.set()
        for leftover in written.values():
            _remove(leftover)


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Turn what the system refuses into an error that names the file."""
    try:
        yield
    except FileExistsError as error:  # it has appeared since `require_writable` looked
        raise DarknetError("the file already exists", where=Where(file=str(target))) from error
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise DarknetError(reason, where=Where(file=str(target))) from error


def _write_beside(target: Path, write: Writer) -> Path:
    beside = _name_beside(target, "new")
    try:
        with beside.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(OSError):  # mkstemp keeps others out; a new file would not
            beside.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
    except BaseException:
        _remove(beside)
        raise
    return beside


def _name_beside(target: Path, what: str) -> Path:
    """Make an empty file in the folder of another, with that one's name in its own."""
    name = os.fsencode(target.name)[:_MOST_NAME].decode("utf-8", "ignore")
    handle, beside = tempfile.mkstemp(prefix=f".{name}.{what}.", dir=target.parent)
    os.close(handle)
    return Path(beside)


def _rename_all(written: Mapping[Path, Path], *, force: bool) -> None:
    """Rename every file to its target; on a failure put back what was there before."""
    before: dict[Path, Path | None] = {}
    *_, key = written
    try:
        for target in written:
            with _named(target):
                before[target] = _second_name(target) if len(written) > 1 else None
        if before[key] is not None:
            with _named(key):
                key.unlink()
                _flush_folder(key.parent)
        for target, beside in written.items():
            with _named(target):
                _rename(beside, target, force=force)
                _flush_folder(target.parent)
    except BaseException as error:
        _put_back(written, before, error)
        raise
    for old in before.values():
        if old is not None:
            _remove(old)


def _remove(beside: Path) -> None:
    """Remove what is needed no more; if that fails, the files that count are as they must be."""
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)


def _rename(beside: Path, target: Path, *, force: bool) -> None:
    """Rename a file; unless forced, not over another that has appeared in the meantime."""
    if force:
        beside.replace(target)
        return
    try:
        os.link(beside, target)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # a file system, or a system, where a file has one name only
        if os.path.lexists(target):
            raise FileExistsError from None
        beside.replace(target)


def _put_back(
    written: Mapping[Path, Path], before: Mapping[Path, Path | None], error: BaseException
) -> None:
    """Undo what `_rename_all` did; say under which name an old file is kept if that fails too."""
    kept = []
    for target, old in before.items():
        try:
            if old is not None:
                old.replace(target)
                old.unlink(missing_ok=True)  # still there if both are names of one file
            elif target.exists() and not _is_waiting(written[target], target):
                target.unlink()
        except OSError:
            kept.append(f"{old} holds the old {target.name}" if old else f"{target} is new")
    if kept and isinstance(error, DarknetError):
        error.hint = "; ".join(filter(None, (error.hint, *kept)))
    elif kept:
        raise DarknetError(f"not all is as it was: {'; '.join(kept)}") from error


def _is_waiting(beside: Path, target: Path) -> bool:
    """Tell whether a file is still to be renamed to its target."""
    return beside.exists() and not is_same_file(beside, target)


def _second_name(target: Path) -> Path | None:
    """Give an existing file a second name, under which it outlives being replaced."""
    if not target.is_file():
        return None
    second = _name_beside(target, "old")
    try:
        second.unlink()
        os.link(target, second)
    except (OSError, AttributeError):  # as in `_rename`
        try:
            shutil.copy2(target, second)
        except BaseException:
            _remove(second)
            raise
    return second


def rename_file(name: Name, target: Name) -> None:
    """Give a file another name, over what has it, so that this outlives a power cut.

    Raises
    ------
    DarknetError
        It cannot be renamed.
    """
    with _named(Path(target)):
        os.replace(name, target)
        _flush_folder(Path(target).parent)


def _flush_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut, in the order in which they were given."""
    with contextlib.suppress(OSError):  # a system or file system that cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
