"""Rows in parquet files, of as many pictures as there are: on threads, or on a cluster of Ray."""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, output, progress, signals
from darknet_bn.cli.failures import FINDING, TROUBLE
from darknet_bn.cli.options import FOLDER, Command

if TYPE_CHECKING:
    from darknet_bn.cli.models import Source
    from darknet_bn.cli.pictures import FoundPictures, PictureStream
    from darknet_bn.engines.picture_rows import PictureRows
    from darknet_bn.predictions.inputs import Spread
    from darknet_bn.predictions.rows import Columns

_AUTO = "auto"  # the value of --ray without an address
_PIECE = 1 << 20  # bytes
_TOLD = 20  # pictures that could not be used and are shown; the rows tell of all


@dataclass(frozen=True)
class Rows:
    """What a command line says about rows.

    Attributes
    ----------
    folder : str
        The folder to write.
    ray : str or None
        The address of a cluster, or ``auto``; None computes in this process.
    workers : int or None
        How many pictures are worked on at once.
    batch : int
        How many rows a file has.
    """

    folder: str
    ray: str | None
    workers: int | None
    batch: int

    def prepare(self, refused: Mapping[str, object]) -> None:
        """Get ready before the model is loaded.

        Parameters
        ----------
        refused : mapping from str to object
            The options that mean something else, and what was given for them.

        Raises
        ------
        click.UsageError
            One was given.
        DarknetError
            A package is missing.
        """
        from darknet_bn.optional import load_extra
        from darknet_bn.pictures.images import require_pillow
        from darknet_bn.work.threads import limit_threads, threads_given, usable_cores

        for name, value in refused.items():
            if value:
                raise click.UsageError(f"{name} and --rows cannot be used together")
        require_pillow()
        load_extra("pyarrow")
        if self.ray is not None:
            load_extra("ray")
        elif self.workers is not None:
            cores = threads_given() or usable_cores()
            limit_threads(max(1, cores // self.workers))


def options(command: Command) -> Command:
    """Pass ``into`` to a command, a `Rows` or None: ``--rows`` and the options that go with it."""

    @click.option(
        "--rows",
        "folder",
        type=FOLDER,
        metavar="FOLDER",
        help="Write a row for each picture into parquet files in FOLDER, which may be at s3:// or "
        "gs://; run again, it adds the pictures that are not there yet.",
    )
    @ray
    @workers
    @click.option(
        "--batch",
        type=click.IntRange(min=1),
        help=f"With --rows: number of pictures in each file.  [default: {choices.ROWS}]",
    )
    @functools.wraps(command)
    def wrapped(
        folder: str | None, ray: str | None, workers: int | None, batch: int | None, **rest: Any
    ) -> Any:
        if folder is None:
            for name, value in (("--ray", ray), ("--workers", workers), ("--batch", batch)):
                if value is not None:
                    raise click.UsageError(f"{name} needs --rows")
            return command(into=None, **rest)
        return command(into=Rows(folder, ray, workers, batch or choices.ROWS), **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with the options


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no address: the argument that comes after a bare ``--ray``."""
    if value is None or value in (_AUTO, "local") or ":" in value:
        return value
    raise click.BadParameter(
        f"'{value}' is not the address of a cluster (expected local, auto, HOST:PORT or "
        "ray://HOST:PORT); if it is an argument, put --ray after the arguments"
    )


ray = click.option(
    "--ray",
    is_flag=False,
    flag_value=_AUTO,
    metavar="[ADDRESS]",
    callback=_address,
    help="Compute on a cluster of Ray: at ADDRESS, or the one that ray.init() finds; 'local' "
    "starts one on this machine.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of pictures or batches to work on at once, which share the processors.  [default: "
    "1; with --ray, one for each processor of the cluster]",
)


def require_ray(address: str | None, count: int | None) -> None:
    """Refuse workers without a cluster, and a cluster without Ray, before any work.

    Raises
    ------
    click.UsageError, DarknetError
    """
    from darknet_bn.optional import load_extra

    if address is not None:
        load_extra("ray")
    elif count is not None:
        raise click.UsageError("--workers needs --ray")


@contextmanager
def spread(address: str | None, count: int | None) -> Iterator[Spread | None]:
    """Give what computes batches on a cluster of Ray, or None if none was asked for.

    Parameters
    ----------
    address, count : str or None, int or None
        The values of ``--ray`` and ``--workers``.

    Raises
    ------
    DarknetError
        As `RayActors`.
    """
    if address is None:
        yield None
        return
    from darknet_bn.engines.ray_data import RayActors

    with RayActors(None if address == _AUTO else address, count) as actors:
        yield actors.spread


def facts_of(
    source: Source, model: dn.Model, names: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides about the rows of a model: each file of rows has it.

    Parameters
    ----------
    source : Source
    model : Model
    names : sequence of str
        Of the classes.
    given : mapping
        The options of the command.
    """
    size = model.network.input
    return {
        "cfg": _digest(source.cfg),
        "weights": _digest(source.weights),
        "names": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "dialect": model.dialect.name,
        "input": [size.w, size.h, size.c],
        "version": dn.__version__,
    } | dict(given)


def _digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    from darknet_bn.formats.reading import open_file, reported

    digest = hashlib.sha256()
    with open_file(path) as stream, reported(path):
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def run(
    ctx: click.Context,
    into: Rows,
    found: FoundPictures | PictureStream,
    predictor: dn.Detector | dn.Classifier,
    facts: Mapping[str, Any],
) -> NoReturn:
    """Compute and write rows, report how it ended, and exit.

    Parameters
    ----------
    ctx : click.Context
    into : Rows
    found : FoundPictures
        The pictures, as `places.find` finds them.
    predictor : Detector or Classifier
    facts : mapping
        As `facts_of` gives them.

    Raises
    ------
    click.exceptions.Exit
        With the code, as `one_by_one.end`.
    """
    from darknet_bn.data.base import many
    from darknet_bn.engines.picture_rows import PictureRows
    from darknet_bn.predictions.row_files import RowFolder

    rows = PictureRows(predictor, folder=os.getcwd())
    target = RowFolder(into.folder, rows.form, facts)
    paths = [each for each in found if isinstance(each, str)]
    todo = [path for path in paths if path not in target.done]
    skipped = len(paths) - len(todo)
    if skipped:
        output.note(f"skipped: {skipped} of {len(paths)} pictures whose rows already exist")
    shown = progress.Bar(str(ctx.info_name) + "ing", len(todo))
    begin = time.monotonic()
    interrupt: KeyboardInterrupt | None = None
    parts = _Parts(target.write, into.batch)
    try:
        for columns in _computed(into, rows, todo):
            shown.hide()
            parts.add(columns)
            shown.step(len(columns["path"]))
    except KeyboardInterrupt as error:
        interrupt = error
    finally:
        shown.hide()
        parts.flush()
    seconds = time.monotonic() - begin
    failed = f", {parts.failed} of them with an error" if parts.failed else ""
    line = f"written: {many(parts.written, 'row')} to {output.printable(into.folder)}{failed}"
    output.note(line)
    if parts.written:
        output.took(seconds, parts.written, "picture")
    if interrupt is not None:
        done = skipped + parts.written
        again = arguments.line()
        click.echo(
            output.printable(f"stopped after {done} of {len(paths)}; resume with: {again}"),
            err=True,
        )
        ctx.exit(signals.exit_code(interrupt))
    if parts.failed:
        ctx.exit(FINDING if skipped or parts.failed < parts.written else TROUBLE)
    ctx.exit(0)


def _computed(into: Rows, rows: PictureRows, paths: Sequence[str]) -> Iterator[Columns]:
    """Yield the rows of pictures as they are done."""
    if into.ray is None:
        from darknet_bn.engines.many import map_on_threads

        yield from map_on_threads(rows, ({"path": [each]} for each in paths), into.workers or 1)
        return
    if not paths:
        return
    from darknet_bn.engines.ray_data import RayActors

    address = None if into.ray == _AUTO else into.ray
    starts = range(0, len(paths), into.batch)
    batches = ({"path": list(paths[start : start + into.batch])} for start in starts)
    with RayActors(address, into.workers) as actors:
        yield from actors.map(rows, batches, rows.form)


class _Parts:
    """Rows that wait until they are enough for a file.

    Parameters
    ----------
    write : function
        Writes a file.
    size : int
        How many rows are enough.

    Attributes
    ----------
    written, failed : int
        How many rows are in files, and how many of them have an error.
    """

    def __init__(self, write: Callable[[Columns], object], size: int) -> None:
        self.written = self.failed = 0
        self._write, self._size = write, size
        self._parts: list[Columns] = []
        self._told = 0

    def add(self, columns: Columns) -> None:
        """Take rows, and print the first errors in them."""
        self._parts.append(columns)
        for path, problem in zip(columns["path"], columns["error"], strict=True):
            if problem is not None and self._told < _TOLD:
                self._told += 1
                output.error(f"{path}: {problem}")
                if self._told == _TOLD:
                    output.aside("further errors are only in the rows")
        if sum(len(each["path"]) for each in self._parts) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        from darknet_bn.predictions.rows import joined

        if self._parts:
            columns = joined(self._parts)
            self._parts = []
            self._write(columns)
            self.written += len(columns["path"])
            self.failed += sum(each is not None for each in columns["error"])
