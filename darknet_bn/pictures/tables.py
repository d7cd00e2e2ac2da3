"""Lists of pictures that are columns of parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from darknet_bn.errors import DarknetError, Where, one_line, reason_of
from darknet_bn.formats.reading import open_file
from darknet_bn.optional import load_extra
from darknet_bn.pictures.addresses import is_address, open_address

SUFFIX = ".parquet"
_PATHS = ("path", "paths", "file", "filename", "url", "uri", "image")  # columns that hold paths


def read_paths(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the paths in a parquet file, without those that are null.

    They are in the column ``path``, ``file``, ``url`` or the like, or in the only column of texts.

    Parameters
    ----------
    path : path
        Of the file, or its address.

    Raises
    ------
    DarknetError
        pyarrow is not installed, or the file cannot be read or has no such column.
    """
    pa, pq = load_extra("pyarrow"), load_extra("pyarrow.parquet")
    name = os.fspath(path)
    opened = open_address(name) if is_address(name) else open_file(name)
    with opened as stream, reported_parquet(path, pa), pq.ParquetFile(stream) as file:
        names = [
            field.name
            for field in file.schema_arrow
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        known = [each for each in _PATHS if each in names] or (names if len(names) == 1 else [])
        if not known:
            raise DarknetError(
                "it is not clear which column holds the paths",
                where=Where(file=os.fspath(path)),
                expected="a column of texts named path",
                found=", ".join(file.schema_arrow.names),
            )
        for batch in file.iter_batches(columns=known[:1]):
            yield from (each for each in batch.column(0).to_pylist() if each is not None)


@contextmanager
def reported_parquet(path: str | os.PathLike[str], pa: Any) -> Iterator[None]:
    """In the block, turn what pyarrow raises into one line.

    Parameters
    ----------
    path : path
        The file.
    pa : module
        ``pyarrow``.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error
        problem = f"cannot be read as parquet: {one_line(reason)}"
        raise DarknetError(problem, where=Where(file=os.fspath(path))) from error
