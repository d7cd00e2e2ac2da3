"""Write files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from darknet_bn.errors import DarknetError, Where

Writer = Callable[[BinaryIO], object]


def write_files(writers: Mapping[Path, Writer], check: Callable[[], object] | None = None) -> None:
    """Write several files so that all of them appear, or none.

    Each is written beside its target under another name, flushed to the disk, and renamed when
    all are complete.

    Parameters
    ----------
    writers : mapping from path to function
        The function writes to the open binary stream that it is handed.
    check : function, optional
        Called while a thread writes; what it raises keeps all files from appearing.

    Raises
    ------
    DarknetError
        A file cannot be written; the targets are as they were.
    """
    written: dict[Path, Path] = {}

    def write_all() -> None:
        for name, write in writers.items():
            target = Path(os.path.realpath(name))  # a link goes on to lead to the file
            with _named(name):
                written[target] = _write_beside(target, write)

    try:
        if check is None:
            write_all()
        else:
            with ThreadPoolExecutor(1, "writing") as pool:
                writing = pool.submit(write_all)
                check()
                writing.result()
        _rename_all(written)
    finally:
        for leftover in written.values():
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Turn what the system refuses into an error that names the file."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise DarknetError(reason, where=Where(file=str(target))) from error


def _write_beside(target: Path, write: Writer) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(OSError):  # mkstemp keeps others out; a new file would not
            beside.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _rename_all(written: Mapping[Path, Path]) -> None:
    """Rename every file to its target; on a failure put back what was there before."""
    before: dict[Path, Path | None] = {}
    try:
        for target, beside in written.items():
            with _named(target):
                before[target] = _second_name(target) if len(written) > 1 else None
                beside.replace(target)
    except BaseException:
        for target, old in before.items():
            if old is not None:
                old.replace(target)
            elif not written[target].exists():  # it was renamed: the target is new
                target.unlink(missing_ok=True)
        raise
    finally:
        for old in before.values():
            if old is not None:
                old.unlink(missing_ok=True)


def _second_name(target: Path) -> Path | None:
    """Give an existing file a second name, under which it outlives being replaced."""
    if not target.is_file():
        return None
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    second = Path(name)
    try:
        second.unlink()
        os.link(target, second)
    except OSError:  # a file system where a file has one name only
        try:
            shutil.copy2(target, second)
        except BaseException:
            second.unlink(missing_ok=True)
            raise
    return second


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
