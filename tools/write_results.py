"""Update the tables of RESULTS.md and README.md from the stored runs: `python tools/write_results.py`.

Each table is between `<!-- NAME -->` and `<!-- end -->`; the text around them is written by hand.
"""

import re
from collections.abc import Iterable, Mapping
from math import isnan, nan
from pathlib import Path

from colorlib.lessons.experiments import EXPERIMENTS, stored, stored_training

ROOT = Path(__file__).resolve().parent.parent
RESULTS, README = ROOT / "RESULTS.md", ROOT / "README.md"
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

LADDER = {
    "ab_mae": "ab MAE", "delta_e2000": "ΔE2000", "psnr": "PSNR", "ssim": "SSIM", "colorfulness_ratio": "colorful",
    "correlation_inside": "r inside", "correlation_between": "r between", "worse_than_gray": "worse than gray",
}  # fmt: skip
HEADLINE = {
    "of gray": "ab error / gray's", "colorfulness_ratio": "colorfulness / truth's",
    "worse_than_gray": "share of photos worse than gray",
}  # fmt: skip


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
    return f"{text}\n\n{command_of(record)}"


def seeds_table(name: str) -> str:
    """Return the stored result of an experiment with many rows as means over the seeds, followed by its command."""
    record, _ = stored(name)
    runs = list(record["table"].values())
    columns = {key: label for key, label in SCORES.items() if key in next(iter(runs[0].values()))}
    return f"{means(runs, columns)}\n\n{command_of(record)}"


def command_of(record: dict) -> str:
    """Return how a stored run was made."""
    return f"`{record['command']}`, {record['seconds']} s on {record['device']}: {record['settings']}"


def ladder_tables() -> str:
    """Return the ladder on scenes as one Markdown table for each budget, means over the seeds ± half of their range."""
    record, _ = stored("ladder")
    columns = LADDER | {
        "ab_mae/edges": "edges", "ab_mae/context": "context", "ab_mae/ambiguous": "ambiguous",
        "chroma_ratio/ambiguous": "chroma ratio, ambiguous", "hue_entropy": "hue entropy", "hue_spread": "hue spread",
    }  # fmt: skip
    parts = []
    for budget in record["settings"]["budgets"]:
        runs = [rows for name, rows in record["table"].items() if name.startswith(budget)]
        parts.append(f"The same {budget}:\n\n{means(runs, columns)}")
    return "\n\n".join([*parts, command_of(record)])


def photo_ladder_table(columns: dict[str, str] | None = None) -> str:
    """Return the ladder on photos as a Markdown table; errors also as shares of gray's."""
    record, _ = stored_training("photo_ladder")
    parts = record["table"]
    runs = [rows for name, rows in parts.items() if name.startswith("seed")]
    runs[0] |= parts["classical"] | parts["bundled"]
    for run in runs:
        for row in run.values():
            row["of gray"] = row["ab_mae"] / runs[0]["gray"]["ab_mae"]
    text = means(runs, columns or {"of gray": "ab MAE / gray"} | LADDER)
    return text if columns else f"{text}\n\n`{record['command']}`, on {record['device']}: {record['settings']}"


def means(runs: list[dict[str, dict[str, float]]], columns: dict[str, str]) -> str:
    """Return a Markdown table of the means of scores over runs, with half of their range if there are several."""
    lines = []
    for name in runs[0]:
        if not columns.keys() <= runs[0][name].keys():  # a point of the multiplied curve has few scores
            continue
        known = [[run[name].get(key, nan) for run in runs if name in run] for key in columns]
        cells = [[value for value in values if not isnan(value)] for values in known]
        lines.append([name, *(_mean_and_range(values) for values in cells)])
    return markdown(columns.values(), lines)


def _mean_and_range(values: list[float]) -> str:
    if not values:
        return "–"
    half = (max(values) - min(values)) / 2
    return f"{sum(values) / len(values):.2f}" + (f" ± {half:.2f}" if half else "")


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


def result_tables() -> dict[str, str]:
    """Return the tables of RESULTS.md by name."""
    tables = {name: table(name) for name in EXPERIMENTS if name not in ("ladder", "playground")}
    tables |= {"ladder": ladder_tables(), "playground": seeds_table("playground"), "photo_ladder": photo_ladder_table()}
    return tables | {name: training_table(name) for name in TRAININGS}


def headlines() -> dict[str, str]:
    """Return the table of README.md by name."""
    return {"headline": photo_ladder_table(HEADLINE)}


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Return a text with every marked table replaced.

    Raises:
        ValueError: the text has no place for a table, or more than one.
    """
    for name, made in tables.items():
        block = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.DOTALL)
        if (places := len(block.findall(text))) != 1:
            raise ValueError(f"There are {places} places for {name}: there must be one <!-- {name} --> … <!-- end -->.")
        text = block.sub(lambda match, made=made: f"{match[1]}\n{made}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    for path, tables in ((RESULTS, result_tables()), (README, headlines())):
        path.write_text(with_tables(path.read_text(), tables))
