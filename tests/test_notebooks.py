"""The committed notebooks: executed, complete, readable, and free of traces of the machine that ran them."""

import ast
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if path.stem[:2].isdigit()]
MAX_BYTES = 2_000_000
MAX_LINES, MAX_DEFINITION_LINES = 12, 35
CLOSING = ["What we learned", "What still fails", "Exercises", "Where the code lives", "Sources", "Next"]
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|work|tmp|mnt|private|var/folders|usr/lib|usr/local|opt)/\w"
    r"|\b[A-Za-z]:\\+Users\\|site-packages"
)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def prose(notebook) -> str:
    """Return the text of all Markdown cells, without quoted code."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+).+?\1", "", text)


def parse(source: str) -> ast.Module:
    """Return the syntax tree of a cell, which may contain magics."""
    return ast.parse(TransformerManager().transform_cell(source))


def text_of(output) -> str:
    """Return the readable part of an output: streams, text, HTML and tracebacks, without images."""
    parts = [output.get("text", ""), *output.get("traceback", [])]
    parts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/") or "svg" in kind]
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", "\n".join(map(str, parts)))


def shows_something(source: str) -> bool:
    """Return whether a cell prints or displays at its top level, or ends with a plain value."""
    body = parse(source).body
    calls = [node.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    if {ast.unparse(call.func) for call in calls} & {"print", "display"}:
        return True
    plain = ast.Name | ast.Attribute | ast.Subscript | ast.BinOp | ast.Compare | ast.Tuple | ast.List
    return bool(body) and isinstance(body[-1], ast.Expr) and isinstance(body[-1].value, plain)


def test_it_is_valid_and_small(notebook, path):
    nbformat.validate(notebook)  # also that cells have ids of their own
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < MAX_BYTES


def test_it_was_executed_from_top_to_bottom_and_has_its_outputs(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell.source for cell in cells if not cell.outputs and shows_something(cell.source)]


def test_no_cell_ended_in_an_error_or_wrote_a_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", output.evalue
            assert output.get("name") != "stderr", output.text


def test_it_has_no_widget_state(notebook):
    """A stored widget view without a kernel shows as an error."""
    assert "widgets" not in notebook.metadata
    kinds = {kind for cell in code_cells(notebook) for output in cell.outputs for kind in output.get("data", {})}
    assert not [kind for kind in kinds if "widget" in kind]


def test_no_path_of_a_machine_is_in_it(notebook):
    for cell in notebook.cells:
        for text in [cell.source, *map(text_of, cell.get("outputs", []))]:
            assert not MACHINE_PATH.search(text), text


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        body = [node for node in parse(cell.source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
        definition = len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.ClassDef)
        assert len(lines) <= (MAX_DEFINITION_LINES if definition else MAX_LINES), cell.source


def test_it_installs_nothing_and_has_no_star_import(notebook):
    for cell in code_cells(notebook):
        assert not re.search(r"^\s*[!%]\s*(pip|conda|mamba|uv|apt)\b", cell.source, flags=re.MULTILINE)
        imports = [node for node in ast.walk(parse(cell.source)) if isinstance(node, ast.ImportFrom)]
        assert not [alias for node in imports for alias in node.names if alias.name == "*"]


def test_images_have_an_alternative_text(notebook):
    alts = re.findall(r"!\[([^\]]*)\]", prose(notebook))
    for tag in re.findall(r"<img\b[^>]*>", prose(notebook)):
        alts += re.findall(r'\balt="([^"]*)"', tag) or [""]
    for alt in alts:
        assert len(alt.split()) >= 3, f"{alt!r} does not describe an image"


def test_links_and_images_lead_to_files_that_exist(notebook, path):
    text = prose(notebook)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']+)""", text)
    local = [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|#|//", target, flags=re.IGNORECASE)]
    for target in local:
        assert (path.parent / unquote(re.split("[#?]", target)[0])).exists(), target


def test_the_first_cell_says_what_it_is_about(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# \S", first.source)
    assert "**You will**" in first.source and "**Time**" in first.source


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_ends_in_the_same_sections(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    first = notebook.cells[0].source
    assert all(words in first for words in ("images/", "**You need**", "**Data**"))
    assert re.findall(r"^## (.+)$", prose(notebook), flags=re.MULTILINE)[-len(CLOSING) :] == CLOSING


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_sections_are_numbered_without_a_gap(path):
    text = prose(nbformat.read(path, as_version=nbformat.NO_CONVERT))
    numbers = [int(number) for number in re.findall(r"^## (\d+) · ", text, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    between = text.split("## What we learned")[1].split("## What still fails")[0]
    assert "\n- " in between, "the summary is missing"
