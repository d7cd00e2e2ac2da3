"""Where ``python -m darknet_bn`` and the program ``darknet-bn`` begin.

Signals are seen to first, then the rest is imported.  What Python does before that, and the few
lines of the package itself, cannot be helped.
"""

try:
    from darknet_bn.cli.interrupts import leave_at_signals
except KeyboardInterrupt:
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line of this process."""
    leave_at_signals()
    from darknet_bn.cli.program import main as command_line

    command_line(prog_name="darknet-bn")


if __name__ == "__main__":
    main()
