"""The map of the series, made from the notebooks in the folder."""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"  # in a checkout; an installed wheel has no notebooks


def chapters(folder: Path = FOLDER) -> list[tuple[str, str, str]]:
    """Return file name, title and promise ("You will …", one sentence) of every numbered notebook, in order.

    Raises:
        FileNotFoundError: the folder has no numbered notebooks.
    """
    found = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        title = re.search(r"^# (.+)$", first, flags=re.MULTILINE)
        promise = re.search(r"\*\*You will\*\*\s+(.+?)(?:\.\s|\.?$)", first, flags=re.MULTILINE)
        found.append((path.name, title.group(1) if title else path.stem, promise.group(1) if promise else ""))
    if not found:
        raise FileNotFoundError(f"There are no chapters in {folder}: they come with a checkout, not with the package.")
    return found


def series_map(folder: Path = FOLDER) -> str:
    """Return the chapters as a Markdown table; its links work in a notebook in the same folder."""
    rows = [f"| [{title}]({name}) | {promise} |" for name, title, promise in chapters(folder)]
    return "\n".join(["| chapter | you will |", "|---|---|", *rows])
