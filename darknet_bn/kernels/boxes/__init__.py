"""Boxes: their overlaps and gradients, decoding, and suppression."""
