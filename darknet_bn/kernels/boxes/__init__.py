"""Boxes: overlaps, their gradients, decoding, suppression."""
