"""The command line: ``darknet-bn COMMAND``.

Exit codes: 0 fine, 1 a difference or a refused file, 2 wrong usage, 130 interrupted.  Results go to
stdout; errors, warnings and progress to stderr, each error in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from darknet_bn.cli import (
    calibrate,
    check,
    classify,
    compare,
    convert,
    detect,
    evaluate,
    export,
    fold,
    info,
    output,
    record,
    run,
    train,
    verify,
)
from darknet_bn.errors import DarknetError
from darknet_bn.version import __version__

_ALIASES = {"fuse": "fold", "denormalize": "fold"}  # what AlexeyAB's and pjreddie's call it


class Main(click.Group):
    """A group that answers every error with one line and the exit code that it has."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name or another one that it is known by."""
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where nothing is asked for."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and leave the program with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        output.escape_what_cannot_be_encoded()
        with output.short_warnings():
            code = self._run(args, prog_name, complete_var, **extra)
        output.close_if_broken()
        sys.exit(code)

    def _run(
        self,
        args: Sequence[str] | None,
        prog_name: str | None,
        complete_var: str | None,
        **extra: Any,
    ) -> int:
        try:
            return super().main(args, prog_name, complete_var, False, **extra) or 0
        except click.UsageError as error:
            output.error(error.format_message())
            if error.ctx is not None:
                path = error.ctx.command_path
                click.echo(f"{error.ctx.get_usage()}; {path} -h tells more", err=True)
            return 2
        except click.Abort:  # click's name for an interrupt by the keyboard
            return 130
        except DarknetError as error:
            output.error(str(error))
            output.problems(error.problems)
        except MemoryError as error:
            output.error(f"there is not enough memory: {error}" if str(error) else "out of memory")
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            output.error(f"{place}{error.strerror or error}")
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            output.error(
                f"this is a mistake in darknet-bn: {type(error).__name__}: {error}; "
                "'python -X dev -m darknet_bn …' shows where"
            )
        return 1


@click.group(
    cls=Main,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a difference or a refused file, 2 wrong usage.",
)
@click.version_option(__version__, prog_name="darknet-bn", message="%(prog)s %(version)s")
def main() -> None:
    """Read, run, train, fold, verify and convert Darknet models.

    A model is a .cfg and a .weights file, in this order; MODEL alone stands for MODEL.cfg and
    MODEL.weights.
    """


for _command in (
    *(info.info, check.check, fold.fold, detect.detect, classify.classify, run.run),
    *(record.record, verify.verify, train.train, evaluate.evaluate, calibrate.calibrate),
    *(export.export, compare.compare, convert.convert),
):
    main.add_command(_command)
