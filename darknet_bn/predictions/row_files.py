"""Rows in parquet files: a folder that grows by whole files, all made in the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.reading import open_file, reported
from darknet_bn.formats.writing import Writer, write_files
from darknet_bn.optional import load_extra
from darknet_bn.pictures.addresses import AddressFolder, is_address, open_address
from darknet_bn.pictures.tables import SUFFIX, reported_parquet

_KEY = b"darknet_bn"  # of what the files say about how they were made
_NAME = "rows-{:06}.parquet"


class RowFolder:
    """A folder of parquet files with the same columns, made in the same way.

    Parameters
    ----------
    folder : path
        It need not exist yet.  Or its address at a store that fsspec knows, as
        ``s3://bucket/found``.
    form : mapping from str to str
        For each column, in order: ``text``, ``whole`` or ``number``; or in the plural, for lists.
        The column ``path`` names the picture.
    facts : mapping
        How the rows are made, in plain values.  It is written into every file.

    Attributes
    ----------
    done : set of str
        The paths that are there already.

    Raises
    ------
    DarknetError
        pyarrow is not installed; the folder is a file, or cannot be at that address; or a file in
        it was made otherwise, is not complete, or has other columns.
    """

    def __init__(
        self, folder: str | os.PathLike[str], form: Mapping[str, str], facts: Mapping[str, Any]
    ) -> None:
        self._pa, self._pq = load_extra("pyarrow"), load_extra("pyarrow.parquet")
        name = os.fspath(folder)
        self._folder = AddressFolder(name) if is_address(name) else _LocalFolder(name)
        self._facts = json.loads(json.dumps(facts))
        text = json.dumps(self._facts, sort_keys=True)
        self.schema = arrow_schema(form).with_metadata({_KEY: text.encode()})
        self.done: set[str] = set()
        self._next = 1
        for each in self._folder.names():
            if each.endswith(SUFFIX) and each[0] != ".":
                self._take(each)

    def write(self, columns: Mapping[str, Sequence[Any]]) -> str:
        """Write rows as a new file, which appears whole or not at all.

        Returns
        -------
        name : str
            Of the file, in the folder.

        Raises
        ------
        DarknetError
            The file cannot be written, or another program writes into the folder too.
        """
        table = self._pa.table(dict(columns), schema=self.schema)
        name = _NAME.format(self._next)
        self._folder.create(name, lambda stream: self._pq.write_table(table, stream))
        self._next += 1
        self.done.update(columns["path"])
        return name

    def _take(self, name: str) -> None:
        """Note the paths of a file, if it was made in the same way."""
        path = self._folder.address(name)
        where = Where(file=path)
        opened = open_address(path) if is_address(path) else open_file(path)
        with opened as stream, reported_parquet(path, self._pa):
            file = self._pq.ParquetFile(stream)
            schema = file.schema_arrow
            ours = schema.remove_metadata() == self.schema.remove_metadata()
            paths = file.read(columns=["path"])["path"].to_pylist() if ours else []
        made = json.loads((schema.metadata or {}).get(_KEY, b"null"))
        hint = "choose another folder, or an empty one"
        if made is None:
            raise DarknetError("another program wrote this file", where=where, hint=hint)
        for key in sorted(made.keys() | self._facts.keys()):
            then, now = (each.get(key) for each in (made, self._facts))
            if then != now:
                raise DarknetError(
                    f"its rows were made with another {key}",
                    where=where,
                    expected=f"{now}",
                    found=f"{then}",
                    hint=hint,
                )
        if not ours:
            raise DarknetError("its columns are different", where=where, hint=hint)
        self.done.update(paths)
        number = name.removesuffix(SUFFIX).rpartition("-")[2]
        if number.isdecimal():
            self._next = max(self._next, int(number) + 1)


class _LocalFolder:
    """A folder of this system, with what `AddressFolder` has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def names(self) -> list[str]:
        if not os.path.lexists(self._name):
            return []
        with reported(self._name):
            return sorted(os.listdir(self._name))

    def address(self, name: str) -> str:
        return os.path.join(self._name, name)

    def create(self, name: str, write: Writer) -> None:
        with reported(self._name, what="cannot be created"):
            os.makedirs(self._name, exist_ok=True)
        write_files({Path(self.address(name)): write}, force=False)


def arrow_schema(form: Mapping[str, str]) -> Any:
    """Return the types of columns in Arrow.

    Parameters
    ----------
    form : mapping from str to str
        As for `RowFolder`; a column may hold ``bytes`` too.

    Raises
    ------
    DarknetError
        pyarrow is not installed.
    """
    pa = load_extra("pyarrow")
    single = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    types = single | {f"{kind}s": pa.list_(each) for kind, each in single.items()}
    types["bytes"] = pa.large_binary()
    return pa.schema([(name, types[kind]) for name, kind in form.items()])
