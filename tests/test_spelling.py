"""American spelling in every text of the repository: code, prose, notebooks and their outputs."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {"", ".cfg", ".css", ".ipynb", ".js", ".json", ".md", ".py", ".toml", ".txt", ".yml"}
OUR = "behavi col fav flav harb hon hum lab neighb vap"
RE = "cent fib lit met theat"
ISE = """author categor central character color custom digit discret emphas equal final general ideal initial local
    maxim memor minim normal optim organ parametr penal random real recogn regular serial special stabil standard
    summar symbol synthes token util vector visual"""
ELLED = "cancel channel dial fuel label level marvel model signal total travel"
OTHER = """acknowledgement ageing aluminium amongst analogue artefact catalogue fulfil judgement kerb learnt maths mould
    plough programme sceptic skilful spelt storey towards tyre whilst"""


def one_of(words: str) -> str:
    return f"({'|'.join(words.split())})"


BRITISH = re.compile(
    rf"grey|{one_of(OUR)}our|{one_of(RE)}res?\b|centr(ed|ing)\b|(defen|licen|offen|preten)ces?\b|(ana|para)lys(e|ing)"
    rf"|{one_of(ISE)}is(e|ed|er|ers|es|ing|ation|ations)\b|{one_of(ELLED)}l(ed|er|ing)\b|\b{one_of(OTHER)}s?\b",
    re.IGNORECASE,
)
# matplotlib's colormaps, addresses, and the names of packages with their versions
ALLOWED = re.compile(r"\bGreys(_r)?\b|https?://\S+|^[\w.-]+==.*")


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file() and path != Path(__file__).resolve()]


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file; of a notebook, those of its sources and text outputs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text.splitlines()
    lines = []
    for cell in json.loads(text)["cells"]:
        parts = [cell["source"]]
        for output in cell.get("outputs", []):
            parts.append(output.get("text", []))
            parts += [data for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
        lines += [re.sub(r"base64,[\w+/=]+", "", line) for part in parts for line in part]
    return lines


def test_spelling_is_american():
    assert all(map(BRITISH.search, ["Grey", "neighbouring", "metre", "modelled", "normalisation", "judgements"]))
    found = [
        f"{path.relative_to(ROOT)}: {match.group(0)!r} in {line.strip()[:100]!r}"
        for path in tracked_files()
        for line in lines_of(path)
        for match in BRITISH.finditer(ALLOWED.sub("", line))
    ]
    assert not found, "\n".join(found)
