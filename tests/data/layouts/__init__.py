"""The layouts of labels."""
