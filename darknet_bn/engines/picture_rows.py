"""Pictures in, a row for each out: what one process, many threads, Ray and others all call."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

from darknet_bn.engines.classifier import Classifier
from darknet_bn.engines.detector import Detector
from darknet_bn.errors import DarknetError, ImageError, ShapeError, Where, located
from darknet_bn.formats.reading import read_file
from darknet_bn.pictures.addresses import NotThere, is_address, read_address
from darknet_bn.pictures.given import as_planes
from darknet_bn.predictions.rows import (
    CLASSES,
    DETECTIONS,
    Columns,
    Form,
    as_columns,
    class_row,
    detection_row,
    failed_row,
)
from darknet_bn.values import brief
from darknet_bn.work.threads import limit_threads

_MOST_BYTES = 1 << 30  # of a picture's file: the largest photographs have a tenth
_AT_ONCE, _AHEAD = 4, 8  # files from elsewhere: how many are fetched at once, and how many wait

Content: TypeAlias = "bytes | DarknetError"


class PictureRows:
    """A detector or classifier from columns of pictures to columns of what is in them: call it.

    It is what Ray, Daft, Spark, Dask or a pool of threads call with a piece of a table.  It may be
    pickled, and loads the model at its first use.

    Parameters
    ----------
    predictor : Detector or Classifier
    threads : int, optional
        On how many threads a process computes from its first batch on: as many as it has got
        processors from the program that started it.  By default nothing changes.
    folder : path, optional
        What relative paths are relative to, if not the working directory; a worker may have another
        than the program that started it.

    Attributes
    ----------
    form : mapping from str to str
        What each column of the result holds: ``text``, ``whole``, ``number``, or lists of these in
        the plural.

    Raises
    ------
    DarknetError
        ``threads`` is below 1.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> rows = dn.PictureRows(dn.Detector("yolov3-tiny", names="coco.names"))
    >>> found = rows({"path": ["dog.jpg", "person.jpg"]})  # doctest: +SKIP
    >>> found["label"][0]  # doctest: +SKIP
    ['dog', 'bicycle']
    """

    form: Form

    def __init__(
        self,
        predictor: Detector | Classifier,
        *,
        threads: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise DarknetError("the number of threads must be at least 1", found=f"{threads}")
        self._predictor, self._threads = predictor, threads
        self._folder = None if folder is None else os.fspath(folder)
        self.form = DETECTIONS if isinstance(predictor, Detector) else CLASSES

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the arguments."""
        return {
            "predictor": self._predictor,
            "threads": self._threads,
            "folder": self._folder,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        type(self).__init__(self, **state)

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"of {self._predictor!r}")

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> Columns:
        """Look at pictures.

        Parameters
        ----------
        batch : mapping from str to sequence
            ``path`` names the pictures: files, or addresses that fsspec knows.  If there is a
            column ``bytes`` too, it has the contents of the files; where it is None, the file is
            read.

        Returns
        -------
        columns : dict from str to list
            ``path``, ``width``, ``height`` and ``error``: None, or in one line why a picture could
            not be used.  Then lists for each picture: ``left``, ``top``, ``right`` and ``bottom``
            in pixels (of a detector), ``probability``, ``class`` and ``label``.

        Raises
        ------
        DarknetError
            The columns are missing or of different lengths; the model cannot be loaded or run; or a
            place that is not local does not answer.  No picture is at fault, so that there is no
            row for it.
        """
        paths = [_text(each) for each in _column(batch, "path")]
        given = list(batch["bytes"]) if "bytes" in batch else [None] * len(paths)
        if len(given) != len(paths):
            raise DarknetError(
                "the columns have different lengths",
                expected=f"{len(paths)} as path has",
                found=f"{len(given)} in bytes",
            )
        if self._threads is not None:
            limit_threads(self._threads)
        channels = self._predictor.model.network.input.c  # loads it: its errors are no picture's
        rows = []
        for path, content in zip(paths, self._contents(paths, given), strict=True):
            try:
                with located(_without_file, (ImageError, ShapeError, NotThere)):
                    if isinstance(content, DarknetError):
                        raise content
                    rows.append(self._row(path, content, channels))
            except (ImageError, ShapeError, NotThere) as error:
                rows.append(failed_row(path, str(error), self.form))
            except MemoryError:
                problem = "there is not enough memory for the picture"
                rows.append(failed_row(path, problem, self.form))
        return as_columns(rows, self.form)

    def _row(self, path: str, content: bytes, channels: int) -> dict[str, Any]:
        im = as_planes(content, channels)
        size = (im.shape[1], im.shape[2])
        if isinstance(self._predictor, Detector):
            return detection_row(path, size, self._predictor(im))
        return class_row(path, size, self._predictor(im))

    def _contents(self, paths: Sequence[str], given: Sequence[Any]) -> Iterator[Content]:
        """Yield the contents of pictures; those from elsewhere are fetched ahead."""
        pairs = list(zip(paths, given, strict=True))
        if not any(is_address(path) for path, content in pairs if content is None):
            yield from (self._content(*pair) for pair in pairs)
            return
        with ThreadPoolExecutor(_AT_ONCE, "reading") as pool:
            waiting = deque(pool.submit(self._content, *pair) for pair in pairs[:_AHEAD])
            rest = iter(pairs[_AHEAD:])
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(pool.submit(self._content, *pair) for pair in islice(rest, 1))
            finally:
                for each in waiting:
                    each.cancel()

    def _content(self, path: str, given: Any) -> Content:
        """Return the content of a picture, or why it has none."""
        if given is not None:
            return bytes(given)
        try:
            if is_address(path):
                content = read_address(path, _MOST_BYTES)
            else:
                name = path if self._folder is None else os.path.join(self._folder, path)
                content = read_file(name, _MOST_BYTES, ImageError)
        except DarknetError as error:
            return error
        if len(content) > _MOST_BYTES:
            return ImageError("the file is too large", expected=f"at most {_MOST_BYTES >> 20} MiB")
        return content


def _without_file(inner: Where) -> Where:
    """Return a place without its file, which the row has in its own column."""
    return replace(inner, file=None)


def _column(batch: Mapping[str, Iterable[Any]], name: str) -> Iterable[Any]:
    if name not in batch:
        raise DarknetError(
            f"there is no column {name}", expected="path, and bytes or none", found=", ".join(batch)
        )
    return batch[name]


def _text(path: Any) -> str:
    """Return a path as text, whatever kind of table it comes from."""
    return os.fsdecode(path) if isinstance(path, (bytes, os.PathLike)) else str(path)
