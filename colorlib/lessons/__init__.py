"""Code that only the notebooks use: widgets, exercise checkers, side experiments, and the table of chapters."""
