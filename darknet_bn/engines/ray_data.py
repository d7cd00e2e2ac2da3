"""Ray Data: actors that make a function once, and call it with one batch after another.

Nothing of Ray's is in what comes in or out: batches are plain columns.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from darknet_bn.errors import DarknetError, Where, one_line, reason_of
from darknet_bn.optional import load_extra
from darknet_bn.predictions.row_files import arrow_schema
from darknet_bn.work.threads import limit_threads

P = TypeVar("P")

Columns: TypeAlias = dict[str, list[Any]]
Function: TypeAlias = Callable[[dict[str, list[Any]]], Mapping[str, list[Any]]]

LOCAL = "local"
_PRINTS = "print_to_stdstream"  # its function that prints
_PATIENCE = 10.0  # seconds until a cluster has to answer
_ATTEMPTS = 4  # processes that may end while they work on one batch, before its pictures are blamed
_SETTINGS = {  # of the processes that Ray starts, unless the user has set them
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class RayActors:
    """Actors on a cluster of Ray, or on one that is started here: a context.

    Parameters
    ----------
    address : str, optional
        Of a cluster; ``local`` starts one on this machine, which ends with the context.  By default
        it is as for ``ray.init``: ``RAY_ADDRESS``, a cluster that runs on this machine, or else
        a new one.
    workers : int, optional
        How many actors there are; by default one for each processor of the cluster.

    Attributes
    ----------
    workers, threads : int
        How many actors there are, and on how many threads each computes.

    Raises
    ------
    DarknetError
        Ray is not installed, there is no such cluster, or it has too few processors.
    """

    workers: int
    threads: int

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._ray = load_extra("ray")
        self._data = load_extra("ray.data")
        self._address, self._wanted = address, workers
        self._ours = False
        self._prints: Any = None

    def __enter__(self) -> RayActors:
        """Connect to the cluster."""
        try:
            if not self._ray.is_initialized():
                self._ours = True
                with _unwarned():
                    self._connect()
            processors = int(self._ray.cluster_resources().get("CPU", 0))
            self.workers = self._wanted or max(processors, 1)
            if processors < self.workers:
                raise DarknetError(
                    "the cluster has too few processors",
                    expected=f"one for each of {self.workers} workers",
                    found=f"{processors}",
                )
            self.threads = processors // self.workers
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; one that was started here ends."""
        self._leave()

    def map(
        self, function: Function, batches: Iterable[Columns], form: Mapping[str, str]
    ) -> Iterator[Columns]:
        """Yield what a function makes of batches, in any order.

        Parameters
        ----------
        function : function
            From columns to columns.  It is pickled, and each actor has its own.
        batches : iterable of dict from str to list
            All are taken at once.
        form : mapping from str to str
            What the columns of the result hold, as in `darknet_bn.predictions.rows`; also
            ``bytes``.

        Raises
        ------
        DarknetError
            The function raises, or an actor could not be kept alive.

        Notes
        -----
        A batch whose actor dies is computed by another, and is yielded once.
        """
        pa = load_extra("pyarrow")
        tables = [pa.table(each) for each in batches]
        if not tables:
            return
        notes = self._ray.remote(num_cpus=0, scheduling_strategy=self._here())(Notes).remote()
        data = self._data.from_arrow(tables).map_batches(
            Actor,
            fn_constructor_args=(function, self.threads, dict(form), notes, os.getcwd()),
            compute=self._data.ActorPoolStrategy(size=self.workers),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=self.threads,
        )
        with _one_line(self._ray, notes):
            for table in data.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                yield table.to_pydict()

    def spread(self, function: Callable[[P], Any], pieces: Iterable[P]) -> Iterator[Any]:
        """Yield what a function makes of pieces, in any order, as `evaluate` asks for.

        Parameters
        ----------
        function : function
            It is pickled, as are the pieces and the results.
        pieces : iterable
        """
        batches: Iterator[Columns] = (
            {"name": [f"{each}"], "piece": [pickle.dumps(each)]} for each in pieces
        )
        for columns in self.map(_Pickled(function), batches, {"result": "bytes"}):
            yield from map(pickle.loads, columns["result"])

    def _connect(self) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        more: dict[str, Any] = {}
        if self._address == LOCAL:
            more["include_dashboard"] = False
        elif self._address is not None:
            _require_answer(self._address)
        self._silence()
        try:
            with _silent():
                self._ray.init(
                    address=self._address,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **more,
                )
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise DarknetError(f"Ray cannot be reached: {one_line(error)}") from error
        self._data.DataContext.get_current().enable_progress_bars = False

    def _here(self) -> Any:
        """Return Ray's word for this machine: on another, an actor may end before the program."""
        strategies = load_extra("ray.util.scheduling_strategies")
        node = self._ray.get_runtime_context().get_node_id()
        return strategies.NodeAffinitySchedulingStrategy(node, soft=True)

    def _silence(self) -> None:
        """Keep Ray from printing: what goes wrong for good is raised.

        It has no setting for what it says on stdout about processes that died.
        """
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        worker = sys.modules.get("ray._private.worker")
        self._prints = getattr(worker, _PRINTS, None)
        if self._prints is not None:
            setattr(worker, _PRINTS, lambda *_, **__: None)

    def _leave(self) -> None:
        if self._ours:
            self._ray.shutdown()
            self._ours = False
            if self._prints is not None:
                setattr(sys.modules["ray._private.worker"], _PRINTS, self._prints)


class Actor:
    """What Ray makes once in each actor, and calls with one batch after another.

    Parameters
    ----------
    function : function
    threads : int
        On how many threads it computes.
    form : mapping from str to str
    notes : handle of a Notes
    folder : str
        The working directory of the program, to which paths may be relative.
    """

    def __init__(
        self, function: Function, threads: int, form: Mapping[str, str], notes: Any, folder: str
    ) -> None:
        with suppress(OSError):  # another machine may not have it
            os.chdir(folder)
        limit_threads(threads)
        self._function, self._schema, self._notes = function, arrow_schema(form), notes

    def __call__(self, batch: Any) -> Any:
        """Return the table that the function makes of a table."""
        ray = load_extra("ray")
        given = batch.to_pydict()
        first = f"{next(iter(given.values()))[0]}"
        try:
            if ray.get(self._notes.begin.remote(first)) > _ATTEMPTS:
                raise DarknetError(
                    f"{_ATTEMPTS} processes ended while they worked on the batch that begins here",
                    where=Where(file=first),
                    hint="is there enough memory for each worker?",
                )
            columns = self._function(given)
        except DarknetError as error:
            ray.get(self._notes.fail.remote(error))
            raise
        return load_extra("pyarrow").table(dict(columns), schema=self._schema)


class _Pickled:
    """A function of columns that hold pickled values, around a function of the values."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        pieces = map(pickle.loads, batch["piece"])
        return {"result": [pickle.dumps(self._function(each)) for each in pieces]}


class Notes:
    """What actors leave to the program that waits for them; an actor of its own keeps it.

    Ray begins a batch again for ever if its actor dies, so somebody has to count.  And of an error
    it passes on a text of many lines.
    """

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        self._problem: DarknetError | None = None

    def begin(self, first: str) -> int:
        """Count a batch by what it begins with, and return how often it was begun."""
        self._begun[first] += 1
        return self._begun[first]

    def fail(self, problem: DarknetError) -> None:
        """Keep the first error."""
        self._problem = self._problem or problem

    def problem(self) -> DarknetError | None:
        """Return the first error."""
        return self._problem


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens: Ray would wait for a quarter of an hour.

    Raises
    ------
    DarknetError
        It is not an address, or nobody listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise DarknetError(
            f"Ray cannot be reached: {reason_of(error)}", where=Where(file=address)
        ) from error


@contextmanager
def _unwarned() -> Iterator[None]:
    """In the block, pass over warnings: Ray warns of its own parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silent() -> Iterator[None]:
    """In the block, drop what code in C writes to stderr: what it is asked to keep to itself."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _one_line(ray: Any, notes: Any) -> Iterator[None]:
    """In the block, raise what our code raised in an actor, and what Ray says in one line."""
    try:
        yield
    except ray.exceptions.RayError as error:
        with suppress(ray.exceptions.RayError):  # its machine may be gone
            problem = ray.get(notes.problem.remote())
            if isinstance(problem, DarknetError):
                raise problem from error
        raise DarknetError(f"Ray has stopped: {one_line(error)}") from error
