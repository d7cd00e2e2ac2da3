"""The ported C functions on plain arrays; one file per C file."""
