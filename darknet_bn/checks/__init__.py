"""Comparisons: recordings, two models, an export and its source."""
