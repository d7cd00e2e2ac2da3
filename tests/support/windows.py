"""Windows as far as it can be simulated on Linux: what it lacks, and what it does to open files.

Nothing here has been compared with Windows itself.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable
from typing import Any

import pytest

from darknet_bn.formats import systems

# What users' commands may meet, and Windows does not have.
ABSENT = (
    *("fork", "register_at_fork", "sched_getaffinity", "sysconf", "mkfifo"),
    *("pread", "pathconf", "statvfs", "fchmod", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"),
    *("O_NOFOLLOW", "O_SYNC"),
)
SIGNALS = ("SIGALRM", "SIGVTALRM", "SIGHUP", "SIGUSR1", "SIGKILL", "setitimer", "pthread_sigmask")


def be_windows(patch: pytest.MonkeyPatch) -> None:
    """Remove what Windows lacks, and treat files as it does; paths stay POSIX paths."""
    patch.setattr(systems, "WINDOWS", True)
    for name in ABSENT:
        patch.delattr(os, name, raising=False)
    for name in SIGNALS:
        patch.delattr(signal, name, raising=False)
    patch.setattr(shutil, "_use_fd_functions", False)  # it removes folders without opening them
    refuse_folders(patch)
    hold_open_files(patch)


def refuse_folders(patch: pytest.MonkeyPatch) -> None:
    """Let no folder be opened."""
    real = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        if options.get("dir_fd") is None and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path, *args, **options)

    patch.setattr(os, "open", opened)


def hold_open_files(patch: pytest.MonkeyPatch) -> None:
    """Let no file be renamed, removed or replaced that this process has open or mapped."""

    def holding(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*names: Any, **options: Any) -> Any:
            for name in names[:2]:
                if "dir_fd" not in options and _is_open(name):
                    raise PermissionError(errno.EACCES, "Access is denied", os.fspath(name))
            return real(*names, **options)

        return call

    for name in ("replace", "rename", "unlink", "remove"):
        patch.setattr(os, name, holding(getattr(os, name)))


def _is_open(name: Any) -> bool:
    try:
        found = os.lstat(name)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) in open_files()


def open_files() -> set[tuple[int, int]]:
    """What this process has open or mapped: the device and the number of each file."""
    found = set()
    for folder in ("/proc/self/fd", "/proc/self/map_files"):
        for each in os.listdir(folder):
            try:
                status = os.stat(f"{folder}/{each}")
            except OSError:  # the list's own descriptor is closed by now
                continue
            found.add((status.st_dev, status.st_ino))
    return found
