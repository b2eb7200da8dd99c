"""Hashes of the code that can change the numbers of an experiment, to notice when a stored run is out of date."""

import ast
import hashlib
import inspect
from collections.abc import Callable
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# Left out: modules that choose a device and seed, read and write files, download or draw. A change there is not meant
# to change a number, and would outdate every stored run.
LEFT_OUT = {"checkpoints", "config", "downloads", "extras", "files", "images", "show", "tensors", "zoo"}
MODULES = {  # dotted name below colorlib -> file
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.stem not in LEFT_OUT | {"__init__", "__main__"}
}


def code_of(run: Callable) -> dict[str, str]:
    """Return hashes by name: of a function, as "name()", and of each colorlib module that it depends on.

    These are the modules whose names the function uses, and the modules that they import, directly or indirectly. The
    functions that it calls in its own file are hashed with it. Comments, docstrings, formatting and the function's
    decorators do not affect a hash.
    """
    file = Path(inspect.getsourcefile(run))
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    functions[run.__name__].decorator_list = []
    called, names = {}, {run.__name__}
    while new := sorted(names & functions.keys() - called.keys()):
        called |= {name: functions[name] for name in new}
        names |= {node.id for name in new for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}

    modules, found = set(), {module for name, module in _imports(tree, file) if name in names}
    while found:
        modules |= found
        found = {m for known in found for _, m in _imports(_parse(known), MODULES[known])} - modules
    own = {f"{run.__name__}()": _hash([called[name] for name in sorted(called)])}
    return own | {module: _hash(_parse(module)) for module in sorted(modules)}


def _parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _imports(tree: ast.Module, file: Path) -> list[tuple[str, str]]:
    """List what a file imports from `MODULES`: (name in the file, module), as in ("paint_scenes", "scenes")."""
    package = ".".join(["colorlib", *file.parent.relative_to(PACKAGE).parts]) if PACKAGE in file.parents else "colorlib"
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                for module in (f"{source}.{alias.name}", source):
                    if module.removeprefix("colorlib.") in MODULES and module.startswith("colorlib."):
                        found.append((alias.asname or alias.name, module.removeprefix("colorlib.")))
    return found


def _hash(code: ast.AST | list) -> str:
    return hashlib.sha256(_dump(code).encode()).hexdigest()[:12]


def _dump(code: object) -> str:
    """Write out a syntax tree. Unlike `ast.dump`, the result is the same for every version of Python."""
    if isinstance(code, list):
        return f"[{', '.join(map(_dump, code))}]"
    if not isinstance(code, ast.AST):
        return repr(code)
    fields = dict(ast.iter_fields(code))
    if isinstance(code, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(code) is not None:
        fields["body"] = code.body[1:]
    if isinstance(code, ast.JoinedStr):  # Python 3.12.1 adds empty strings to an f-string's parts
        fields["values"] = [part for part in code.values if getattr(part, "value", None) != ""]
    parts = [f"{name}={_dump(value)}" for name, value in fields.items() if value not in (None, [])]
    return f"{type(code).__name__}({', '.join(parts)})"
