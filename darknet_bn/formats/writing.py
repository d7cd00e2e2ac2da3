"""Read what a file names; write so that readers see the old content or the new, never half."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from darknet_bn.errors import CfgError, DarknetError, Where, reason_of
from darknet_bn.formats import systems
from darknet_bn.formats.reading import let_go, read_file

_MOST_NAME = 40  # letters of a name kept in that of a temporary file: below 255 bytes
_MOST_MORE = 14  # letters that such a temporary name has more than that
_MOST_BYTES = 4 << 20  # the largest file that a published cfg names, a tree, has 190 kB

Name = str | os.PathLike[str]
Writer = Callable[[BinaryIO], object]


def read_beside(name: str, file: str | None) -> bytes:
    """Read the small file that another file names.

    Parameters
    ----------
    name : str
        A path relative to the folder of that other file; if nothing is there, relative to the
        working directory, as in Darknet.
    file : str or None
        The path of that other file; None if it is not a file.

    Returns
    -------
    content : bytes

    Raises
    ------
    CfgError
        There is no such file, or it cannot be read or is not allowed; the message does not say
        where it is named.
    """
    places = [Path(file).parent / name] if file is not None else []
    places.append(Path(name))
    tried = " or ".join(dict.fromkeys(map(_printable, places)))
    found = next((each for each in places if os.path.isfile(each)), None)
    if found is None:
        raise CfgError("the file does not exist", expected=tried)
    try:
        content = read_file(found, _MOST_BYTES, piped=False)
    except DarknetError as error:  # its place is in the cfg, which the caller knows
        raise CfgError(error.problem, found=_printable(found)) from error
    if len(content) > _MOST_BYTES:
        raise CfgError(
            "the file is too large",
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
        The suffixes that it may have, each with its dot and in lower case.

    Raises
    ------
    DarknetError
        It has none of them.
    """
    name = os.fspath(target)
    if not name.lower().endswith(suffixes):
        raise DarknetError(
            "the output file has the suffix of a different kind of file",
            where=Where(file=name),
            expected=f"a name ending in {' or '.join(suffixes)}",
            found=repr(Path(name).suffix),
        )


def require_writable(
    targets: Iterable[Name],
    *,
    force: bool,
    inputs: Iterable[Name | None] = (),
    how: str = "force=True",
) -> None:
    """Refuse targets that would lose data, before any work is done.

    Parameters
    ----------
    targets : iterable of path
        The files to write.
    force : bool
        Whether the files may already exist.
    inputs : iterable of path or None
        The files that were read.  They are never overwritten, even if forced or through links.
    how : str
        How the user can force it, for the message.

    Raises
    ------
    DarknetError
        A folder does not exist, or is named instead of a file; two targets are the same file; one
        is not a regular file, or is an input; or it exists and ``force`` is off.
    """
    read = {systems.identity(each) for each in inputs if each is not None}
    names = [os.fspath(each) for each in targets]
    for target in names:
        _require_name(target)
        where = Where(file=target)
        if os.path.exists(target) and not os.path.isfile(target):
            raise DarknetError("this is not a regular file, and is never replaced", where=where)
        if systems.identity(target) in read:
            raise DarknetError(
                "this file is an input, and is never overwritten",
                where=where,
                hint="choose a different name for the output",
            )
        if not force and os.path.lexists(target):
            raise DarknetError(
                "the file already exists", where=where, hint=f"use {how} to overwrite it"
            )
        if systems.WINDOWS and os.path.exists(target) and not os.access(target, os.W_OK):
            raise DarknetError("the file is marked as read-only", where=where)
    clash = systems.first_clash([os.path.realpath(each) for each in names])
    if clash is not None:
        raise DarknetError(
            "two files cannot have the same name",
            where=Where(file=names[clash[1]]),
            found=names[clash[0]],
        )


def _require_name(target: str) -> None:
    """Refuse a path that is not the name of a file in an existing folder."""
    where = Where(file=target)
    require_possible(target)
    folder = Path(target).parent
    if not os.path.isdir(folder):
        raise DarknetError("the folder does not exist", where=Where(file=str(folder)))
    if os.path.isdir(target) or not os.path.basename(target):
        raise DarknetError("this is a folder", where=where, expected="the name of a file")


def require_possible(target: str) -> None:
    """Refuse a name that no file of this system can have, or that is too long.

    Raises
    ------
    DarknetError
        It is such a name.
    """
    where = Where(file=target)
    problem = systems.impossible(target)
    if problem is not None:
        raise DarknetError(problem, where=where)
    try:
        os.lstat(target)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG and os.path.isdir(os.path.dirname(target) or "."):
            raise DarknetError(
                "the name is too long for the file system",
                where=where,
                found=f"{len(os.fsencode(os.path.basename(target)))} bytes",
                hint=systems.advice(error, target),
            ) from error


def is_same_file(one: Name, other: Name) -> bool:
    """Return whether two names lead to one file, through links of either kind too."""
    return systems.identity(one) == systems.identity(other)


def write_files(
    writers: Mapping[Path, Writer],
    check: Callable[[], object] | None = None,
    *,
    force: bool,
    inputs: Iterable[Name | None] = (),
) -> None:
    """Write several files so that all of them appear, or none.

    Each is written next to its target under a temporary name, flushed to disk, and renamed when all
    are complete.  The last is the one without which nobody reads the others, such as the cfg of a
    pair: if it already exists, it is removed first and comes back last.  So a program that is
    killed in between leaves the old files, the new ones, or no complete set, but never a mixture.

    Parameters
    ----------
    writers : mapping from path to function
        Each function writes to the open binary stream that it gets, and may read back what it
        wrote: the stream's ``name`` is the path.
    check : function, optional
        Called while a thread writes; if it raises, no file appears.
    force, inputs : bool, iterable of path
        As in `require_writable`, which is called first.

    Raises
    ------
    DarknetError
        A file must not or cannot be written; the targets are unchanged, or the message says under
        which name the old file is kept.
    """
    require_writable(writers, force=force, inputs=inputs)
    moves: list[_Move] = []  # each is here before its files exist, so that none is left over
    given_up = threading.Event()

    def write_all() -> None:
        for name, write in writers.items():
            moves.append(move := _move(name))  # a link continues to lead to the file
            with _named(name):
                _write(move, write)
            if given_up.is_set():  # nobody waits any more who would remove it
                _remove(move.beside)
                return

    try:
        if check is None:
            write_all()
        else:
            with ThreadPoolExecutor(1, "writing") as pool:
                writing = pool.submit(write_all)
                check()
                writing.result()
        _rename_all(moves, force=force)
    finally:
        given_up.set()
        _remove_all(move.beside for move in moves)


@dataclass(frozen=True)
class _Move:
    """A file on its way: its target, its temporary name, and a name for the old file."""

    target: Path
    beside: Path
    old: Path
    replaces: bool


def _move(name: Path) -> _Move:
    target = Path(os.path.realpath(name))
    start, token = target.name[:_MOST_NAME], secrets.token_hex(4)
    beside, old = (target.with_name(f".{start}.{what}.{token}") for what in ("new", "old"))
    return _Move(target, beside, old, target.exists())


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the file."""
    try:
        yield
    except FileExistsError as error:  # it has appeared since `require_writable` looked
        raise DarknetError("the file already exists", where=Where(file=str(target))) from error
    except OSError as error:
        more = max(0, min(len(target.name), _MOST_NAME) + _MOST_MORE - len(target.name))
        raise DarknetError(
            f"cannot be written: {reason_of(error)}",
            where=Where(file=str(target)),
            hint=systems.advice(error, str(target), more),
        ) from error


def _write(move: _Move, write: Writer) -> None:
    with move.beside.open("xb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    if move.replaces:
        with contextlib.suppress(OSError):
            move.beside.chmod(move.target.stat().st_mode & 0o777)


def _rename_all(moves: Sequence[_Move], *, force: bool) -> None:
    """Rename every file to its target; on a failure put back what was there before."""
    for move in moves if systems.WINDOWS else ():
        let_go(move.target)
        let_go(move.beside)
    *_, key = moves
    together, complete = len(moves) > 1, False
    try:
        for move in moves:
            if move.replaces and together:
                with _named(move.target):
                    _second_name(move)
        if key.replaces and together:
            with _named(key.target):
                key.target.unlink()
                _flush_folder(key.target.parent)
        for move in moves:
            with _named(move.target):
                _rename(move, force=force)
                _flush_folder(move.target.parent)
        complete = True
        _remove_all(move.old for move in moves)
    except BaseException as error:
        if not complete:
            _put_back(moves, error)
        raise


def _remove_all(files: Iterable[Path]) -> None:
    """Remove files like `_remove`, all of them even if a signal comes meanwhile."""
    files = tuple(files)
    try:
        for file in files:
            _remove(file)
    except BaseException:
        for file in files:
            _remove(file)
        raise


def _remove(beside: Path) -> None:
    """Remove a file that is not needed any more; a failure does not affect the target files."""
    with contextlib.suppress(OSError, DarknetError):
        if systems.WINDOWS:
            let_go(beside)  # a reader may still have it open
        beside.unlink(missing_ok=True)


def _rename(move: _Move, *, force: bool) -> None:
    """Rename a file; unless forced, not over another that has appeared in the meantime."""
    if force:
        move.beside.replace(move.target)
        return
    try:
        os.link(move.beside, move.target)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # a system or file system without a second name for a file
        if os.path.lexists(move.target):
            raise FileExistsError from None
        move.beside.replace(move.target)


def _put_back(moves: Sequence[_Move], error: BaseException) -> None:
    """Undo `_rename_all`; if that fails too, say under which name an old file is kept."""
    kept = []
    for move in moves:
        try:
            if systems.WINDOWS and is_same_file(move.old, move.target):
                _remove(move.old)  # if it is open it cannot be renamed, and need not be
            elif move.old.exists():
                move.old.replace(move.target)
                move.old.unlink(missing_ok=True)  # still there if both are names of one file
            elif not move.replaces and move.target.exists() and not _waits(move):
                move.target.unlink()
        except OSError:
            name = move.target.name
            kept.append(f"{move.old} holds the old {name}" if move.replaces else f"{name} is new")
    if kept and isinstance(error, DarknetError):
        error.hint = "; ".join(filter(None, (error.hint, *kept)))
    elif kept:
        raise DarknetError(f"the old files could not all be restored: {'; '.join(kept)}") from error


def _waits(move: _Move) -> bool:
    """Return whether a file still has to be renamed to its target, where another may be."""
    return move.beside.exists() and not is_same_file(move.beside, move.target)


def _second_name(move: _Move) -> None:
    """Give an existing file a second name, under which it survives being replaced."""
    try:
        os.link(move.target, move.old)
    except (OSError, AttributeError):  # as in `_rename`
        try:
            shutil.copy2(move.target, move.old)
        except BaseException:
            _remove(move.old)  # it may be incomplete
            raise


def rename_file(name: Name, target: Name) -> None:
    """Rename a file over an existing one, so that the change survives a power cut.

    Raises
    ------
    DarknetError
        It cannot be renamed.
    """
    with _named(Path(target)):
        if systems.WINDOWS:
            let_go(target)
        os.replace(name, target)
        _flush_folder(Path(target).parent)


def _flush_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut, in the order in which they were given."""
    with contextlib.suppress(OSError):  # a system or file system that cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
