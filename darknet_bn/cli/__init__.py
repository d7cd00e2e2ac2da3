"""The command line; `program` has the whole of it."""
