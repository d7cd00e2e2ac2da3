"""Files for the compilers of neural processors: what each takes, as data, and how it gets it."""
