"""``python -m darknet_bn.opencv SCRIPT ARGS...``: run a program with `patch` in force."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.abc import InspectLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from darknet_bn.errors import DarknetError, reason_of
from darknet_bn.opencv.patching import patch

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]

_USAGE = """\
usage: python -m darknet_bn.opencv SCRIPT [ARGS...]

Run a Python program written for OpenCV 4 with an installed OpenCV 5, which no
longer reads Darknet's .cfg and .weights files. cv2.dnn.readNetFromDarknet,
readNet, DetectionModel and ClassificationModel read them again; the program
itself is not changed. With OpenCV 4, the program simply runs.

Example: python -m darknet_bn.opencv detect.py dog.jpg
"""


class _Script(InspectLoader):
    """A loader that runs a file as ``__main__``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._content = Path(path).read_bytes()

    def get_source(self, fullname: str) -> str:
        """Return the text."""
        return self._content.decode("utf-8", "replace")

    def get_code(self, fullname: str) -> CodeType:
        """Return the program."""
        return compile(self._content, self._path, "exec", dont_inherit=True)


def main(arguments: list[str]) -> int:
    """Run the program that the first argument names; the other arguments are passed to it.

    Returns
    -------
    status : int
        0, or 2 if there is no such program or no OpenCV.  A program that exits or fails does so by
        itself.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        (sys.stdout if arguments else sys.stderr).write(_USAGE)
        return 0 if arguments else 2
    script = arguments[0]
    try:
        loader = _Script(os.path.abspath(script))
        patch()
    except OSError as error:
        sys.stderr.write(f"error: {script}: cannot be read: {reason_of(error)}\n")
        return 2
    except DarknetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(script)
    module.__loader__ = loader
    sys.argv = arguments
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    sys.modules["__main__"] = module
    sys.excepthook = _showing_only(module.__file__, sys.excepthook)
    loader.exec_module(module)
    return 0


def _showing_only(path: str, show: Hook) -> Hook:
    """Return a hook that shows errors as Python does, without the frames that ran the program."""

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> object:
        while trace is not None and trace.tb_frame.f_code.co_filename != path:
            trace = trace.tb_next
        return show(kind, error.with_traceback(trace), trace)

    return hook


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
