"""What the notebooks need and a practitioner does not: widgets, exercise checkers, side experiments."""
