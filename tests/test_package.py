"""The package as a whole: what may import what, what `import colorlib` costs, and the public names."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import colorlib

PACKAGE = Path(colorlib.__file__).parent
# Imports point only upward in this list; see the rooms in README.md.
ROOMS = [
    "config", "files", "color", "images", "scenes", "downloads", "batches", "data", "losses", "unet", "resnet",
    "patchgan", "zoo", "metrics", "loop", "training", "pretraining", "classical", "colorizer", "albums", "show",
    "__main__",
]  # fmt: skip
HEAVY = ["fastai", "ipywidgets", "anywidget", "matplotlib", "sklearn"]


def imported_modules(path: Path) -> set[str]:
    """Return every module that a file imports, at the top or inside a function, as full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = (
                [] if not node.level else list(path.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level])
            )
            module = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imported_modules(path)]
    return {parts[1] for parts in names if parts[0] == "colorlib" and len(parts) > 1}


def test_every_room_has_its_place():
    there = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert there <= set(ROOMS)


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / f"{room}.py").exists()])
def test_imports_point_only_upward(room):
    above = set(ROOMS[: ROOMS.index(room)])
    below_or_lessons = rooms_imported(PACKAGE / f"{room}.py") & (set(ROOMS) - above | {"lessons"})
    assert below_or_lessons == set()


def test_the_rule_would_notice_a_wrong_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "colorlib")
    (tmp_path / "colorlib").mkdir()
    for line in (
        "from colorlib import show",
        "from colorlib.show import pictures",
        "import colorlib.show",
        "from . import show",
    ):
        (tmp_path / "colorlib" / "color.py").write_text(f"def f():\n    {line}\n")
        assert "show" in rooms_imported(tmp_path / "colorlib" / "color.py")


@pytest.mark.parametrize(
    "code", ["import colorlib", "import colorlib; colorlib.UNet, colorlib.make_loaders, colorlib.evaluate"]
)
def test_importing_stays_light(code):
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []


def test_only_widgets_import_ipywidgets():
    for path in PACKAGE.rglob("*.py"):
        widget_libraries = {name.split(".")[0] for name in imported_modules(path)} & {"ipywidgets", "anywidget"}
        assert not widget_libraries or path.is_relative_to(PACKAGE / "lessons" / "widgets"), path


@pytest.mark.parametrize("name", colorlib.__all__)
def test_every_public_name_is_the_same_when_read_twice(name):
    fresh = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import colorlib; a = colorlib.{name}; b = colorlib.{name}; assert a is b and callable(a)",
        ],
        capture_output=True,
        text=True,
    )
    assert fresh.returncode == 0, fresh.stderr
    assert not (PACKAGE / f"{name}.py").exists(), "a public name must not equal a module's name"
    assert getattr(colorlib, name).__doc__


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(AttributeError, match="colorise.*UNet"):
        colorlib.colorise  # noqa: B018


def test_every_public_function_and_class_is_documented():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or not tree.body, path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_modules_are_reached_as_attributes():
    code = "import colorlib; print(colorlib.config.from_env().preset, colorlib.show.pictures.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == ["quick", "pictures"]
    for name in dir(colorlib):
        if not name.startswith("_"):
            importlib.import_module("colorlib")
            assert getattr(colorlib, name) is not None
