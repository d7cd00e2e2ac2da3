"""Read, run, fold and verify Darknet models."""

__version__ = "0.1.0"
