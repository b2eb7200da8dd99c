"""`python -m colorlib.lessons.experiments`, which `make experiments` runs."""

from colorlib.lessons.experiments import main

main()
