"""Hygiene of the notebooks: each check is a small function, run on every notebook and on one made to fail it."""

import ast
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbval.plugin import get_sanitize_patterns

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 2_000_000
MAX_LINES, MAX_DEFINITION_LINES = 12, 35
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|work|tmp|mnt|private|var/folders|usr/lib|usr/local|opt)/\w"
    r"|\b[A-Za-z]:\\+Users\\|site-packages"
)


# --- small tools -----------------------------------------------------------------------------------------------------


def code_cells(notebook):
    """Yield (number, cell) for every code cell that has a source."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            yield number, cell


def markdown_cells(notebook):
    """Yield (number, text) for every markdown cell, without the code that the text quotes."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            yield number, re.sub(r"(`+).+?\1", "", text)


def tags(cell):
    return cell.metadata.get("tags", [])


def parse(source):
    """Return the syntax tree of a cell, magics included."""
    return ast.parse(TransformerManager().transform_cell(source))


def output_text(output):
    """Return what a reader can read of an output: streams, text, HTML, tracebacks; pictures left out."""
    parts = [output.get("text", ""), *output.get("traceback", [])]
    parts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/") or "svg" in kind]
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", "\n".join(str(part) for part in parts))


def shows_something(source):
    """Whether a cell surely has an output: a print or display at top level, or a last line that is a plain value."""
    body = parse(source).body
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if name in {"print", "display", "plt.show"}:
                return True
    plain = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.Compare, ast.JoinedStr, ast.Tuple, ast.List)
    last = body[-1] if body else None
    return isinstance(last, ast.Expr) and isinstance(last.value, plain)


# --- the checks: each returns a list of complaints -------------------------------------------------------------------


def check_format(notebook, path):
    """Valid, of a format that has cell ids, and for any Python 3 kernel."""
    problems = []
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        problems.append(f"not a valid notebook: {error.message}")
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        problems.append(f"format {notebook.nbformat}.{notebook.nbformat_minor}, older than 4.5")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        problems.append("its kernel isn't python3")
    return problems


def check_executed(notebook, path):
    """Run from top to bottom in a fresh kernel."""
    cells = list(code_cells(notebook))
    counts = [cell.execution_count for _, cell in cells]
    return [] if counts == list(range(1, len(cells) + 1)) else [f"run out of order, or not at all: {counts}"]


def check_outputs(notebook, path):
    """Stored with the outputs that its cells must have had: nbval doesn't compare what isn't there."""
    cells = list(code_cells(notebook))
    problems = [
        f"cell {number} shows something when run, and no output is stored"
        for number, cell in cells
        if not cell.outputs and "raises-exception" not in tags(cell) and shows_something(cell.source)
    ]
    return problems if any(cell.outputs for _, cell in cells) else [*problems, "no cell has an output"]


def check_errors(notebook, path):
    """No cell ended in an error, unless its tag says that it should."""
    return [
        f"cell {number} ended in {output.ename}: {output.evalue}"
        for number, cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" and "raises-exception" not in tags(cell)
    ]


def check_stderr(notebook, path):
    """No warning and no progress bar was left in the outputs."""
    return [
        f"cell {number} wrote on stderr: {output.text[:120]!r}"
        for number, cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]


def check_widget_state(notebook, path):
    """No widget state, and no widget view, which without a state shows as an error."""
    problems = ["widget state in the metadata"] if "widgets" in notebook.metadata else []
    for number, cell in code_cells(notebook):
        if any("widget-view" in kind for output in cell.outputs for kind in output.get("data", {})):
            problems.append(f"cell {number} stores a widget view")
    return problems


def check_timing(notebook, path):
    """No times of execution in the metadata: they change with every run."""
    return [
        f"cell {number} stores when it ran"
        for number, cell in enumerate(notebook.cells)
        if {"execution", "ExecuteTime"} & set(cell.metadata)
    ]


def check_machine_paths(notebook, path):
    """No path of the machine that ran it, in sources or outputs."""
    problems = []
    for number, cell in enumerate(notebook.cells):
        texts = {"source": re.sub(r"base64,[A-Za-z0-9+/=]+", "", cell.source)}
        texts |= {f"output {i}": output_text(output) for i, output in enumerate(cell.get("outputs", []))}
        for where, text in texts.items():
            if found := MACHINE_PATH.search(text):
                problems.append(f"cell {number}, {where}: {text[found.start() : found.start() + 60]!r}")
    return problems


def check_cell_length(notebook, path):
    """At most 12 lines a cell, 35 when it is one definition."""
    problems = []
    for number, cell in code_cells(notebook):
        lines = sum(1 for line in cell.source.splitlines() if line.strip())
        body = [node for node in parse(cell.source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
        one_definition = len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.ClassDef)
        limit = MAX_DEFINITION_LINES if one_definition else MAX_LINES
        if lines > limit:
            problems.append(f"cell {number} has {lines} lines; {limit} are the most")
    return problems


def check_semicolon(notebook, path):
    """No cell ends in a semicolon: nbval doesn't honour it, and compares the output that Jupyter hid."""
    return [
        f"cell {number} ends in a semicolon" for number, cell in code_cells(notebook) if cell.source.rstrip()[-1] == ";"
    ]


def check_size(notebook, path):
    """Small enough to be shown by a code host."""
    size = path.stat().st_size
    return [] if size < MAX_BYTES else [f"{size / 1e6:.1f} MB; keep it under {MAX_BYTES / 1e6:.0f}"]


def check_cell_ids(notebook, path):
    """Every cell has an id of its own."""
    ids = [cell.get("id") for cell in notebook.cells]
    return [f"cell id {i!r} is missing or used twice" for i in sorted(set(map(str, ids))) if ids.count(i) != 1]


def check_alt_text(notebook, path):
    """Every picture in the text says what it shows, for those who can't see it."""
    problems = []
    for number, text in markdown_cells(notebook):
        alts = re.findall(r"!\[([^\]]*)\]", text)
        for tag in re.findall(r"<img\b[^>]*>", text, flags=re.IGNORECASE):
            alt = re.search(r"""\balt\s*=\s*(["'])(.*?)\1""", tag, flags=re.IGNORECASE | re.DOTALL)
            alts.append(alt.group(2) if alt else "")
        problems += [
            f"cell {number}: a picture's alt text is {alt!r}"
            for alt in alts
            if not alt.strip() or re.fullmatch(r"\S+\.(png|jpe?g|svg|gif)|image|figure|alt text", alt.strip(), re.I)
        ]
    return problems


def check_imports(notebook, path):
    """No star import, and nothing installed from inside a notebook."""
    problems = []
    for number, cell in code_cells(notebook):
        if re.search(r"^\s*[!%]\s*(pip|conda|mamba|uv|apt)\b", cell.source, flags=re.MULTILINE):
            problems.append(f"cell {number} installs something")
        for node in ast.walk(parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                problems.append(f"cell {number}: from {node.module} import *")
    return problems


def check_opening(notebook, path):
    """The first cell has a title and says what the reader will do, and how long it takes."""
    first = notebook.cells[0] if notebook.cells else new_code_cell()
    if first.cell_type != "markdown" or not re.match(r"# \S", first.source):
        return ["the first cell isn't a title"]
    return [f'the first cell has no "{words}"' for words in ("You will", "Time") if words not in first.source]


def check_links(notebook, path):
    """Local links lead to files that are there."""
    problems = []
    for number, text in markdown_cells(notebook):
        targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']+)""", text)
        targets += re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", text, flags=re.MULTILINE)
        for target in targets:
            if re.match(r"[a-z][a-z0-9+.-]*:|#|//", target, flags=re.IGNORECASE):
                continue  # another site, an attachment, data, or a place in this notebook
            if not (path.parent / unquote(target.partition("#")[0].partition("?")[0])).exists():
                problems.append(f"cell {number} links to {target}, which isn't there")
    return problems


CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, check):
    problems = check(nbformat.read(path, as_version=nbformat.NO_CONVERT), path)
    assert not problems, f"{path.name}: {check.__doc__}\n" + "\n".join(problems)


# --- the checks, checked ---------------------------------------------------------------------------------------------


def good_notebook():
    """A notebook that passes every check."""
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    figure = new_output(
        "display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480 with 1 Axes>"}
    )
    notebook.cells = [
        new_markdown_cell("# 99 · A title\n**You will** see. **Time** 1 min.\n\n![A gray cat](cat.png)\n[more](#more)"),
        new_code_cell("import math\n\nx = 1", execution_count=1),
        new_code_cell("%matplotlib inline\nprint(x)", execution_count=2, outputs=[new_output("stream", text="1\n")]),
        new_code_cell("x == 1", execution_count=3, outputs=[figure]),
        new_markdown_cell(
            "Write `![](nothing.png)` or\n```\n[x](nowhere)\n```\nsee [the web](https://example.org/tmp/x)."
        ),
        new_code_cell("", execution_count=None),
        new_code_cell("import math\n\ndef f():\n" + "    pass\n" * 30, execution_count=4),
    ]
    return notebook


def error_output():
    return new_output("error", ename="ValueError", evalue="no", traceback=["no"])


def spoil_source(source, cell=1):
    """Return a function that replaces the source of a cell."""
    return lambda notebook: notebook.cells[cell].update(source=source)


def spoil_output(output, cell=2):
    """Return a function that replaces the outputs of a cell by one."""
    return lambda notebook: notebook.cells[cell].update(outputs=[output] if output else [])


OPENING = "# A title\nYou will. Time.\n\n"
BAD = {
    "an output without a type": (check_format, spoil_output(nbformat.from_dict({"text": "x"}))),
    "an old format": (check_format, lambda notebook: notebook.update(nbformat_minor=4)),
    "another kernel": (check_format, lambda notebook: notebook.metadata.kernelspec.update(name="colorlib-env")),
    "an unrun cell": (check_executed, lambda notebook: notebook.cells[2].update(execution_count=None)),
    "run twice": (check_executed, lambda notebook: notebook.cells[6].update(execution_count=9)),
    "a print without output": (check_outputs, spoil_output(None)),
    "a value without output": (check_outputs, spoil_output(None, cell=3)),
    "an error": (check_errors, spoil_output(error_output())),
    "a warning": (check_stderr, spoil_output(new_output("stream", name="stderr", text="UserWarning: x"))),
    "widget state": (check_widget_state, lambda notebook: notebook.metadata.update(widgets={})),
    "a widget view": (
        check_widget_state,
        spoil_output(new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})),
    ),
    "a time": (check_timing, lambda notebook: notebook.cells[2].metadata.update(execution={})),
    "a path in a source": (check_machine_paths, spoil_source("open('/ho" + "me/ann/cat.png')")),
    "a path in an output": (check_machine_paths, spoil_output(new_output("stream", text="saved to /tm" + "p/x.png"))),
    "a path in HTML": (
        check_machine_paths,
        spoil_output(new_output("display_data", {"text/html": "<a href='C:\\Users" + "\\ann'>"})),
    ),
    "a long cell": (check_cell_length, spoil_source("x = 1\n" * 13)),
    "a long definition": (check_cell_length, spoil_source("def f():\n" + "    pass\n" * 35)),
    "two definitions": (check_cell_length, spoil_source("def f():\n    pass\n" * 7)),
    "a semicolon": (check_semicolon, spoil_source("x = 1\nx;")),
    "the same id twice": (check_cell_ids, lambda notebook: notebook.cells[1].update(id=notebook.cells[2]["id"])),
    "no id": (check_cell_ids, lambda notebook: notebook.cells[1].pop("id")),
    "a picture without alt text": (check_alt_text, spoil_source(OPENING + "![](cat.png)", cell=0)),
    "a file name as alt text": (check_alt_text, spoil_source(OPENING + "![cat.png](cat.png)", cell=0)),
    "an img without alt text": (check_alt_text, spoil_source(OPENING + '<img src="cat.png">', cell=0)),
    "a star import": (check_imports, spoil_source("from math import *")),
    "a pip": (check_imports, spoil_source("!pip install colorlib")),
    "a magic pip": (check_imports, spoil_source("%pip install colorlib")),
    "no title": (check_opening, spoil_source("Welcome. You will. Time.", cell=0)),
    "no promise": (check_opening, spoil_source("# A title\nTime: 1 min", cell=0)),
    "no time": (check_opening, spoil_source("# A title\nYou will see.", cell=0)),
    "a dead link": (check_links, spoil_source(OPENING + "[next](98_gone.ipynb)", cell=0)),
    "a dead picture": (check_links, spoil_source(OPENING + '<img alt="a dog" src="dog.png">', cell=0)),
}


def write(notebook, folder):
    """Put the notebook, and the picture it shows, into `folder`."""
    path = folder / "99_made_up.ipynb"
    path.write_text(nbformat.writes(notebook))
    (folder / "cat.png").touch()
    return path


def test_the_good_notebook_passes(tmp_path):
    notebook = good_notebook()
    path = write(notebook, tmp_path)
    assert {check.__name__: check(notebook, path) for check in CHECKS if check(notebook, path)} == {}


@pytest.mark.parametrize("what", BAD)
def test_each_check_finds(what, tmp_path):
    notebook = good_notebook()
    path = write(notebook, tmp_path)
    check, spoil = BAD[what]
    spoil(notebook)
    assert check(notebook, path)


def test_size_is_checked(tmp_path):
    path = write(good_notebook(), tmp_path)
    path.write_bytes(b" " * MAX_BYTES)
    assert check_size(good_notebook(), path)


def test_every_check_is_checked():
    assert {check for check, _ in BAD.values()} | {check_size} == set(CHECKS)


def test_an_expected_error_is_no_problem(tmp_path):
    notebook = good_notebook()
    notebook.cells[2].update(outputs=[error_output()], metadata={"tags": ["raises-exception"]})
    assert not check_errors(notebook, tmp_path)


# --- nbval's sanitizer -----------------------------------------------------------------------------------------------


def sanitize(text):
    """Do what nbval does with a text before it compares it."""
    patterns = get_sanitize_patterns((Path(__file__).parent / "nbval_sanitize.cfg").read_text(encoding="utf-8"))
    for pattern, replacement in patterns:
        text = re.sub(pattern, replacement, text)
    return text


def test_every_sanitizer_is_read():
    text = (Path(__file__).parent / "nbval_sanitize.cfg").read_text(encoding="utf-8")
    assert len(get_sanitize_patterns(text)) == text.count("regex:") == text.count("replace:") > 0


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("quick run on cpu · seed 0", "quick run on cuda:1 · seed 0"),
        ("trained in 12.3 s", "trained in 1,020 s"),
        ("took 1 min 20 s.", "took 59 min 1 s."),
        ("<A object at 0x7f3a5c1d2e90>", "<A object at 0x10a2b3c4d>"),
    ],
)
def test_sanitizer_hides_what_may_differ(here, there):
    assert sanitize(here) == sanitize(there) != here


@pytest.mark.parametrize("text", ["<Figure size 640x480 with 1 Axes>", "ab MAE 12.3", "5 epochs", "3 squares"])
def test_sanitizer_leaves_the_rest(text):
    assert sanitize(text) == text


# --- tools/run_notebooks.py ------------------------------------------------------------------------------------------


@pytest.fixture
def runner(monkeypatch):
    """The module tools/run_notebooks.py."""
    monkeypatch.syspath_prepend(FOLDER.parent / "tools")
    import run_notebooks

    yield run_notebooks
    sys.modules.pop("run_notebooks")


@pytest.mark.slow
def test_run_notebooks_stores_tidy_outputs(runner, tmp_path, monkeypatch, capsys):
    notebook = good_notebook()
    notebook.cells[1].source = "import os\n\nimport ipywidgets\n\nx = os.environ['COLORLIB_RUN']"
    notebook.cells[3].source = "ipywidgets.IntSlider()"
    notebook.metadata["widgets"] = {"state": {}}
    notebook.metadata.kernelspec.name = "somewhere-else"
    good, bad = write(notebook, tmp_path), tmp_path / "98_fails.ipynb"
    ids = [cell.id for cell in notebook.cells]
    bad.write_text(nbformat.writes(new_notebook(cells=[new_code_cell("1 / 0")])))
    before = bad.read_bytes()
    monkeypatch.setattr(runner, "FOLDER", tmp_path)

    assert runner.main([]) == 1

    said = capsys.readouterr()
    assert "98_fails.ipynb" in said.err and "ZeroDivisionError" in said.out
    assert bad.read_bytes() == before
    after = nbformat.read(good, as_version=nbformat.NO_CONVERT)
    assert {check.__name__: check(after, good) for check in CHECKS if check(after, good)} == {}
    assert [cell.id for cell in after.cells] == ids
    assert after.cells[2].outputs[0].text == "quick\n"
    assert "IntSlider" in after.cells[3].outputs[0].data["text/plain"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["98_fails.ipynb", "99_made_up.ipynb", "cat.png"]

    first = good.read_bytes()
    assert runner.main(["99"]) == 0
    assert good.read_bytes() == first


def test_run_notebooks_refuses_an_unknown_name(runner, capsys):
    with pytest.raises(SystemExit) as exit_:
        runner.main(["77_nowhere"])
    assert exit_.value.code == 2
    assert "77_nowhere" in capsys.readouterr().err
