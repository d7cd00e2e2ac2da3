"""ncnn: its two files, ``.param`` and ``.bin``."""
