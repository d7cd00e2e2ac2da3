"""Threads, memory, and how arrays are divided for both."""
