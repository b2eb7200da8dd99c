"""Stored runs with several seeds, whose table is {"seed 0": {name: {score: value}}, "seed 1": …}."""

from collections.abc import Mapping

Scores = Mapping[str, float]


def mean_over_seeds(table: Mapping[str, Mapping[str, Scores]]) -> dict[str, dict[str, float]]:
    """Return the mean of every score over the seeds, as {name: {score: mean}}.

    Args:
        table: of a stored run; all seeds have the same names, and the same scores for each name.
    """
    first = next(iter(table.values()))
    return {
        name: {key: sum(rows[name][key] for rows in table.values()) / len(table) for key in scores}
        for name, scores in first.items()
    }
