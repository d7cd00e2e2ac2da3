"""A model as one page to look at: what it is, how it is linked, and whether it is healthy."""
