"""Convolution, in the ways that are fastest for each shape, and its gradient."""
