"""Labels as other programs have them: a file for each layout, and what finds out which it is."""
