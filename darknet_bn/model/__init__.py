"""A network with shapes, and the arrays of a file: a model."""
