"""Darknet's text files and other files as bytes: read with limits, written whole."""
