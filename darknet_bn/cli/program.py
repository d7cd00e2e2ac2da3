"""The command line: ``darknet-bn COMMAND``.

Exit codes are like those of diff, grep and cmp::

    0     fine
    1     a difference or a finding: ``verify`` or ``compare`` found a layer that differs; ``check``
          or ``doctor`` found something wrong; ``labels`` found bad lines; ``diff`` found a
          difference; ``which`` found no cfg that fits; a fold or an exported file did not prove
          right; some pictures of several could not be used
    2     trouble: wrong usage; a file that cannot be read, does not fit or cannot be written; no
          picture that could be used; too little memory; a mistake of this program
    130   interrupted (Ctrl-C; 143 after SIGTERM)

Results go to stdout; errors, warnings and progress to stderr, each error in one line.  With
``--json`` stdout always holds one JSON object, even for an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from darknet_bn.cli import arguments, failures, hints, output, signals
from darknet_bn.cli.commands import ALIASES, DARKNET_EDITS, SHORT_HELP, Commands
from darknet_bn.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Main(click.Group):
    """A group that answers every error in one line, and with its exit code."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name or an alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SHORT_HELP.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin with a text, without importing them, and options."""
        from click.shell_completion import CompletionItem

        names = [name for name in SHORT_HELP if name.startswith(incomplete)]
        return [
            *(CompletionItem(name, help=SHORT_HELP[name]) for name in names),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help if there are no arguments."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names."""
        if args[0] in DARKNET_EDITS:
            args = ["edit", *args]
        if not ctx.resilient_parsing:
            command = self.get_command(ctx, args[0])
            if command is None and not args[0].startswith("-"):
                ctx.fail(hints.unknown_command(args[0], (*self.commands, *ALIASES)))
            if command is not None:
                hints.refuse_glued(args[1:], click.Context(command, ctx, args[0]))
        name, found, rest = super().resolve_command(ctx, args)
        ctx.meta[arguments.TYPED] = tuple(rest)  # for messages that say what to type
        return name, found, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end silently if nobody reads the output any more."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            ctx.exit(failures.TROUBLE)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit with its code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        words = list(sys.argv[1:] if args is None else args)
        output.escape_what_cannot_be_encoded()
        state = output.State()
        with output.short_warnings(), output.log_on_stderr(state):
            try:
                with signals.raised():
                    code = super().main(words, prog_name, complete_var, False, obj=state, **extra)
            except (Exception, KeyboardInterrupt) as error:
                code = failures.answer(error, words, state)
        output.close_if_broken()
        sys.exit(code or 0)


@click.group(
    cls=Main,
    commands=Commands(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success; 1 a difference or problem (verify, compare, check, doctor, "
    "diff, labels, which, a failed proof, or some unreadable pictures among several); 2 an error "
    "(wrong usage, or a file that cannot be read, does not match or cannot be written); 130 "
    "interrupted (143 by SIGTERM).",
)
@click.version_option(__version__, prog_name="darknet-bn", message="%(prog)s %(version)s")
def main() -> None:
    """Read, run, train, fold, verify and convert Darknet models.

    A model is a .cfg and a .weights file, in this order; MODEL alone stands for MODEL.cfg and
    MODEL.weights.
    """
