"""A model: a network with shapes, and the arrays of a weights file."""
