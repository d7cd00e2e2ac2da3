"""Convolution, computed in the way that is fastest for each shape, and its gradient."""
