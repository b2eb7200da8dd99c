"""Update the tables of RESULTS.md from the stored runs: `python tools/write_results.py`.

Each table is between `<!-- NAME -->` and `<!-- end -->`; the text around them is written by hand.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from colorlib.lessons.experiments import EXPERIMENTS, stored, stored_training

RESULTS = Path(__file__).resolve().parent.parent / "RESULTS.md"
TRAININGS = ("photos_resnet",)  # on photos that can't be committed, stored by tools/store_training.py
SCORES = {
    "ab_mae/determined": "determined",
    "ab_mae/edges": "edges",
    "ab_mae/context": "context",
    "ab_mae/ambiguous": "ambiguous",
    "chroma_ratio/ambiguous": "chroma ratio, ambiguous",
    "hue_entropy": "hue entropy",
    "hue_entropy/balloon": "of balloons",
    "hue_entropy/car": "of cars",
    "hue_entropy/door": "of doors",
    "hue_spread": "hue spread",
    "diversity": "diversity",
    "variety": "variety",
    "factor": "factor",
    "receptive field": "receptive field, px",
}


def markdown(columns: Iterable[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose first column has no title."""
    lines = [["", *columns], ["---"] * len(rows[0]), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def flat(name: str, values: dict) -> dict[str, dict[str, float]]:
    """Return the scores below a name, as in seed -> game -> epoch -> scores, as {"seed, game, epoch": scores}."""
    if not all(isinstance(value, dict) for value in values.values()):
        return {name: values}
    return {row: scores for key, below in values.items() for row, scores in flat(f"{name}, {key}", below).items()}


def table(name: str) -> str:
    """Return the stored result of an experiment as a Markdown table, followed by its command."""
    record, _ = stored(name)
    rows = {}
    for first, values in record["table"].items():
        rows |= flat(first, values)
    keys = {key: key for scores in rows.values() for key in scores}
    shown = {key: label for key, label in SCORES.items() if key in keys} if "ab_mae/edges" in keys else keys
    lines = [
        [row, *(f"{scores[key]:.2f}" if key in scores else "–" for key in shown)]
        for row, scores in rows.items()
        if shown.keys() & scores.keys()
    ]
    text = markdown(shown.values(), lines)
    return f"{text}\n\n`{record['command']}`, {record['seconds']} s on {record['device']}: {record['settings']}"


def training_table(name: str) -> str:
    """Return the record of a stored training as a Markdown table, followed by its commands."""
    record, _ = stored_training(name)
    keys = list(next(iter(record["table"].values())))
    lines = [
        [label, *(str(row[key]) if key == "seconds" else f"{row[key]:.3f}" for key in keys)]
        for label, row in record["table"].items()
    ]
    commands = "\n".join(record["commands"])
    return f"{markdown(keys, lines)}\n\nOn {record['device']}:\n\n```\n{commands}\n```"


def with_tables(text: str) -> str:
    """Return the text of RESULTS.md with every marked table replaced.

    Raises:
        ValueError: the text has no place for a stored run.
    """
    makers = dict.fromkeys(EXPERIMENTS, table) | dict.fromkeys(TRAININGS, training_table)
    for name, make in makers.items():
        block = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"RESULTS.md has no place for {name}: add <!-- {name} --> and <!-- end -->.")
        made = f"\n{make(name)}\n"
        text = block.sub(lambda match, made=made: match[1] + made + match[2], text)
    return text


if __name__ == "__main__":
    RESULTS.write_text(with_tables(RESULTS.read_text()))
