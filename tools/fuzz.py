"""Fuzz the readers: whatever a file holds, a reader returns a value or raises a DarknetError.

The contract of every reader, for every file:

- it returns, or raises an error of the package's own family: one line of printable text, short;
- it gives no warnings but the package's own;
- it takes at most a second of CPU time and 512 MB of additional memory.

``python tools/fuzz.py`` makes seeded mutations of small files: equal numbers give equal files.
With ``--atheris SECONDS``, coverage guides them; this needs the package atheris, in an environment
of its own.  Files that break the contract go to ``--keep``; the interesting ones are in
``tests/fixtures/hostile``, and are read again by the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

HOSTILE = Path(__file__).parents[1] / "tests" / "fixtures" / "hostile"
MALFORMED = HOSTILE.with_name("malformed")
LITTLE_BYTES = 300 << 20
MOST_SECONDS = 1.0
MOST_BYTES = 512 << 20
MOST_CHARACTERS = 700
_STOP = 5.0  # seconds of CPU after which a case is stopped
_STEP = 500  # cases between two reports of a worker
_STATM = Path("/proc/self/statm")  # how much memory the process has


class Broken(Exception):
    """A case that breaks the contract."""


class Check:
    """Reads files, and says how they break the contract.

    Parameters
    ----------
    name : str
        The reader.
    folder : Path
        An empty folder.
    """

    def __init__(self, name: str, folder: Path) -> None:
        from fuzz_readers import READERS

        self._reader = READERS[name]
        self._path = folder / f"x{self._reader.suffix}"

    def __call__(self, data: bytes) -> str | None:
        """Return what is wrong, or None."""
        from darknet_bn.errors import DarknetError, DarknetWarning

        self._path.write_bytes(data)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, _STOP)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", DarknetWarning)
                self._reader.read(self._path)
        except DarknetError as error:
            text = str(error)
            if not text.isprintable() or len(text) > MOST_CHARACTERS:
                return f"a message of {len(text)} characters: {text[:100]!r}"
        except Broken:
            return f"more than {_STOP} s of CPU"
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            inner = [each for each in traceback.extract_tb(error.__traceback__)
                     if "darknet_bn" in each.filename]  # fmt: skip
            place = f"{Path(inner[-1].filename).name}:{inner[-1].lineno}" if inner else "?"
            where = f"{place}, {Path(frame.filename).name}:{frame.lineno}"
            return f"{type(error).__name__} at {where}: {str(error)[:80]!r}"
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        spent = time.process_time() - start
        return f"{spent:.2f} s of CPU" if spent > MOST_SECONDS else None


def cases(name: str, seed: int, numbers: range) -> Iterator[tuple[int, bytes]]:
    """Yield mutated files with their numbers."""
    from fuzz_readers import corpus_of
    from mutations import mutate

    corpus = corpus_of(name, HOSTILE)
    for number in numbers:
        rng = random.Random(f"{name} {seed} {number}")
        yield number, mutate(rng.choice(corpus), rng, corpus)


def limit_memory(more: int) -> None:
    """Let the process take this many bytes more than it has, and no more."""
    import resource

    pages = int(_STATM.read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _work(name: str, seed: int, numbers: range, keep: Path | None) -> int:
    """Run cases in this process; print each kind of failure once."""

    def stop(*_: object) -> None:
        raise Broken

    signal.signal(signal.SIGVTALRM, stop)
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        check = Check(name, Path(folder))
        for _, data in cases(name, seed, range(1)):
            check(data)  # imports made on first use count as base
        limit_memory(MOST_BYTES)
        kinds: dict[str, int] = {}
        worst = 0.0
        for number, data in cases(name, seed, numbers):
            if (number - numbers.start) % _STEP == 0:
                print(f"at {number}", flush=True)
            start = time.process_time()
            wrong = check(data)
            worst = max(worst, time.process_time() - start)
            if wrong is not None:
                kind = wrong.partition(": ")[0]
                kinds[kind] = kinds.get(kind, 0) + 1
                if kinds[kind] == 1:
                    print(f"broken {name} {seed} {number}: {wrong}", flush=True)
                    _keep(keep, name, data)
    print(f"worst {worst:.3f}", flush=True)
    return 1 if kinds else 0


def _keep(folder: Path | None, name: str, data: bytes) -> None:
    if folder is not None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _replay() -> int:
    """Read every hostile and every malformed file again, with little memory."""
    from fuzz_readers import READERS, corpus_of

    import darknet_bn as dn

    broken = count = 0
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        checks = {name: Check(name, Path(folder)) for name in READERS}
        for name, check in checks.items():
            for data in corpus_of(name):
                check(data)  # imports made on first use count as base
        limit_memory(LITTLE_BYTES)
        for path in sorted(HOSTILE.glob("*/*")):
            count += 1
            if (wrong := checks[path.parent.name](path.read_bytes())) is not None:
                broken += 1
                print(f"broken {path.parent.name}/{path.name}: {wrong}")
        for case in json.loads((MALFORMED / "expected.json").read_text(encoding="utf-8")):
            count += 1
            weights = None if case["weights"] is None else MALFORMED / case["weights"]
            with warnings.catch_warnings(), contextlib.suppress(dn.DarknetError):
                warnings.simplefilter("ignore", dn.DarknetWarning)
                dn.load(MALFORMED / case["cfg"], weights)
                broken += 1
                print(f"broken {case}: it is read")
    print(f"{count} files, {broken} broken")
    return 1 if broken else 0


def _run(names: Sequence[str], seed: int, count: int, jobs: int, keep: Path | None) -> int:
    """Distribute the cases to processes of this program."""
    todo = [
        (name, part, min(part + -(-count // jobs), count))
        for name in names
        for part in range(0, count, -(-count // jobs))
    ]
    running: list[tuple[subprocess.Popen[str], str, float]] = []
    failed, total = [], 0
    while todo or running:
        while todo and len(running) < jobs:
            name, begin, end = todo.pop(0)
            words = [
                sys.executable,
                __file__,
                name,
                "--seed",
                str(seed),
                "--only",
                f"{begin}:{end}",
            ]
            words += ["--keep", str(keep)] if keep is not None else []
            process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            running.append((process, f"{name} {begin} to {end}", time.monotonic()))
            total += end - begin
        process, what, start = running.pop(0)
        lines = process.communicate()[0].splitlines()
        for line in lines:
            if line.startswith("broken"):
                print(line, flush=True)
        if process.returncode:
            failed.append(what)
            if process.returncode != 1:
                last = [line for line in lines if line.startswith("at")][-1:]
                print(f"broken {what}: the process ended with {process.returncode}, {last}")
        worst = [line for line in lines if line.startswith("worst")]
        seconds = time.monotonic() - start
        print(f"{what}: {seconds:.1f} s, {''.join(worst)} s for one", flush=True)
    print(f"{total} cases, seed {seed}, {len(failed)} parts broken")
    return 1 if failed else 0


def _guided(names: Sequence[str], seconds: int, seed: int, keep: Path | None) -> int:
    """Let atheris look for new paths, in a process for each reader."""
    for name in names:
        words = [sys.executable, __file__, name, "--seed", str(seed)]
        words += ["--guide", str(seconds // len(names))]
        words += ["--keep", str(keep)] if keep is not None else []
        subprocess.run(words, check=False)
    return 0


def _guide(name: str, seconds: int, seed: int, keep: Path | None) -> None:
    import atheris  # type: ignore[import-not-found]  # in an environment of its own

    with atheris.instrument_imports(include=["darknet_bn", "zipfile", "json", "pickletools"]):
        from fuzz_readers import corpus_of
    from mutations import mutate

    corpus = corpus_of(name, HOSTILE)

    def stop(*_: object) -> None:
        raise Broken

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed: Any = atheris.Mutate(data, most) if rng.random() < 0.5 else None
        return bytes(changed) if changed is not None else mutate(data, rng, corpus)[:most]

    seen: set[str] = set()
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        begin, work = Path(folder) / "corpus", Path(folder) / "work"
        begin.mkdir()
        work.mkdir()
        for number, data in enumerate(corpus):
            (begin / str(number)).write_bytes(data)
        check = Check(name, work)

        def one(data: bytes) -> None:
            wrong = check(data)
            if wrong is not None and (kind := wrong.partition(": ")[0]) not in seen:
                seen.add(kind)
                print(f"broken {name}: {wrong}", flush=True)
                _keep(keep, name, data)

        signal.signal(signal.SIGVTALRM, stop)
        atheris.Setup(
            [sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1",
             "-max_len=8192", "-rss_limit_mb=2048", str(begin)],
            one,
            custom_mutator=change,
        )  # fmt: skip
        atheris.Fuzz()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("readers", nargs="*", help="by default all")
    parser.add_argument("--cases", type=int, default=20_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for files that break the contract")
    parser.add_argument("--atheris", type=int, metavar="SECONDS", help="for all readers together")
    parser.add_argument(
        "--replay", action="store_true", help="read the files that broke the contract once"
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--guide", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not hasattr(signal, "setitimer") or not _STATM.exists():
        parser.exit(2, "error: tools/fuzz.py runs on Linux only\n")
    if given.replay:
        return _replay()
    if given.guide is not None:
        _guide(given.readers[0], given.guide, given.seed, given.keep)
        return 0
    if given.only is not None:
        begin, end = map(int, given.only.split(":"))
        return _work(given.readers[0], given.seed, range(begin, end), given.keep)
    from fuzz_readers import READERS

    names = given.readers or list(READERS)
    if given.atheris is not None:
        return _guided(names, given.atheris, given.seed, given.keep)
    return _run(names, given.seed, given.cases, given.jobs, given.keep)


if __name__ == "__main__":
    sys.exit(main())
