"""What only the notebooks need: widgets, exercise checkers, side experiments, the map of the series."""
