"""From model to model: folding batch norm, and measuring its statistics again."""
