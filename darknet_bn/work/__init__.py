"""Threads, memory, and how arrays are cut for both."""
