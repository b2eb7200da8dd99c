"""The package as a whole: what may import what, what `import colorlib` costs, and the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import colorlib

PACKAGE = Path(colorlib.__file__).parent
# A module imports only from those before it; the table in README.md has the same order.
MODULES = [
    "extras", "config", "files", "tensors", "color", "decoding", "srgb", "images", "scenes", "downloads", "batches",
    "data", "losses", "unet", "resnet", "anatomy", "patchgan", "zoo", "metrics", "comparison", "perceptual",
    "checkpoints", "loop", "training", "pretraining", "strokes", "classical", "colorizer", "brush", "albums", "show",
    "__main__",
]  # fmt: skip


def imported_modules(path: Path) -> set[str]:
    """Return the full names of all that a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*parents, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_modules_import_only_from_those_before_them():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(MODULES)
    for number, module in enumerate(MODULES):
        names = [name.split(".") for name in imported_modules(PACKAGE / f"{module}.py")]
        imported = {parts[1] for parts in names if parts[0] == "colorlib" and len(parts) > 1}
        assert not imported & {*MODULES[number:], "lessons"}, module


def test_only_widgets_import_ipywidgets():
    for path in PACKAGE.rglob("*.py"):
        widget_libraries = {name.split(".")[0] for name in imported_modules(path)} & {"ipywidgets", "anywidget"}
        assert not widget_libraries or path.is_relative_to(PACKAGE / "lessons" / "widgets"), path


def test_names_are_imported_when_they_are_first_used():
    code = """
import sys

import colorlib, colorlib.images
print("torch" in sys.modules)
for name in set(colorlib.__all__) - {"show", "lessons"}:
    getattr(colorlib, name)
print(*{"fastai", "ipywidgets", "anywidget", "matplotlib", "sklearn"} & set(sys.modules))
print(colorlib.config.from_env().preset)
print(colorlib.show.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["False", "", "quick", "colorlib.show"], done.stdout + done.stderr


def test_editors_see_the_names_that_are_there():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    exported = next(ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign))
    modules = {*MODULES, "lessons"} - {"__main__"}
    assert exported == sorted(colorlib.__all__)
    assert modules == {name for name in exported if not callable(getattr(colorlib, name))}


def test_every_public_function_and_class_is_documented():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or not tree.body, path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
