"""The hook for pre-commit, ``python -m darknet_bn.cli.hook FILE...``: ``check`` for many models.

Each file leads to the other file of its model, which has the same stem.  A model is checked once,
even if both are named.  A ``.cfg`` without weights beside it may belong to any program, and is
passed over.  Of weights without a cfg only the beginning can be checked: it tells of a Git-LFS
pointer, a page or an archive.

Exit codes are as those of ``check``: 1 if the outputs of a model cannot be right, 2 if its files do
not fit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

import darknet_bn as dn
from darknet_bn.cli import failures, output, signals
from darknet_bn.cli.check import grouped
from darknet_bn.cli.interrupts import leave_at_signals
from darknet_bn.errors import in_file, located
from darknet_bn.formats.reading import StoredFile
from darknet_bn.formats.weights_formats import START, refuse_other_formats
from darknet_bn.model.model_files import CFG, WEIGHTS
from darknet_bn.model.weights import parse_header


def check_models(files: Sequence[str]) -> int:
    """Check every model that one of the files belongs to, and say what is wrong or odd.

    Parameters
    ----------
    files : sequence of str
        Of any kind.

    Returns
    -------
    code : int
        To exit with: the worst of all models.
    """
    codes = [0]
    for stem in dict.fromkeys(_stems(files)):
        try:
            codes.append(_check(stem))
        except dn.DarknetError as error:
            output.error(str(error))
            codes.append(failures.TROUBLE)
    output.text(f"checked: {len(codes) - 1} model{'s' * (len(codes) != 2)}")
    return max(codes)


def _stems(files: Sequence[str]) -> Iterator[str]:
    """Yield what models are called, more than once if several of their files are named."""
    for name in files:
        stem, suffix = os.path.splitext(name)
        if suffix == WEIGHTS or (suffix == CFG and os.path.isfile(stem + WEIGHTS)):
            yield stem


def _check(stem: str) -> int:
    """Check a model, and return the exit code for it."""
    cfg, weights = stem + CFG, stem + WEIGHTS
    if not os.path.isfile(cfg):
        with located(in_file(weights), dn.WeightsError):
            start = StoredFile(weights).bytes(0, START)
            refuse_other_formats(start)
            parse_header(start)
        output.warning(f"{weights}: {cfg} does not exist; only the header was checked")
        return 0
    findings = dn.inspect(dn.load(cfg, weights))
    for line in grouped(findings):
        output.text(f"{output.printable(weights)}: {line.text}", line.colour)
    return failures.FINDING if any(finding.fatal for finding in findings) else 0


def main() -> None:
    """Check the models whose files the command line names."""
    leave_at_signals()
    words = sys.argv[1:]
    output.escape_what_cannot_be_encoded()
    with output.short_warnings():
        try:
            with signals.raised():
                code = check_models(words)
        except (Exception, KeyboardInterrupt) as error:
            code = failures.answer(error, words, output.State())
    sys.exit(code)


if __name__ == "__main__":
    main()
