"""``python -m darknet_bn``."""

from darknet_bn.cli import main

main(prog_name="darknet-bn")
