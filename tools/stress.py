"""Kill, interrupt and starve commands while they write, and check the files that they leave.

Every run is a process of its own in a folder of its own.  It is hit by one fault: SIGKILL, SIGTERM
or SIGINT at some moment; death, a full disk or an I/O error at some call; a limit on the size of
files; a folder that cannot be written to; or the same command at the same time.  Afterwards each
set of files must be the old one, the new one or incomplete without its key file (the cfg of a
pair), inputs must be untouched, errors one line, and there must be no other files unless the
process was killed.  An interrupted training continues to the same bits, or says that it cannot.

Example: tools/stress.py --runs 300 --seed 1
"""

from __future__ import annotations

import codecs
import collections
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:
    sys.exit("error: tools/stress.py runs on POSIX systems only")

import click
import numpy as np

import darknet_bn as dn
from darknet_bn.cli.program import main as command_line

CALLS = ("link", "unlink", "replace", "rename", "open", "fsync", "chmod")
KILLED = 137  # 128 + SIGKILL, as a shell reports it
NOBODY = 65534
FAILED = ".failed"  # the file that names the call that got an error
NET = """
[net]
batch=4
width=8
height=8
channels=3
learning_rate=0.1
momentum=0.9
max_batches=24
[convolutional]
batch_normalize=1
filters=48
size=3
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=96
size=3
stride=2
pad=1
activation=leaky
[connected]
output=4
activation=linear
[softmax]
"""

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Job:
    """A command, and the files that it writes: the key file of a set comes last.

    ``{m}`` in a word means the model; the old files are made from a different one than the new.
    """

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]


JOBS = (
    Job("fold", ("fold", "{m}", "-o", "out", "--force"), ("out.weights", "out.cfg")),
    Job("to npz", ("convert", "{m}", "out.npz", "--force"), ("out.npz",)),
    Job("to safetensors", ("convert", "{m}", "out.safetensors", "--force"), ("out.safetensors",)),
    Job("to pt", ("convert", "{m}", "out.pt", "--force"), ("out.pt",)),
    Job("from pt", ("convert", "{m}.pt", "out.weights", "--force"), ("out.weights", "out.cfg")),
    Job("record", ("record", "{m}", "-o", "out.npz", "--force"), ("out.npz",)),
    Job("calibrate", ("calibrate", "{m}", "data.npz", "-o", "out", "--force"), ("out.weights",)),
    Job("export", ("export", "{m}", "out.onnx", "--force", "--skip-proof"), ("out.onnx",)),
    Job("train", ("train", "{m}.cfg", "data.npz", "-o", "out", "--force"), ()),
)


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int
    err: str
    seconds: float
    could_not_remove: bool = False


def run(folder: Path, words: tuple[str, ...], before: Callable[[], None] = lambda: None) -> int:
    """Start a command in a child, and return its number; its stderr goes to a file."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(folder)
            for name, stream in ((".stdout", 1), (".stderr", 2)):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
            sys.stdout, sys.stderr = (os.fdopen(each, "w", closefd=False) for each in (1, 2))
            before()
            command_line.main(list(words), "darknet-bn")
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 70
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt:  # before the command line could handle it, or after it did
        code = 128 + signal.SIGINT
    finally:
        os._exit(code)


def wait(child: int, folder: Path, begun: float) -> End:
    """Wait for a child."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    err = (folder / ".stderr").read_text(errors="replace") if (folder / ".stderr").exists() else ""
    removing = (folder / FAILED).exists() and (folder / FAILED).read_text() == "unlink"
    (folder / FAILED).unlink(missing_ok=True)
    for name in (".stdout", ".stderr"):
        (folder / name).unlink(missing_ok=True)
    return End(128 - code if code < 0 else code, err, time.monotonic() - begun, removing)


def clean(folder: Path, job: Job, model: str) -> End:
    """Run a command without a fault."""
    words = tuple(word.format(m=model) for word in job.words)
    end = wait(run(folder, words), folder, time.monotonic())
    if end.code:
        raise SystemExit(f"{job.name} fails without any fault: {end}")
    return end


# -- faults: each gets the generator and how long a clean run takes, and starts the command -----


def at_a_moment(number: signal.Signals) -> Callable[..., End]:
    """Return a fault that sends a signal at some moment of the run."""

    def hit(rng: random.Random, folder: Path, words: tuple[str, ...], seconds: float) -> End:
        begun = time.monotonic()
        child = run(folder, words)
        time.sleep(rng.uniform(0, 1.1 * seconds))
        os.kill(child, number)
        return wait(child, folder, begun)

    return hit


def at_a_call(what: int | None) -> Callable[..., End]:
    """Return a fault that makes a call of the system fail, or with None kills the process."""

    def hit(rng: random.Random, folder: Path, words: tuple[str, ...], seconds: float) -> End:
        left = rng.randint(1, 30)

        def spoil() -> None:
            def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*args: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left == 0 and what is None:
                        os._exit(KILLED)
                    if left == 0 and what is not None:
                        Path(FAILED).write_text(real.__name__)
                        raise OSError(what, os.strerror(what))
                    return real(*args, **options)

                return call

            for name in CALLS:
                setattr(os, name, deadly(getattr(os, name)))

        begun = time.monotonic()
        return wait(run(folder, words, spoil), folder, begun)

    return hit


def small_files(rng: random.Random, folder: Path, words: tuple[str, ...], seconds: float) -> End:
    """Limit the size of files, as if the disk were full from there on."""
    size = rng.randint(0, 400_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    begun = time.monotonic()
    return wait(run(folder, words, limit), folder, begun)


def read_only(rng: random.Random, folder: Path, words: tuple[str, ...], seconds: float) -> End:
    """Remove the right to write to the folder; for root, by becoming somebody else."""

    def lock() -> None:
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    places = [folder, *(each for each in folder.iterdir() if each.is_dir())]
    for name in (".stdout", ".stderr"):
        (folder / name).touch()
        (folder / name).chmod(0o666)
    for place in places:
        place.chmod(0o555)
    begun = time.monotonic()
    child = run(folder, words, lock)
    _, status = os.waitpid(child, 0)
    for place in places:
        place.chmod(0o755)
    err = (folder / ".stderr").read_text()
    for name in (".stdout", ".stderr"):
        (folder / name).unlink()
    return End(os.waitstatus_to_exitcode(status), err, time.monotonic() - begun)


def twice(rng: random.Random, folder: Path, words: tuple[str, ...], seconds: float) -> End:
    """Run the command a second time while it runs."""
    begun = time.monotonic()
    first = run(folder, words)
    time.sleep(rng.uniform(0, 0.5 * seconds))
    second = run(folder, words)
    ends = [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in (first, second)]
    err = (folder / ".stderr").read_text(errors="replace")
    for name in (".stdout", ".stderr"):
        (folder / name).unlink()
    return End(max(ends), err, time.monotonic() - begun)


FAULTS: Mapping[str, Callable[..., End]] = {
    "SIGKILL": at_a_moment(signal.SIGKILL),
    "SIGTERM": at_a_moment(signal.SIGTERM),
    "SIGINT": at_a_moment(signal.SIGINT),
    "death at a call": at_a_call(None),
    "full disk at a call": at_a_call(errno.ENOSPC),
    "I/O error at a call": at_a_call(errno.EIO),
    "limit on files": small_files,
    "read-only folder": read_only,
    "two at once": twice,
}
DEADLY = ("SIGKILL", "death at a call")
INTERRUPTED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


# -- what must hold -----------------------------------------------------------------------------


def content(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder and the folders in it, by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def judge(job: Job, fault: str, end: End, before: Files, new: Files, after: Files) -> list[str]:
    """Return what is wrong with the files and the messages that a run left."""
    wrong = [
        f"{name} was changed"
        for name in before
        if before[name] != after.get(name)
        and name not in job.outputs
        and not name.startswith("out/")
    ]
    left = {name: after[name] for name in job.outputs if name in after}
    old = {name: before[name] for name in job.outputs if name in before}
    if left not in (old, dict(new)):
        torn = [name for name, data in left.items() if data not in (old.get(name), new.get(name))]
        if torn:
            wrong.append(f"{', '.join(torn)}: neither old nor new")
        elif job.outputs[-1] in left:
            wrong.append(f"{' and '.join(left)}: old with new")
        elif fault not in DEADLY:
            wrong.append(f"only {' and '.join(left) or 'nothing'} is left")
    known = {*before, *job.outputs}
    rest = [name for name in after if name not in known and not name.startswith("out/")]
    if rest and fault not in DEADLY and not end.could_not_remove:
        wrong.append(f"left over: {', '.join(rest)}")
    if fault not in (*DEADLY, "two at once"):
        if end.code == 0 and job.outputs and left != dict(new):
            wrong.append("exit code 0, but not the new files")
        if end.code not in (0, 1, 2, *INTERRUPTED):
            wrong.append(f"exit code {end.code}")
    if "Traceback" in end.err or "mistake in darknet-bn" in end.err:
        wrong.append(end.err.strip().splitlines()[-1][:200])
    return wrong


def go_on(folder: Path, model: str, expected: bytes) -> tuple[str, list[str]]:
    """Continue a training that was hit; return how that went, and what is wrong."""
    backup = folder / "out" / f"{model}.backup"
    if not backup.exists():
        return "begins anew", []
    words = ("train", f"{model}.cfg", "data.npz", f"out/{model}.backup", "-o", "out", "--force")
    end = wait(run(folder, words), folder, time.monotonic())
    final = folder / "out" / f"{model}.weights"
    if end.code == 0 and final.read_bytes() == expected:
        return "equal to the bit", []
    told = [line for line in end.err.splitlines() if line.startswith(("error: ", "warning: "))]
    if told and "mistake in darknet-bn" not in end.err:
        return "refused with the reason", []
    return "other bits", [f"goes on silently to other bits (exit code {end.code}: {end.err[:200]})"]


# -- the campaign -------------------------------------------------------------------------------


def make_inputs(folder: Path) -> None:
    """Make two models of one net, as pairs and as files of arrays, and data to train with."""
    for seed, name in enumerate(("one", "two")):
        model = dn.load(NET.encode(), None, seed=seed)
        dn.save(model, folder / f"{name}.cfg", folder / f"{name}.weights")
        dn.save_arrays(model, folder / f"{name}.pt")
    rng = np.random.default_rng(0)
    x, y = rng.random((64, 3, 8, 8), np.float32), rng.integers(0, 4, 64)
    np.savez(folder / "data.npz", x=x, y=y)


def prepare(base: Path, inputs: Path, job: Job) -> tuple[Files, Files, float]:
    """Return the old and the new files of a command, and how long it takes."""
    found = []
    for model in ("two", "one"):
        folder = base / f"{job.name} {model}"
        shutil.copytree(inputs, folder)
        (folder / "out").mkdir()
        end = clean(folder, job, model)
        names = job.outputs or (f"out/{model}.weights",)
        found.append({name: (folder / name).read_bytes() for name in names})
    return found[0], found[1], end.seconds


def one(
    base: Path,
    inputs: Path,
    job: Job,
    fault: str,
    rng: random.Random,
    old: Files,
    new: Files,
    seconds: float,
) -> tuple[str, list[str]]:
    """Make one run; return how it ended, and what is wrong."""
    folder = Path(tempfile.mkdtemp(dir=base))
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    if job.outputs and rng.random() < 0.7:
        for name, data in old.items():
            (folder / name).write_bytes(data)
    before = content(folder)
    words = tuple(word.format(m="one") for word in job.words)
    end = FAULTS[fault](rng, folder, words, seconds)
    wrong = judge(job, fault, end, before, new if job.outputs else {}, content(folder))
    how = f"exit code {end.code}"
    if not job.outputs:
        how, more = go_on(folder, "one", new["out/one.weights"])
        wrong += more
    shutil.rmtree(folder)
    return how, wrong


@click.command()
@click.option("--runs", default=100, show_default=True, help="Number of runs.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--job", "jobs", multiple=True, help="Only this command; may be repeated.")
@click.option("--fault", "faults", multiple=True, type=click.Choice(list(FAULTS)))
def main(runs: int, seed: int, jobs: tuple[str, ...], faults: tuple[str, ...]) -> None:
    """Hit commands with faults while they write, and judge what they leave."""
    # What is imported late is imported now: somebody else may not be allowed to read Python's
    # files.
    codecs.lookup("utf-32-le")
    for name in dn.__all__:
        getattr(dn, name)
    rng = random.Random(seed)
    chosen = [job for job in JOBS if not jobs or job.name in jobs]
    ended: collections.Counter[tuple[str, str]] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)  # so that somebody else can enter
        inputs = base / "inputs"
        inputs.mkdir()
        make_inputs(inputs)
        facts = {job.name: prepare(base, inputs, job) for job in chosen}
        for number in range(runs):
            job, fault = rng.choice(chosen), rng.choice(faults or list(FAULTS))
            how, wrong = one(base, inputs, job, fault, rng, *facts[job.name])
            ended[fault, how] += 1
            failed += bool(wrong)
            for each in wrong:
                click.echo(f"run {number}, {job.name}, {fault}: {each}")
    for (fault, how), count in sorted(ended.items()):
        click.echo(f"{fault:<20} {how:<24} {count:>5}")
    click.echo(f"{runs} runs, seed {seed}: {failed} wrong")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
